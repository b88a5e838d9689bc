"""From a kzoo configuration and its tensors to a PEFT folder."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kzoo.adapters.config import AdapterConfig
from kzoo.adapters.files import CONFIG_FILE
from kzoo.backbones.places import Place
from kzoo.errors import AdapterError
from kzoo.interop.files import InteropWarning, Tensors, write_folder
from kzoo.interop.layouts import Layout, Module
from kzoo.interop.peft.rows import Method, Row
from kzoo.interop.peft.special import before_writing
from kzoo.interop.peft.table import FULL, METHODS, TOKENS, method_of
from kzoo.interop.peft.targets import short_names

WEIGHTS_FILE = "adapter_model.safetensors"


def write_peft(
    path: str | Path,
    config: AdapterConfig,
    tensors: Mapping[str, NDArray[Any]],
    layout: Layout,
    head: Mapping[str, NDArray[Any]] | None = None,
    base_model: str | None = None,
    prefix: str | None = None,
) -> None:
    """Writes a folder that HF PEFT loads; no torch needed.

    Args:
        path: Folder to write; an existing adapter folder is replaced as a whole.
        config: The adapter's configuration.
        tensors: Its variables by key, as `model.adapters.variables` has them.
        layout: The modules of the model.
        head: `kernel` (width, classes) and `bias` of a classification head to go with it.
        base_model: Goes to `base_model_name_or_path`.
        prefix: What stands before the module paths in the HF model, such as `bert`. Default: the
            class with a classification head if there is a head, else the bare encoder, the causal
            model or the sequence-to-sequence model of the family.

    Raises:
        AdapterError: PEFT has no such method, or cannot say this adapter; the reason is given.
    """
    writing = _Writing(config, tensors, layout, head, prefix)
    writing.run()
    facts = writing.config | {"base_model_name_or_path": base_model, "inference_mode": True}
    write_folder(path, {CONFIG_FILE: facts, WEIGHTS_FILE: writing.file})


class _Writing:
    """One adapter while it is written."""

    def __init__(
        self,
        config: AdapterConfig,
        tensors: Mapping[str, NDArray[Any]],
        layout: Layout,
        head: Mapping[str, NDArray[Any]] | None,
        prefix: str | None,
    ) -> None:
        self.layout = layout
        self.head = head
        self.file: Tensors = {}
        self.config: dict[str, Any] = {}
        self.parts: list[tuple[Method, AdapterConfig, dict[str, NDArray[Any]]]] = []
        for number, part in enumerate(config.parts):
            start = f"{number}." if len(config.parts) > 1 else ""
            own = {
                k.removeprefix(start): np.asarray(v)
                for k, v in tensors.items()
                if k.startswith(start)
            }
            method = method_of(part.method)
            if method is None:
                known = ", ".join(name for row in METHODS for name in row.methods)
                raise AdapterError(
                    f"PEFT has no format for `{part.method}`. Written can be: {known}."
                )
            self.parts.append((method, part, own))
        self.task, self.prefix = self._task(prefix)
        self.saved: list[str] = []
        self.inputs: list[str] = []

    def _task(self, prefix: str | None) -> tuple[str | None, str]:
        hf = self.layout.hf
        if hf is None:
            return None, _dotted(prefix or "")
        task, usual = hf.task, hf.task_prefix
        if self.head is not None:
            if hf.head is None:
                raise AdapterError(
                    f"HF's classification head of {self.layout.family!r} has another form than "
                    "kzoo's. Write with `with_head=False`."
                )
            task, usual = "SEQ_CLS", hf.prefix
        return task, _dotted(usual if prefix is None else prefix)

    def run(self) -> None:
        """Fills `file` and `config`."""
        beside = [FULL]
        if any(method.peft_type == "LORA" for method, _, _ in self.parts):
            beside.append(TOKENS)
        main = [part for part in self.parts if part[0] not in beside]
        if len(main) != 1:
            raise AdapterError(
                "PEFT keeps one method in a folder. Received: "
                + (" | ".join(part[1].method for part in self.parts))
            )
        method = main[0][0]
        config, plain = without_base_changes(*main[0])
        self.config = {"peft_type": method.peft_type, "task_type": self.task}
        for option in method.options:
            self.config[option.theirs] = option.write(getattr(config, option.ours))
        tensors = before_writing(method.peft_type, config, self.config, plain, self.layout)
        self._shared(method, tensors)
        if not method.is_prompt:
            values = self._modules(method, config, _by_place(tensors))
            self.config["target_modules"] = short_names(values, self.layout, self.prefix)
            self._patterns(method, values)
            if method is TOKENS:
                self._tied_copy()
            if self.inputs or "targets_in" in method.places:
                self.config["feedforward_modules"] = short_names(
                    self.inputs, self.layout, self.prefix
                )
        if self.layout.conv1d and method.fan_in_fan_out:
            self.config["fan_in_fan_out"] = True
        for other, part, own in self.parts:
            if other is FULL:
                self._full(own)
            elif other is TOKENS and other is not method:
                self._tokens(part, own)
        self._head()
        if self.saved:
            self.config["modules_to_save"] = self.saved

    def _shared(self, method: Method, tensors: Mapping[str, NDArray[Any]]) -> None:
        for row in method.rows:
            value = tensors.get(f"{row.owner}.{row.variable}")
            if row.shared and value is not None:
                self.file[row.suffix] = row.theirs(value)

    def _modules(
        self, method: Method, config: AdapterConfig, places: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, dict[str, Any]]:
        """Writes the tensors of all modules; returns the options' values at each."""
        values: dict[str, dict[str, Any]] = {}
        for path in dict.fromkeys(self.layout.path_of(key) for key in places):
            module = self.layout.modules[path]
            end = self._end(config, module)
            there = [key for key in module.keys if key in places]
            at = [_values(method, config, self._place(key)) for key in there]
            if any(other != at[0] for other in at):
                raise AdapterError(
                    f"`{', '.join(there)}` are one module in PEFT and need the same options. "
                    f"Received: {at}"
                )
            found = {key: dict(places[key]) for key in there}
            if len(module.keys) > 1:
                found, at[0] = _one_first_matrix(method, end, config, found, at[0])
            if end == "in":
                self.inputs.append(path)
            for row in method.rows_at(module.kind):
                if row.end not in (None, end):
                    continue
                if value := self._fused(module, row, found):
                    self.file[f"base_model.model.{self.prefix}{path}{row.suffix}"] = value[0]
            values[path] = at[0]
        return values

    def _end(self, config: AdapterConfig, module: Module) -> str:
        at_input = getattr(config, "rescales_input", None)
        return "in" if at_input is not None and at_input(self._place(module.keys[0])) else "out"

    def _fused(
        self, module: Module, row: Row, places: Mapping[str, Mapping[str, NDArray[Any]]]
    ) -> list[NDArray[Any]]:
        """The tensor of a module in a list, or nothing where no place has it."""
        own = {key: v[row.variable] for key, v in places.items() if row.variable in v}
        if not own:
            return []
        first = next(iter(own.values()))
        if len(module.keys) == 1:
            return [row.theirs(first)]
        if row.fused == "shared":
            return [row.theirs(first)]
        if row.fused == "refused" or (row.empty is None and len(own) < len(module.keys)):
            raise AdapterError(
                f"PEFT has one module for {', '.join(module.keys)}; an adapter of only "
                f"{', '.join(own)} cannot be said there."
            )
        blank = np.full_like(first, row.empty or 0.0)
        return [row.theirs(np.concatenate([own.get(k, blank) for k in module.keys], axis=-1))]

    def _patterns(self, method: Method, values: Mapping[str, Mapping[str, Any]]) -> None:
        for option in method.options:
            if option.pattern is None:
                continue
            found = {path: at[option.ours] for path, at in values.items()}
            usual = max(dict.fromkeys(found.values()), key=list(found.values()).count)
            self.config[option.theirs] = usual
            pattern = {self.prefix + path: v for path, v in found.items() if v != usual}
            if pattern:
                self.config[option.pattern] = pattern

    def _tied_copy(self) -> None:
        """PEFT stores trained tokens a second time where the table is the output layer too."""
        dims = self.layout.dims
        if self.task == "CAUSAL_LM" and dims is not None and dims.tied_embeddings:
            (value,) = self.file.values()
            self.file["base_model.model.lm_head.trainable_tokens_delta"] = value.copy()

    def _tokens(self, config: AdapterConfig, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Trained tokens beside LoRA, which PEFT keeps in one config."""
        ids = {}
        for key, value in tensors.items():
            path = self.prefix + self.layout.path_of(key.rpartition(".")[0])
            self.file[f"base_model.model.{path}.token_adapter.trainable_tokens_delta"] = value
            ids[path] = list(config.indices)  # type: ignore[attr-defined]
        self.config["trainable_token_indices"] = ids

    def _full(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        places = _by_place(tensors)
        for path in dict.fromkeys(self.layout.path_of(key) for key in places):
            module = self.layout.modules[path]
            if set(module.keys) - set(places):
                raise AdapterError(
                    f"PEFT saves {', '.join(module.keys)} as one module; `full` has to have all."
                )
            for row in FULL.rows_at(module.kind):
                if value := self._fused(module, row, {k: places[k] for k in module.keys}):
                    conv1d = self.layout.conv1d and row.form == "transposed"
                    turned = value[0].T if conv1d else value[0]
                    self.file[f"base_model.model.{self.prefix}{path}{row.suffix}"] = turned
            self.saved.append(self.prefix + path)

    def _head(self) -> None:
        hf = self.layout.hf
        if self.head is None or hf is None or hf.head is None:
            return
        if self.config["peft_type"] == TOKENS.peft_type:
            warnings.warn(
                "The head is not written: PEFT keeps none beside trained tokens.",
                InteropWarning,
                stacklevel=5,
            )
            return
        bias = self.head.get("bias")
        root = "base_model." if self.parts[0][0].is_prompt else "base_model.model."
        self.file[f"{root}{hf.head.path}.weight"] = np.asarray(self.head["kernel"]).T
        if hf.head.bias and bias is not None:
            self.file[f"{root}{hf.head.path}.bias"] = np.asarray(bias)
        elif bias is not None and np.abs(bias).max() > 0:
            raise AdapterError(
                f"HF's `{hf.head.path}` has no bias, this head has. Write with `with_head=False`."
            )
        self.saved.append(hf.head.path)

    def _place(self, key: str) -> Any:
        return next(
            (place for place in self.layout.places if place.key == key),
            Place(key, key.rpartition(".")[2].removeprefix("cross_"), key.rpartition(".")[2], 0, 0),
        )


def without_base_changes(
    method: Method, config: AdapterConfig, tensors: Tensors
) -> tuple[AdapterConfig, Tensors]:
    """PiSSA and OLoRA as the plain LoRA of twice the rank that they are.

    PEFT would redo the initialisation on loading and change the model's weights by it.
    """
    if getattr(config, "rescales_bias", False):
        raise AdapterError(
            "`dora_dialect` adapterhub is another function than PEFT's DoRA: it rescales biases, "
            "and its norm does not know alpha."
        )
    if not getattr(config, "from_weights", False):
        return config, tensors
    if getattr(config, "use_dora", False):
        raise AdapterError("`use_dora` with `init` pissa or olora has no plain form for PEFT.")
    grown = {}
    for key, value in tensors.items():
        stem, _, variable = key.rpartition(".")
        if variable == "lora_a":
            grown[key] = np.concatenate([value, tensors[f"{stem}.lora_a0"]], axis=1)
        elif variable == "lora_b":
            grown[key] = np.concatenate([value, -tensors[f"{stem}.lora_b0"]], axis=0)
        elif variable not in method.computed:
            grown[key] = value
    alpha = math.sqrt(2) if getattr(config, "use_rslora", False) else 2
    raw = config.model_dump()
    raw |= {"method": method.methods[0], "init": "kaiming"}
    raw["r"], raw["alpha"] = 2 * raw["r"], alpha * raw["alpha"]
    raw["rank_pattern"] = {k: 2 * v for k, v in raw["rank_pattern"].items()}
    raw["alpha_pattern"] = {k: alpha * v for k, v in raw["alpha_pattern"].items()}
    return type(config)(**raw), grown


def _one_first_matrix(
    method: Method,
    end: str,
    config: AdapterConfig,
    places: dict[str, dict[str, Any]],
    values: dict[str, Any],
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Several adapters of one torch module as one, whose first matrix is theirs side by side."""
    shared = [
        row.variable for row in method.rows if row.fused == "shared" and row.end in (None, end)
    ]
    first, *others = places.values()
    if all(np.array_equal(first[name], other[name]) for other in others for name in shared):
        return places, values
    if method.peft_type != "LORA":
        raise AdapterError(
            f"{', '.join(places)} are one module in PEFT, where `{method.methods[0]}` has one "
            f"{shared[0]} for them; here they have several."
        )
    many = len(places)
    side = np.concatenate([own["lora_a"] for own in places.values()], axis=1)
    for number, own in enumerate(places.values()):
        r, out = own["lora_b"].shape
        tall = np.zeros((many * r, out), own["lora_b"].dtype)
        tall[number * r : (number + 1) * r] = own["lora_b"]
        own |= {"lora_a": side, "lora_b": tall}
    grow = math.sqrt(many) if getattr(config, "use_rslora", False) else many
    return places, values | {"r": many * values["r"], "alpha": grow * values["alpha"]}


def _values(method: Method, config: AdapterConfig, place: Any) -> dict[str, Any]:
    """The options that may differ from place to place."""
    found = {}
    for option in method.options:
        if option.pattern is not None:
            pattern = getattr(config, option.pattern)
            default = getattr(config, option.ours)
            found[option.ours] = next((v for k, v in pattern.items() if place.matches(k)), default)
    return found


def _by_place(tensors: Mapping[str, NDArray[Any]]) -> dict[str, dict[str, NDArray[Any]]]:
    found: dict[str, dict[str, NDArray[Any]]] = {}
    for key, value in tensors.items():
        place, _, variable = key.rpartition(".")
        if place != "shared":
            found.setdefault(place, {})[variable] = value
    return found


def _dotted(prefix: str) -> str:
    return f"{prefix}." if prefix and not prefix.endswith(".") else prefix
