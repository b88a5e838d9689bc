"""Building one index on several machines, or in several processes of one.

    from retrieval_index import distributed
    distributed.build_part("corpus.jsonl", "out/index", shard_id=2, shard_num=8)   # eight times
    index = distributed.finish("out/index", shard_num=8)                           # once

or, where Ray runs (`pip install 'kzoo[ray]'`), all of it in one call:

    index = distributed.build("corpus.jsonl", "out/index", workers=8)

The parts are plain files in `out/index.parts`; any scheduler can start the first line.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retrieval_index.distributed.finishing import finish
    from retrieval_index.distributed.lists import fill_part, train
    from retrieval_index.distributed.on_ray import build
    from retrieval_index.distributed.part_building import Part, build_part

__all__ = ["Part", "build", "build_part", "fill_part", "finish", "train"]

_WHERE = {
    "Part": "part_building",
    "build": "on_ray",
    "build_part": "part_building",
    "fill_part": "lists",
    "finish": "finishing",
    "train": "lists",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})
