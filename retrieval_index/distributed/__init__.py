"""Building one index on several machines, or in several processes of one.

    from retrieval_index import distributed
    distributed.build_part("corpus.jsonl", "out/index", shard_id=2, shard_num=8)   # eight times
    index = distributed.finish("out/index", shard_num=8)                           # once

or, where Ray runs (`pip install 'kzoo[ray]'`), all of it in one call:

    index = distributed.build("corpus.jsonl", "out/index", workers=8)

The parts are plain files in `out/index.parts`; any scheduler can start the first line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval_index.lazy import lazy

if TYPE_CHECKING:
    from retrieval_index.distributed.finishing import finish
    from retrieval_index.distributed.lists import fill_part, train
    from retrieval_index.distributed.on_ray import build
    from retrieval_index.distributed.part_building import Part, build_part

__getattr__, __dir__, __all__ = lazy(__name__)
