"""Which tensors of AdapterHub's files are which variables here: one list for reading and writing.

`links` makes the list for one configuration on one model. Most methods are a table of rows; what
is more than a change of form has a function in `adapterhub_fused`, `_prefix` or `_reft`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kzoo.adapters.config import AdapterConfig
from kzoo.adapters.interop.adapterhub_names import HubModules
from kzoo.adapters.interop.adapterhub_words import Raw
from kzoo.adapters.methods.bottleneck import BottleneckConfig
from kzoo.adapters.methods.compacter import CompacterConfig
from kzoo.adapters.methods.ia3 import Ia3Config
from kzoo.adapters.methods.lora import LoraConfig
from kzoo.adapters.methods.prefix import PrefixConfig
from kzoo.adapters.methods.reft import ReftConfig
from kzoo.backbones.places import Place

Arrays = list[NDArray[Any]]
Turn = Callable[[Arrays], Arrays]


@dataclass(frozen=True)
class Link:
    """Tensors of the file and variables here that hold the same numbers.

    Args:
        theirs: Keys in the file, behind the model's prefix.
        ours: Keys of the variables, without the number of a part.
        read: Their tensors as ours.
        write: Ours as theirs; None where the form exists in files of others only.
        also: Keys under which the library stores the same tensors again.
        unused: Keys of tensors that the library stores and never uses; copies are written.
    """

    theirs: tuple[str, ...]
    ours: tuple[str, ...]
    read: Turn
    write: Turn | None
    also: tuple[tuple[str, ...], ...] = ()
    unused: tuple[tuple[str, ...], ...] = ()


def transposed(arrays: Arrays) -> Arrays:
    """Matrices with rows for columns."""
    return [np.swapaxes(array, 0, 1) if array.ndim == 2 else array for array in arrays]


def same(arrays: Arrays) -> Arrays:
    """Nothing to do."""
    return list(arrays)


def flat(arrays: Arrays) -> Arrays:
    """(n, 1) as (n,)."""
    return [array.reshape(-1) for array in arrays]


def column(arrays: Arrays) -> Arrays:
    """(n,) as (n, 1)."""
    return [array.reshape(-1, 1) for array in arrays]


FORMS: dict[str, tuple[Turn, Turn]] = {
    "matrix": (transposed, transposed),
    "same": (same, same),
    "column": (flat, column),
}


@dataclass(frozen=True)
class Row:
    """One tensor of a module.

    Args:
        theirs: Name inside of the library's module.
        ours: Name of the variable.
        form: `matrix` (transposed there), `same`, or `column` (n, 1) for our (n,).
        when: Whether a configuration has it.
        also: Another name inside of the module for the same tensor.
    """

    theirs: str
    ours: str
    form: str = "same"
    when: Callable[[Any], bool] = lambda config: True
    also: str | None = None


def linear(
    theirs: str, ours: str, when: Callable[[Any], bool] = lambda config: True
) -> tuple[Row, Row]:
    """A torch Linear with a bias."""
    return (
        Row(f"{theirs}.weight", f"{ours}_kernel", "matrix", when),
        Row(f"{theirs}.bias", f"{ours}_bias", "same", when),
    )


def _norm_row(part: str, ours: str) -> Row:
    # The norm in front stands in the library's sequence of modules too, and moves `down` by one.
    return Row(
        f"adapter_norm_before.{part}",
        f"norm_before_{ours}",
        when=lambda config: config.ln_before,
        also=f"adapter_down.0.{part}",
    )


_PLAIN = (
    *linear("adapter_down.0", "down", lambda config: not config.ln_before),
    *linear("adapter_down.1", "down", lambda config: config.ln_before),
    *linear("adapter_up", "up"),
)
_AROUND = (
    _norm_row("weight", "gamma"),
    _norm_row("bias", "beta"),
    Row("adapter_norm_after.weight", "norm_after_gamma", when=lambda config: config.ln_after),
    Row("adapter_norm_after.bias", "norm_after_beta", when=lambda config: config.ln_after),
    Row("scaling", "scaling", when=lambda config: isinstance(config.scaling, str)),
    *linear("gate", "gate", lambda config: config.use_gating),
)


def _phm(module: str, ours: str, shifted: bool | None = None) -> tuple[Row, ...]:
    def here(config: Any) -> bool:
        return shifted is None or bool(config.ln_before) == shifted

    def ranked(config: Any) -> bool:
        return here(config) and config.phm_rank is not None

    def own(factorized: bool) -> Callable[[Any], bool]:
        return lambda config: (
            here(config) and not config.shared_phm_rule and config.factorized_phm_rule == factorized
        )

    return (
        Row(f"{module}.W_left", f"{ours}_left", when=ranked),
        Row(f"{module}.W_right", f"{ours}_right", when=ranked),
        Row(f"{module}.W", f"{ours}_kernel", when=lambda c: here(c) and c.phm_rank is None),
        Row(f"{module}.b", f"{ours}_bias", when=lambda c: here(c) and c.phm_bias),
        Row(f"{module}.phm_rule", f"{ours}_rule", when=own(False)),
        Row(f"{module}.phm_rule_left", f"{ours}_rule_left", when=own(True)),
        Row(f"{module}.phm_rule_right", f"{ours}_rule_right", when=own(True)),
    )


_COMPACTER = (
    *_phm("adapter_down.0", "down", False),
    *_phm("adapter_down.1", "down", True),
    *_phm("adapter_up", "up"),
)
_RULE = (
    Row("phm_rule", "phm_rule", when=lambda config: not config.factorized_phm_rule),
    Row("phm_rule_left", "phm_rule_left", when=lambda config: config.factorized_phm_rule),
    Row("phm_rule_right", "phm_rule_right", when=lambda config: config.factorized_phm_rule),
)
_INVERTIBLE = (
    *linear("F.0", "f_down"),
    *linear("F.2", "f_up"),
    *linear("G.0", "g_down"),
    *linear("G.2", "g_up"),
)
_IA3 = (Row("lora_B", "ia3_l", "column"),)
_LORA = (
    Row("lora_A", "lora_a", "matrix"),
    Row("lora_B", "lora_b", "matrix"),
    Row("m.weight", "magnitude", "column", lambda config: config.use_dora),
    *linear("gate", "gate", lambda config: config.method == "gated_lora"),
)
_PROMPT = (Row("prompt_embedding.weight", "prompt"),)
FUSION = (
    *linear("query", "query", lambda config: config.query),
    *linear("key", "key", lambda config: config.key),
    Row("value.weight", "value_kernel", "matrix", lambda config: config.value),
)


def rows_at(rows: Sequence[Row], config: Any, module: str, place: str) -> Iterator[Link]:
    """The links of one module.

    Args:
        rows: Its table.
        config: Our configuration.
        module: Path of the library's module.
        place: What stands before our variables.
    """
    for row in rows:
        if row.when(config):
            read, write = FORMS[row.form]
            also = ((f"{module}.{row.also}",),) if row.also else ()
            theirs, ours = (f"{module}.{row.theirs}",), (f"{place}.{row.ours}",)
            yield Link(theirs, ours, read, write, unused=also)


def links(config: AdapterConfig, raw: Raw, modules: HubModules) -> list[Link]:
    """All tensors of one method.

    Args:
        config: Our configuration.
        raw: The library's, complete.
        modules: The model, and the adapter's name.

    Raises:
        AdapterError: The model has no such place.
    """
    from kzoo.adapters.interop import adapterhub_fused, adapterhub_prefix, adapterhub_reft

    places = config.choose(modules.layout.places)
    if isinstance(config, BottleneckConfig):
        return list(_bottleneck(config, places, modules))
    if isinstance(config, (Ia3Config, LoraConfig)):
        rows = _IA3 if isinstance(config, Ia3Config) else _LORA
        if isinstance(config, LoraConfig) and adapterhub_fused.is_vera(raw):
            return list(adapterhub_fused.vera(config, places, modules))
        return list(adapterhub_fused.by_module(rows, config, places, modules))
    if isinstance(config, PrefixConfig):
        return list(adapterhub_prefix.links(config, raw, places, modules))
    if isinstance(config, ReftConfig):
        return list(adapterhub_reft.links(config, places, modules))
    return [
        link
        for place in places
        if place.site == "embeddings_norm"
        for link in rows_at(_PROMPT, config, modules.prompt, place.key)
    ]


def _bottleneck(
    config: BottleneckConfig, places: Sequence[Place], modules: HubModules
) -> Iterator[Link]:
    rows: tuple[Row, ...] = _PLAIN
    if isinstance(config, CompacterConfig):
        rows = _COMPACTER
        if config.shared_phm_rule:
            yield from rows_at(_RULE, config, modules.shared, "shared")
    for place in places:
        if config.is_body(place):
            module = modules.bottleneck(place.key)
            yield from rows_at((*rows, *_AROUND), config, module, place.key)
        elif place.site == "embeddings_norm" and config.inv_adapter is not None:
            yield from rows_at(_INVERTIBLE, config, modules.invertible, place.key)
