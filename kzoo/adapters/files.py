"""An adapter as a folder: `adapter_config.json`, `adapter.safetensors`, and the head if asked for.

Keys are `blocks.<number>.<site>.<variable>`; the adapter's name is in the JSON only, so that a
file can be loaded under another name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kzoo.adapters.config import AdapterConfig, parse_adapter
from kzoo.errors import AdapterError
from kzoo.files import replacing_folder

FORMAT = 1
CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter.safetensors"
HEAD_FILE = "head.safetensors"

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class AdapterFile:
    """What an adapter folder holds.

    Args:
        name: The name it was saved under.
        config: Method and options.
        trunk: Facts about the trunk it was trained on; `fingerprint` is the sha256 of its weights.
        tensors: Key -> array.
        head: Facts about the head (labels, pooling), or None when no head was saved.
        head_tensors: The head's arrays.
    """

    name: str
    config: AdapterConfig
    trunk: dict[str, Any]
    tensors: Tensors
    head: dict[str, Any] | None
    head_tensors: Tensors


def write_adapter(folder: str | Path, content: AdapterFile) -> None:
    """Writes the folder as a whole, or nothing."""
    from safetensors.numpy import save_file

    facts = {
        "format": FORMAT,
        "kind": "kzoo-adapter",
        "name": content.name,
        "adapter": content.config.model_dump(mode="json"),
        "trunk": content.trunk,
        "head": content.head,
        "parameters": int(sum(array.size for array in content.tensors.values())),
    }
    with replacing_folder(folder) as fresh:
        save_file(_contiguous(content.tensors), str(fresh / WEIGHTS_FILE))
        if content.head is not None:
            save_file(_contiguous(content.head_tensors), str(fresh / HEAD_FILE))
        (fresh / CONFIG_FILE).write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n")


def read_adapter(folder: str | Path) -> AdapterFile:
    """Reads an adapter folder.

    Raises:
        AdapterError: Missing, truncated or foreign files, or a newer format.
    """
    folder = Path(folder)
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise AdapterError(f"`path` {str(folder)!r} has no {CONFIG_FILE}; it is no adapter folder.")
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(facts, dict) or facts.get("kind") != "kzoo-adapter":
            raise AdapterError(f"{path} does not describe a kzoo adapter.")
        if facts["format"] > FORMAT:
            raise AdapterError(
                f"{path} has format {facts['format']}; this kzoo reads up to {FORMAT}. "
                "Run: pip install -U kzoo"
            )
        return AdapterFile(
            name=str(facts["name"]),
            config=parse_adapter(facts["adapter"]),
            trunk=dict(facts["trunk"]),
            tensors=_read_tensors(folder / WEIGHTS_FILE),
            head=facts["head"],
            head_tensors=_read_tensors(folder / HEAD_FILE) if facts["head"] is not None else {},
        )
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise AdapterError(f"{path} is not JSON: {error}") from error
    except (KeyError, TypeError) as error:
        raise AdapterError(
            f"{path} is incomplete: {error} is missing or of a wrong type"
        ) from error


def check_tensors(found: Tensors, expected: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Compares names and shapes, before anything is assigned.

    Raises:
        AdapterError: Names the first missing, unexpected and mis-shaped keys.
    """
    problems = []
    if missing := [key for key in expected if key not in found]:
        problems.append(f"missing {missing[:3]} ({len(missing)} in all)")
    if unexpected := [key for key in found if key not in expected]:
        problems.append(f"unexpected {unexpected[:3]} ({len(unexpected)} in all)")
    for key, shape in expected.items():
        if key in found and tuple(found[key].shape) != tuple(shape):
            problems.append(f"`{key}` has shape {tuple(found[key].shape)} instead of {shape}")
            break
    if problems:
        raise AdapterError(f"{where} does not fit: " + "; ".join(problems))


def _contiguous(tensors: Tensors) -> dict[str, NDArray[Any]]:
    return {key: np.ascontiguousarray(array) for key, array in tensors.items()}


def _read_tensors(path: Path) -> Tensors:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors: Tensors = load_file(str(path))
        return tensors
    except (OSError, SafetensorError) as error:
        raise AdapterError(f"{path} cannot be read: {error}") from error
