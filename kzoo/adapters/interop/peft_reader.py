"""From a PEFT folder to a kzoo configuration and its tensors."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kzoo.adapters.config import AdapterConfig, parse_adapter
from kzoo.adapters.interop.choice import say
from kzoo.adapters.interop.folders import (
    CONFIG_FILE,
    InteropWarning,
    Tensors,
    read_json,
    read_tensors,
)
from kzoo.adapters.interop.hf_names import HF_FAMILIES, Layout, Module, layout_of_file
from kzoo.adapters.interop.peft_special import after_reading
from kzoo.adapters.interop.peft_table import (
    FULL,
    IGNORED,
    METHODS,
    TOKENS,
    Method,
    Row,
    peft_types,
)
from kzoo.adapters.interop.peft_targets import chosen_paths, matches, value_at
from kzoo.errors import AdapterError, did_you_mean

WEIGHT_FILES = ("adapter_model.safetensors", "adapter_model.bin")
_ROOT = "base_model.model."
_BARE_ROOT = "base_model."
_HEADS = ("classifier", "score", "pre_classifier", "classification_head", "lm_head", "qa_outputs")

SameEmbedding = Callable[[str, NDArray[Any]], bool]


class Imported(NamedTuple):
    """What a file of another library says.

    Attributes:
        config: The configuration.
        tensors: Key in kzoo's files -> array.
        facts: `peft_type`, `family`, `prefix`, `base_model`, `task_type`; `head`: tensors of a
            classification head (`kernel`, `bias`); `keys`: our key -> key in the file.
    """

    config: AdapterConfig
    tensors: Tensors
    facts: dict[str, Any]


def read_peft(
    path: str | Path,
    family: str | None = None,
    layout: Layout | None = None,
    same_embedding: SameEmbedding | None = None,
) -> Imported:
    """Reads a folder that HF PEFT wrote; no torch and no model needed.

    Args:
        path: Folder with `adapter_config.json` and `adapter_model.safetensors` or `.bin`.
        family: Family of the trunk. Default: the one whose module names are in the file; a file
            without such names is one of a plain Keras model, whose layers have the modules' names.
        layout: All modules of the model, where it is known. Without it, what the file does not
            have cannot be missed, and places are named one by one.
        same_embedding: Whether an embedding table that is in the file (PEFT stores it where it
            was a target) is the model's own. Without it, that is assumed.

    Returns:
        Configuration, tensors, facts.

    Raises:
        AdapterError: No such folder, a method or an option that kzoo does not have, or tensors
            that do not fit; the first missing and unexpected keys are named.
    """
    folder = Path(path)
    config = read_json(folder / CONFIG_FILE)
    tensors = read_tensors(folder, WEIGHT_FILES)
    return _Reading(str(folder), config, tensors, family, layout, same_embedding).result()


def method_of_config(config: Mapping[str, Any], where: str) -> Method:
    """The rows for a PEFT config.

    Raises:
        AdapterError: No `peft_type`, or one that kzoo does not read.
    """
    if "peft_type" not in config:
        raise AdapterError(f"{where}: {CONFIG_FILE} has no `peft_type`; it is not PEFT's.")
    name = str(config["peft_type"]).upper()
    for method in METHODS:
        if method.peft_type == name:
            return method
    raise AdapterError(
        f"{where}: `peft_type` {name!r} is not supported.{did_you_mean(name, peft_types())}"
    )


@dataclass
class _Found:
    """The tensors of a file by what they belong to."""

    modules: dict[str, dict[Row, str]] = field(default_factory=dict)
    shared: dict[Row, str] = field(default_factory=dict)
    rest: dict[str, str] = field(default_factory=dict)  # module path and name -> key


class _Reading:
    """One file while it is read."""

    def __init__(
        self,
        where: str,
        config: dict[str, Any],
        tensors: Tensors,
        family: str | None,
        layout: Layout | None,
        same_embedding: SameEmbedding | None,
    ) -> None:
        self.where = where
        self.method = method_of_config(config, where)
        self.raw = config
        self.config = {option.theirs: option.default for option in self.method.options} | config
        self.tensors = tensors
        self.found = self._sort()
        self.layout = layout or self._guess(family)
        self.prefix, paths = self.layout.split(self.found.modules)
        if not self.found.modules and self.layout.hf is not None:  # prompts: the head tells
            self.prefix = ""
        self.found.modules = dict(zip(paths, self.found.modules.values(), strict=True))
        self.same_embedding = same_embedding
        self.options = self._options()
        self.ours: Tensors = {}
        self.keys: dict[str, str] = {}
        self.head: Tensors = {}
        self.full: dict[str, dict[Row, str]] = {}
        self.tokens: tuple[Module, str] | None = None
        self.unexpected: list[str] = []
        self.missing: list[str] = []

    def result(self) -> Imported:
        """Configuration, tensors, facts."""
        self._rest()
        self._modules()
        self._shared()
        if self.missing or self.unexpected:
            raise AdapterError(f"{self.where} does not fit: {self._problems()}")
        peft_type = self.method.peft_type
        after_reading(peft_type, self.raw, self.options, self.ours, self.layout)
        parts = self._parts()
        if len(parts) > 1:
            self._number(parts)
        facts = {
            "dialect": "peft",
            "peft_type": self.method.peft_type,
            "family": self.layout.family,
            "prefix": self.prefix,
            "base_model": self.config.get("base_model_name_or_path"),
            "task_type": self.config.get("task_type"),
            "head": self.head,
            "keys": self.keys,
        }
        config = parse_adapter(parts if len(parts) > 1 else parts[0])
        return Imported(config, self.ours, facts)

    # --- Config ----------------------------------------------------------------------------

    def _options(self) -> dict[str, Any]:
        known = {option.theirs for option in self.method.options}
        known |= IGNORED | set(self.method.only)
        if unknown := sorted(set(self.config) - known):
            warnings.warn(
                f"{self.where}: {CONFIG_FILE} has keys that kzoo does not know and leaves aside: "
                f"{', '.join(unknown)}",
                InteropWarning,
                stacklevel=5,
            )
        for key, allowed in self.method.only.items():
            value = self.config.get(key, allowed[0])
            if value not in allowed and value not in ([], {}):
                raise AdapterError(
                    f"{self.where}: `{key}` {value!r} changes what the adapter computes in a way "
                    "that kzoo does not have."
                )
        return {o.ours: o.read(self.config[o.theirs]) for o in self.method.options}

    def _guess(self, family: str | None) -> Layout:
        paths = list(self.found.modules)
        if family is not None:
            return layout_of_file(family, paths)
        for name in HF_FAMILIES:
            layout = layout_of_file(name, paths)
            prefix, split = layout.split(paths)
            hf = HF_FAMILIES[name]
            if paths and all(path in layout.modules for path in split):
                same = [x for x in HF_FAMILIES.values() if x.stacks == hf.stacks]
                named = [x for x in same if f"{x.prefix}." == prefix]
                if not named or hf in named:  # `bert.` and `roberta.` hold the same names
                    return layout
        modules = {path: Module(path, (path,), self._kind(path)) for path in paths}
        return Layout(modules, None, (), False)

    def _kind(self, path: str) -> str:
        rows = self.found.modules[path]
        return next((kind for row in rows for kind in row.kinds), "linear")

    # --- Tensors ---------------------------------------------------------------------------

    def _sort(self) -> _Found:
        found = _Found()
        rows = sorted(self.method.rows, key=lambda row: -len(row.suffix))
        for key in self.tensors:
            name = key.removeprefix(_ROOT)
            name = name if name != key else key.removeprefix(_BARE_ROOT)
            for row in rows:
                if row.shared and key == row.suffix:
                    found.shared[row] = key
                    break
                if not row.shared and name.endswith(row.suffix):
                    path = name.removesuffix(row.suffix)
                    found.modules.setdefault(path, {})[row] = key
                    break
            else:
                found.rest[name] = key
        return found

    def _modules(self) -> None:
        if self.layout.complete and not self.method.is_prompt:
            chosen = chosen_paths(self.config, self.layout, self.prefix)
            for path in chosen or []:
                if path not in self.found.modules:
                    self._miss(self.layout.modules[path], {})
        for path, found in self.found.modules.items():
            if path not in self.layout.modules:
                self.unexpected += found.values()
                continue
            module = self.layout.modules[path]
            keys = {row.suffix: key for row, key in found.items()}
            self._miss(module, keys)
            for row in self._rows(module):
                if row.suffix in keys:
                    self._take(module, row, keys.pop(row.suffix))
            self.unexpected += keys.values()

    def _rows(self, module: Module) -> list[Row]:
        """The tensors that the module may have."""
        end = "in" if self._acts_on_input(module) else "out"
        return [
            row
            for row in self.method.rows_at(module.kind)
            if row.end in (None, end) and self._there(row)
        ]

    def _acts_on_input(self, module: Module) -> bool:
        names = self.config.get("feedforward_modules")
        return bool(names) and matches(names, self.prefix + module.path)

    def _there(self, row: Row) -> bool:
        return row.when is None or self.options.get(row.when[0]) in row.when[1]

    def _miss(self, module: Module, keys: Mapping[str, str]) -> None:
        for row in self._rows(module):
            if not row.optional and not row.depends and row.suffix not in keys:
                self.missing.append(f"{_ROOT}{self.prefix}{module.path}{row.suffix}")

    def _take(self, module: Module, row: Row, key: str) -> None:
        value = row.ours(self.tensors[key])
        values = [value] * len(module.keys)
        if len(module.keys) > 1:
            if row.fused == "refused":
                raise AdapterError(
                    f"{self.where}: `{key}` belongs to a module that is {len(module.keys)} places "
                    f"here ({', '.join(module.keys)}), between which it cannot be divided."
                )
            if row.fused == "split":
                if value.shape[-1] % len(module.keys):
                    raise AdapterError(
                        f"{self.where}: `{key}` of shape {self.tensors[key].shape} cannot be "
                        f"divided between {', '.join(module.keys)}."
                    )
                values = np.split(value, len(module.keys), axis=-1)
        for place, part in zip(module.keys, values, strict=True):
            self.ours[f"{place}.{row.variable}"] = part
            self.keys[f"{place}.{row.variable}"] = key

    def _shared(self) -> None:
        for row in self.method.rows:
            if not row.shared:
                continue
            if row in self.found.shared:
                key = self.found.shared[row]
                self.ours[f"{row.owner}.{row.variable}"] = row.ours(self.tensors[key])
                self.keys[f"{row.owner}.{row.variable}"] = key
            elif not row.optional and self._there(row):
                self.missing.append(row.suffix)

    def _rest(self) -> None:
        """Heads, whole layers and embedding tables beside the adapter."""
        saved = [str(name) for name in self.config.get("modules_to_save") or []]
        head = self.layout.hf.head if self.layout.hf is not None else None
        left = []
        for name, key in self.found.rest.items():
            path, _, variable = name.rpartition(".")
            plain = path.removesuffix(".base_layer")
            inside = plain.removeprefix(self.prefix)
            if head is not None and path == head.path and variable in ("weight", "bias"):
                value = self.tensors[key]
                self.head["kernel" if variable == "weight" else "bias"] = (
                    value.T if variable == "weight" else value
                )
                continue
            if variable == "trainable_tokens_delta":
                owner = inside.removesuffix(".token_adapter")
                module = self._module(owner, "embedding")
                if self.config.get("trainable_token_indices") is None:
                    self.unexpected.append(key)
                else:
                    self.tokens = (module, key)
                continue
            module = self.layout.modules.get(inside)
            if module is None and plain == inside and self.layout.family is None:
                if not self.layout.complete and plain.split(".")[-1] in saved:
                    module = Module(plain, (plain,), "linear")
            if (
                module is not None
                and module.kind == "embedding"
                and plain.split(".")[-1] not in saved
            ):
                same = self.same_embedding
                if same is None or same(module.keys[0], self.tensors[key]):
                    continue
            row = self._full_row(module, f".{variable}")
            if module is not None and row is not None:
                self.full.setdefault(module.path, {})[row] = key
            elif path.split(".")[0] in _HEADS or any(part in saved for part in path.split(".")):
                left.append(key)
            else:
                self.unexpected.append(key)
        if head is not None and "kernel" in self.head and not head.bias:
            self.head.setdefault("bias", np.zeros(self.head["kernel"].shape[1], "float32"))
        if left:
            warnings.warn(
                f"{self.where}: the head in the file has another form than kzoo's and is left "
                f"aside: {', '.join(left[:3])} ({len(left)} in all)",
                InteropWarning,
                stacklevel=4,
            )

    def _full_row(self, module: Module | None, suffix: str) -> Row | None:
        if module is None:
            return None
        rows = FULL.rows_at(module.kind)
        return next((row for row in rows if row.suffix == suffix), None)

    # --- Configuration ---------------------------------------------------------------------

    def _parts(self) -> list[dict[str, Any]]:
        part: dict[str, Any] = {"method": self.method.methods[0], **self.options}
        modules = [m for m in self.layout.modules.values() if m.path in self.found.modules]
        for option in self.method.options:
            if option.pattern is None:
                continue
            values = {
                m.path: value_at(self.config, option.theirs, option.pattern, self.prefix + m.path)
                for m in modules
            }
            part[option.ours] = usual = _most_common(list(values.values()), part[option.ours])
            pattern = {
                k: values[m.path] for m in modules for k in m.keys if values[m.path] != usual
            }
            if pattern:
                part[option.pattern] = pattern
        part |= self._places(modules)
        parts = [part]
        if self.tokens is not None:
            module, key = self.tokens
            self._put(len(parts), module.keys[0], TOKENS.rows[0], self.tensors[key], key)
            ids = _token_ids(self.config["trainable_token_indices"], self.prefix + module.path)
            parts.append({"method": "tokens", "indices": ids, **self._said(list(module.keys))})
        if self.full:
            keys = []
            for path, rows in self.full.items():
                module = self._module(path)
                keys += module.keys
                for row, key in rows.items():
                    values = self._full_values(module, row, key)
                    for place, value in zip(module.keys, values, strict=True):
                        self._put(len(parts), place, row, value, key)
            parts.append({"method": "full", **self._said(keys)})
        return parts

    def _said(self, keys: list[str]) -> dict[str, Any]:
        places, complete = self._all_places(keys)
        return say(keys, places, complete, blocks=False)

    def _put(self, part: int, place: str, row: Row, value: NDArray[Any], key: str) -> None:
        self.ours[f"{part}.{place}.{row.variable}"] = value
        self.keys[f"{part}.{place}.{row.variable}"] = key

    def _full_values(self, module: Module, row: Row, key: str) -> list[NDArray[Any]]:
        value = self.tensors[key]
        hf = self.layout.hf
        if row.form == "transposed" and hf is not None and hf.conv1d:
            value = value.T  # HF's Conv1D is (in, out) already
        return np.split(row.ours(value), len(module.keys), axis=-1)

    def _module(self, path: str, kind: str = "linear") -> Module:
        return self.layout.modules.get(path) or Module(path, (path,), kind)

    def _places(self, modules: list[Module]) -> dict[str, Any]:
        keys = [key for module in modules for key in module.keys]
        if self.method.is_prompt:
            return {}
        places, complete = self._all_places(keys)
        if self.method.places == ("targets",):
            return say(keys, places, complete)
        ends: dict[str, list[str]] = {"out": [], "in": []}
        for module in modules:
            ends["in" if self._acts_on_input(module) else "out"] += module.keys
        return {
            option: say(ends[end], places, complete, blocks=False)["targets"]
            for option, end in zip(self.method.places, ("out", "in"), strict=True)
        }

    def _all_places(self, keys: list[str]) -> tuple[Any, bool]:
        from kzoo.backbones.places import Place

        if self.layout.places:
            return self.layout.places, self.layout.complete
        return [Place(key, key, key, 0, 0) for key in keys], False

    def _number(self, parts: list[dict[str, Any]]) -> None:
        """In a union, keys carry the number of the part."""
        for mapping in (self.ours, self.keys):
            for key in [key for key in mapping if not key.split(".")[0].isdigit()]:
                mapping[f"0.{key}"] = mapping.pop(key)  # type: ignore[assignment]

    def _problems(self) -> str:
        problems = []
        for what, keys in (("missing", self.missing), ("unexpected", self.unexpected)):
            if keys:
                problems.append(f"{what} {keys[:3]} ({len(keys)} in all)")
        return "; ".join(problems)


def _token_ids(indices: Any, path: str) -> list[int]:
    """The ids for one embedding: a list is for the model's only one."""
    if isinstance(indices, Mapping):
        for name, ids in indices.items():
            if path == name or path.endswith(f".{name}"):
                return list(ids)
        raise AdapterError(f"`trainable_token_indices` says nothing about `{path}`.")
    return list(indices)


def _most_common(values: list[Any], default: Any) -> Any:
    return max(dict.fromkeys(values), key=values.count) if values else default
