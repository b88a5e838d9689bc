"""What PEFT stores beside an adapter: heads, whole layers, embedding tables, trained tokens."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kzoo.errors import AdapterError
from kzoo.interop.files import InteropWarning, Tensors
from kzoo.interop.layouts import Layout, Module
from kzoo.interop.peft.rows import Row
from kzoo.interop.peft.table import FULL, TOKENS
from kzoo.interop.peft.targets import said_in_kzoo

_HEADS = ("classifier", "score", "pre_classifier", "classification_head", "lm_head", "qa_outputs")
_TOKENS = "trainable_tokens_delta"

SameEmbedding = Callable[[str, NDArray[Any]], bool]
Found = dict[str, tuple[NDArray[Any], str]]  # our key -> array, key in the file


@dataclass(frozen=True)
class File:
    """A PEFT folder that is being read.

    Args:
        where: Its path, for messages.
        config: Its config, completed by PEFT's defaults.
        tensors: Its tensors.
        layout: The modules of the model.
        prefix: What stands before the layout's paths in the file.
        same_embedding: Whether a table in the file is the model's own.
    """

    where: str
    config: Mapping[str, Any]
    tensors: Tensors
    layout: Layout
    prefix: str
    same_embedding: SameEmbedding | None

    def module(self, path: str, kind: str = "linear") -> Module:
        """A module, also of a model that is not known."""
        return self.layout.modules.get(path) or Module(path, (path,), kind)


class Beside:
    """The tensors of a file that belong to no adapter.

    Args:
        file: The file.
        rest: Name without root -> key of each such tensor.

    Attributes:
        head: `kernel` and `bias` of a classification head of our form.
        unexpected: Keys that belong to nothing.
    """

    def __init__(self, file: File, rest: Mapping[str, str]) -> None:
        self.file = file
        saved = file.config.get("modules_to_save") or []
        self.saved = [saved] if isinstance(saved, str) else [str(name) for name in saved]
        self.head: Tensors = {}
        self.unexpected: list[str] = []
        self._left: list[str] = []
        self._tokens: tuple[Module, str] | None = None
        self._whole: dict[Module, dict[Row, str]] = {}
        for name, key in rest.items():
            path, _, variable = name.rpartition(".")
            self._sort(path.removesuffix(".base_layer"), variable, key)
        head = file.layout.hf.head if file.layout.hf is not None else None
        if head is not None and "kernel" in self.head and not head.bias:
            self.head.setdefault("bias", np.zeros(self.head["kernel"].shape[1], "float32"))
        if self._left:
            warnings.warn(
                f"{file.where}: the head in the file has another form than kzoo's and is left "
                f"aside: {', '.join(self._left[:3])} ({len(self._left)} in all)",
                InteropWarning,
                stacklevel=6,
            )

    def parts(self) -> list[tuple[dict[str, Any], Found]]:
        """Further methods of a union: options and tensors."""
        parts: list[tuple[dict[str, Any], Found]] = []
        if self._tokens is not None:
            module, key = self._tokens
            indices = self.file.config["trainable_token_indices"]
            ids = _token_ids(indices, self.file.prefix + module.path)
            row = TOKENS.rows[0]
            found: Found = {f"{module.keys[0]}.{row.variable}": (self.file.tensors[key], key)}
            parts.append(({"method": "tokens", "indices": ids, **self._said([module])}, found))
        if self._whole:
            found = {}
            for module, rows in self._whole.items():
                for row, key in rows.items():
                    for place, value in zip(
                        module.keys, self._values(module, row, key), strict=True
                    ):
                        found[f"{place}.{row.variable}"] = (value, key)
            parts.append(({"method": "full", **self._said(list(self._whole))}, found))
        return parts

    def _sort(self, path: str, variable: str, key: str) -> None:
        file = self.file
        head = file.layout.hf.head if file.layout.hf is not None else None
        inside = path.removeprefix(file.prefix)
        name = path.rpartition(".")[2]
        if head is not None and path == head.path and variable in ("weight", "bias"):
            value = file.tensors[key]
            self.head["kernel" if variable == "weight" else "bias"] = value.T
        elif variable == _TOKENS and file.config.get("trainable_token_indices") is not None:
            self._tokens = (file.module(inside.removesuffix(".token_adapter"), "embedding"), key)
        elif (row := self._row(self._module(inside, name), variable)) is not None:
            module = self._module(inside, name)
            assert module is not None
            if not self._is_own_table(module, name, key):
                self._whole.setdefault(module, {})[row] = key
        elif path.split(".")[0] in _HEADS or any(part in self.saved for part in path.split(".")):
            self._left.append(key)
        else:
            self.unexpected.append(key)

    def _module(self, path: str, name: str) -> Module | None:
        layout = self.file.layout
        unknown = layout.family is None and not layout.complete and name in self.saved
        return self.file.module(path) if unknown else layout.modules.get(path)

    def _row(self, module: Module | None, variable: str) -> Row | None:
        rows = FULL.rows_at(module.kind) if module is not None else []
        return next((row for row in rows if row.suffix == f".{variable}"), None)

    def _is_own_table(self, module: Module, name: str, key: str) -> bool:
        """Whether this is an embedding table that PEFT stored because it was a target."""
        if module.kind != "embedding" or name in self.saved:
            return False
        same = self.file.same_embedding
        return same is None or same(module.keys[0], self.file.tensors[key])

    def _values(self, module: Module, row: Row, key: str) -> list[NDArray[Any]]:
        value = self.file.tensors[key]
        if row.form == "transposed" and self.file.layout.conv1d:
            value = value.T  # HF's Conv1D is (in, out) already
        return np.split(row.ours(value), len(module.keys), axis=-1)

    def _said(self, modules: list[Module]) -> dict[str, Any]:
        keys = [key for module in modules for key in module.keys]
        return said_in_kzoo(keys, *self.file.layout.known(keys), blocks=False)


def _token_ids(indices: Any, path: str) -> list[int]:
    """The ids for one embedding: a list is for the model's only one."""
    if isinstance(indices, Mapping):
        for name, ids in indices.items():
            if path == name or path.endswith(f".{name}"):
                return list(ids)
        raise AdapterError(f"`trainable_token_indices` says nothing about `{path}`.")
    return list(indices)
