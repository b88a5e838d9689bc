"""The safetensors of an HF-format folder, read tensor by tensor."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kzoo.errors import WeightsError


class Tensors:
    """Tensors of a folder by their name behind the model's prefix, read when asked for.

    Args:
        folder: Holds `model.safetensors`, or shards with an index.
        anchor: A tensor that has to be there; what stands before it is the prefix.

    Raises:
        WeightsError: No file, an unreadable file, or no anchor.
    """

    def __init__(self, folder: Path, anchor: str) -> None:
        self.folder = folder
        self.where: dict[str, tuple[Path, str]] = {}
        for path in _weight_files(folder):
            with _open(path) as tensors:
                for key in tensors.keys():  # noqa: SIM118 (not a dict)
                    self.where[key] = (path, key)
        anchors = [key for key in self.where if key == anchor or key.endswith(f".{anchor}")]
        if not anchors:
            raise WeightsError(f"The weights in {folder} have no tensor `{anchor}`.")
        prefix = min(anchors, key=len).removesuffix(anchor)  # "", "bert.", "model.", ...
        self.where |= {
            key.removeprefix(prefix): place
            for key, place in self.where.items()
            if key.startswith(prefix)
        }

    def __contains__(self, name: str) -> bool:
        return name in self.where

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self.where:
            raise WeightsError(f"The weights in {self.folder} have no tensor `{name}`.")
        path, key = self.where[name]
        with _open(path) as tensors:
            return np.asarray(tensors.get_tensor(key))


def _weight_files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        files = [folder / name for name in sorted(shards)]
    else:
        files = [folder / "model.safetensors"]
    for path in files:
        if not path.is_file():
            hint = ""
            if (folder / "pytorch_model.bin").exists():
                hint = " pytorch_model.bin is a pickle, which kzoo does not read; convert it."
            raise WeightsError(f"`{path.name}` is missing in {folder}.{hint}")
    return files


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """safetensors.safe_open, with one kind of error."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as tensors:
            yield tensors
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} cannot be read: {error}") from error
