"""From a kzoo configuration and its tensors to an AdapterHub folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kzoo.adapters.config import AdapterConfig
from kzoo.adapters.interop import adapterhub_heads
from kzoo.adapters.interop.adapterhub_links import links
from kzoo.adapters.interop.adapterhub_methods import write_method
from kzoo.adapters.interop.adapterhub_names import HubModules
from kzoo.adapters.interop.adapterhub_reft import subtracting
from kzoo.adapters.interop.adapterhub_words import Raw
from kzoo.adapters.interop.folders import CONFIG_FILE, Tensors
from kzoo.adapters.interop.layouts import Layout
from kzoo.errors import AdapterError
from kzoo.files import replacing_folder

VERSION = "adapters.1.3.0"  # whose format it is
WEIGHTS_FILE = "adapter.safetensors"


def write_adapterhub(
    path: str | Path,
    config: AdapterConfig,
    tensors: Mapping[str, NDArray[Any]],
    layout: Layout,
    name: str,
    head: Mapping[str, Any] | None = None,
    base_model: str | None = None,
) -> None:
    """Writes a folder that AdapterHub's library loads with `use_safetensors=True`; no torch needed.

    The library's modules hold one prefix under many paths. It is written under the first of them,
    which fills them all, and the library then names the other paths as missing.

    Args:
        path: Folder to write; an existing adapter folder is replaced as a whole.
        config: The adapter's configuration.
        tensors: Its variables by key, as `model.adapters.variables` has them.
        layout: The modules of the model.
        name: The adapter's name, part of the keys.
        head: A classification head to go with it, as `read_head` returns it.
        base_model: Goes to `model_name`.

    Raises:
        AdapterError: The library has no such method, or cannot say this adapter; the reason is
            given.
    """
    modules = HubModules(layout, name)
    raws: list[Raw] = []
    file: Tensors = {}
    for number, own in enumerate(config.parts):
        start = f"{number}." if len(config.parts) > 1 else ""
        part, tensors = subtracting(own, tensors, start)
        raw = write_method(part, layout)
        raws.append(raw)
        for link in links(part, raw, modules):
            assert link.write is not None  # only files of others have that form
            values = link.write([np.asarray(tensors[start + key]) for key in link.ours])
            for keys in (link.theirs, *link.unused):
                file |= {modules.prefix + k: v for k, v in zip(keys, values, strict=True)}
    _check_union(raws)
    shared = {
        "hidden_size": layout.dims.hidden_dim if layout.dims else None,
        "model_name": base_model,
        "model_type": layout.family,
        "version": VERSION,
    }
    whole = raws[0] if len(raws) == 1 else {"architecture": "union", "configs": raws}
    facts = {**shared, "config": whole, "model_class": None, "name": name}
    files: dict[str, Any] = {CONFIG_FILE: facts, WEIGHTS_FILE: file}
    if head is not None:
        found = adapterhub_heads.written_head(name, str(layout.family), head)
        if found is None:
            raise AdapterError(
                f"AdapterHub has no classification head on {head['pooling']} pooling for "
                f"{layout.family!r}. Write with `with_head=False`."
            )
        files[adapterhub_heads.CONFIG_FILE] = {**shared, **found[0]}
        files[adapterhub_heads.WEIGHT_FILES[0]] = found[1]
    _write(Path(path), files)


def _check_union(raws: Sequence[Raw]) -> None:
    """The library takes one method of a kind; two bottlenecks at different parts of a block.

    Raises:
        AdapterError: It would refuse this union.
    """
    for one, other in combinations(raws, 2):
        if one.get("architecture") != other.get("architecture"):
            continue
        parts = ("mh_adapter", "output_adapter")
        both = one.get("architecture") is None
        if not both or any(one[part] == other[part] for part in parts):
            kind = one.get("architecture") or "bottleneck"
            raise AdapterError(
                f"AdapterHub cannot hold two methods of the kind {kind!r} under one name."
            )


def _write(target: Path, files: Mapping[str, Any]) -> None:
    """Writes JSON and safetensors files as one folder, or nothing.

    Raises:
        AdapterError: The folder is there and is no adapter folder.
    """
    from safetensors.numpy import save_file

    foreign = target.exists() and not (target / CONFIG_FILE).is_file()
    if foreign and (not target.is_dir() or any(target.iterdir())):
        raise AdapterError(
            f"`path` {str(target)!r} exists and is no adapter folder; choose another."
        )
    with replacing_folder(target) as fresh:
        for name, content in files.items():
            if name.endswith(".safetensors"):
                arrays = {key: np.ascontiguousarray(array) for key, array in content.items()}
                save_file(arrays, str(fresh / name), metadata={"format": "pt"})
            else:
                text = json.dumps(content, indent=2, sort_keys=True) + "\n"
                (fresh / name).write_text(text, encoding="utf-8")
