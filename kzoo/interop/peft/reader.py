"""From a PEFT folder to a kzoo configuration and its tensors."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kzoo.adapters.config import parse_adapter
from kzoo.adapters.files import CONFIG_FILE
from kzoo.backbones.families import FAMILIES
from kzoo.errors import AdapterError, did_you_mean
from kzoo.interop.files import InteropWarning, Tensors, read_json, read_tensors
from kzoo.interop.layouts import Layout, Module, layout_of_file
from kzoo.interop.models import Imported
from kzoo.interop.peft.beside import Beside, File, Found, SameEmbedding
from kzoo.interop.peft.rows import Method, Row
from kzoo.interop.peft.special import after_reading
from kzoo.interop.peft.table import IGNORED, METHODS, peft_types
from kzoo.interop.peft.targets import chosen_paths, matches, said_in_kzoo, value_at

WEIGHT_FILES = ("adapter_model.safetensors", "adapter_model.bin")
_ROOT = "base_model.model."
_BARE_ROOT = "base_model."


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
        Configuration, tensors, facts: `peft_type`, `family`, `prefix`, `base_model`, `task_type`;
        `head`: tensors of a classification head (`kernel`, `bias`); `keys`: our key -> key in the
        file.

    Raises:
        AdapterError: No such folder, a method or an option that kzoo does not have, or tensors
            that do not fit; the first missing and unexpected keys are named.
    """
    folder = Path(path).expanduser()
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
        self.found.modules = dict(zip(paths, self.found.modules.values(), strict=True))
        self.file = File(where, self.config, tensors, self.layout, self.prefix, same_embedding)
        self.options = self._options()
        self.ours: Found = {}
        self.unexpected: list[str] = []
        self.missing: list[str] = []

    def result(self) -> Imported:
        """Configuration, tensors, facts."""
        beside = Beside(self.file, self.found.rest)
        self.unexpected += beside.unexpected
        self._modules()
        self._shared()
        if self.missing or self.unexpected:
            raise AdapterError(f"{self.where} does not fit: {self._problems()}")
        tensors = {key: value for key, (value, _) in self.ours.items()}
        keys = {key: theirs for key, (_, theirs) in self.ours.items()}
        after_reading(self.method.peft_type, self.raw, self.options, tensors, self.layout)
        further = beside.parts()
        parts = [self._part(), *(options for options, _ in further)]
        if further:  # in a union, keys carry the number of the part
            tensors = {f"0.{key}": value for key, value in tensors.items()}
            keys = {f"0.{key}": theirs for key, theirs in keys.items()}
        for number, (_, found) in enumerate(further, start=1):
            tensors |= {f"{number}.{key}": value for key, (value, _) in found.items()}
            keys |= {f"{number}.{key}": theirs for key, (_, theirs) in found.items()}
        facts = {
            "dialect": "peft",
            "peft_type": self.method.peft_type,
            "family": self.layout.family,
            "prefix": self.prefix,
            "base_model": self.config.get("base_model_name_or_path"),
            "task_type": self.config.get("task_type"),
            "head": beside.head,
            "keys": keys,
        }
        return Imported(parse_adapter(parts), tensors, facts)

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
        fitting = []
        for name, row in FAMILIES.items():
            if row.classes is None:
                continue
            layout = layout_of_file(name, paths)
            prefix, split = layout.split(paths)
            if paths and all(path in layout.modules for path in split):
                # `bert.` and `roberta.` hold the same names.
                telling = prefix == f"{row.classes.prefix}."
                fitting.append((not telling, not row.classes.usual, layout))
        if fitting:
            return min(fitting, key=lambda found: found[:2])[2]
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
                if not self._is_tied_copy(path, found):
                    self.unexpected += found.values()
                continue
            module = self.layout.modules[path]
            keys = {row.suffix: key for row, key in found.items()}
            self._miss(module, keys)
            for row in self._rows(module):
                if row.suffix in keys:
                    self._take(module, row, keys.pop(row.suffix))
            self.unexpected += keys.values()

    def _is_tied_copy(self, path: str, found: Mapping[Row, str]) -> bool:
        """Trained tokens of a tied output layer, which PEFT stores a second time."""
        (key, *_) = found.values()
        others = [k for p, rows in self.found.modules.items() if p != path for k in rows.values()]
        return path == "lm_head" and any(
            np.array_equal(self.tensors[key], self.tensors[other]) for other in others
        )

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
            self.ours[f"{place}.{row.variable}"] = (part, key)

    def _shared(self) -> None:
        for row in self.method.rows:
            if not row.shared:
                continue
            if row in self.found.shared:
                key = self.found.shared[row]
                self.ours[f"{row.owner}.{row.variable}"] = (row.ours(self.tensors[key]), key)
            elif not row.optional and self._there(row):
                self.missing.append(row.suffix)

    # --- Configuration ---------------------------------------------------------------------

    def _part(self) -> dict[str, Any]:
        """The adapter's own configuration."""
        part: dict[str, Any] = {"method": self.method.methods[0], **self.options}
        modules = [m for m in self.layout.modules.values() if m.path in self.found.modules]
        for option in self.method.options:
            if option.pattern is None or option.pattern in self.options:
                continue
            at = {
                m.path: value_at(self.config, option.theirs, option.pattern, self.prefix + m.path)
                for m in modules
            }
            found = list(at.values())
            part[option.ours] = usual = max(dict.fromkeys(found), key=found.count)
            pattern = {key: at[m.path] for m in modules for key in m.keys if at[m.path] != usual}
            if pattern:
                part[option.pattern] = pattern
        return part | self._places(modules)

    def _places(self, modules: list[Module]) -> dict[str, Any]:
        if self.method.is_prompt:
            return {}
        keys = [key for module in modules for key in module.keys]
        places, complete = self.layout.known(keys)
        if self.method.places == ("targets",):
            return said_in_kzoo(keys, places, complete)
        ends: dict[str, list[str]] = {"out": [], "in": []}
        for module in modules:
            ends["in" if self._acts_on_input(module) else "out"] += module.keys
        return {
            option: said_in_kzoo(ends[end], places, complete, blocks=False)["targets"]
            for option, end in zip(self.method.places, ("out", "in"), strict=True)
        }

    def _problems(self) -> str:
        problems = []
        for what, keys in (("missing", self.missing), ("unexpected", self.unexpected)):
            if keys:
                problems.append(f"{what} {keys[:3]} ({len(keys)} in all)")
        return "; ".join(problems)
