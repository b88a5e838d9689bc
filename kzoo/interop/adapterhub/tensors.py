"""Names of tensors in AdapterHub's files: paths of modules, and what each kind of module holds.

Linear modules have their HF names (`kzoo.backbones.hf_format`); bottlenecks have a host of their
own in every block, prefixes one in every attention. A table of rows serves reading and writing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kzoo.backbones.families import FAMILIES
from kzoo.backbones.hf_format import HubNames
from kzoo.errors import AdapterError, did_you_mean
from kzoo.interop.layouts import Layout, hf_classes

Arrays = list[NDArray[Any]]
Turn = Callable[[Arrays], Arrays]


def hub_names(family: str | None) -> HubNames:
    """What AdapterHub's library adds to a family's modules.

    Raises:
        AdapterError: AdapterHub's files of this family are not known.
    """
    found = FAMILIES.get(family).hub if family is not None and family in FAMILIES else None
    if found is None:
        known = [name for name, own in FAMILIES.items() if own.hub is not None]
        raise AdapterError(
            f"AdapterHub's files of the family {family!r} are not supported."
            f"{did_you_mean(str(family), known)}"
        )
    return found


@dataclass(frozen=True)
class HubModules:
    """Paths of the library's modules in one model.

    Args:
        layout: The model.
        name: The adapter's name, which is part of every path.
    """

    layout: Layout
    name: str

    @property
    def family(self) -> HubNames:
        """What the library adds to the family's modules."""
        return hub_names(self.layout.family)

    @property
    def prefix(self) -> str:
        """What stands before all paths in the library's own model classes, with its dot."""
        own = self.family.model_prefix
        prefix = hf_classes(str(self.layout.family)).prefix if own is None else own
        return f"{prefix}." if prefix else ""

    def block(self, key: str) -> tuple[int, str]:
        """Number of the stack and path of the block that a place is in."""
        stack, index, _ = key.split(".", 2)
        family = FAMILIES.get(str(self.layout.family))
        number = [own.name for own in family.stacks].index(stack)
        return number, family.names.blocks[number].format(i=index)

    def bottleneck(self, key: str) -> str:
        """Of the bottleneck at a norm or a projection in front of a residual."""
        stack, block = self.block(key)
        part = key.rpartition(".")[2].rpartition("_")[0]
        return f"{block}.{self.family.hosts[stack][part]}.adapters.{self.name}"

    def fusion(self, key: str) -> str:
        """Of the fusion at the same place."""
        stack, block = self.block(key)
        part = key.rpartition(".")[2].rpartition("_")[0]
        return f"{block}.{self.family.hosts[stack][part]}.adapter_fusion_layer.{self.name}"

    def lora(self, key: str) -> str:
        """Of the LoRA at a projection."""
        return f"{self.layout.path_of(key)}.loras.{self.name}"

    def attention(self, key: str) -> str:
        """Of what prefix tuning adds to an attention."""
        stack, block = self.block(key)
        name = key.rpartition(".")[2]
        return f"{block}.{self.family.attention[stack][name]}.prefix_tuning"

    def reft(self, key: str) -> str:
        """Of the ReFT of a block."""
        return f"{self.block(key + '.')[1]}.reft_layer.refts.{self.name}"

    @property
    def shared(self) -> str:
        """Of what the places of a Compacter or VeRA share."""
        return f"shared_parameters.{self.name}"

    @property
    def invertible(self) -> str:
        """Of the invertible adapter, in the encoder where there are two stacks."""
        root = "encoder." if len(self.family.hosts) > 1 else ""
        return f"{root}invertible_adapters.{self.name}"

    @property
    def prompt(self) -> str:
        """Of the prompt."""
        return f"prompt_tuning.prompt_tunings.{self.name}"

    def prefixes(self, location: str) -> str:
        """Of all prefixes of one kind of attention."""
        return f"prefix_tuning.prefix_tunings.{self.name}.{location}"


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


PLAIN = (
    *linear("adapter_down.0", "down", lambda config: not config.ln_before),
    *linear("adapter_down.1", "down", lambda config: config.ln_before),
    *linear("adapter_up", "up"),
)
AROUND = (
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


COMPACTER = (
    *_phm("adapter_down.0", "down", False),
    *_phm("adapter_down.1", "down", True),
    *_phm("adapter_up", "up"),
)
RULE = (
    Row("phm_rule", "phm_rule", when=lambda config: not config.factorized_phm_rule),
    Row("phm_rule_left", "phm_rule_left", when=lambda config: config.factorized_phm_rule),
    Row("phm_rule_right", "phm_rule_right", when=lambda config: config.factorized_phm_rule),
)
INVERTIBLE = (
    *linear("F.0", "f_down"),
    *linear("F.2", "f_up"),
    *linear("G.0", "g_down"),
    *linear("G.2", "g_up"),
)
IA3 = (Row("lora_B", "ia3_l", "column"),)
LORA = (
    Row("lora_A", "lora_a", "matrix"),
    Row("lora_B", "lora_b", "matrix"),
    Row("m.weight", "magnitude", "column", lambda config: config.use_dora),
    *linear("gate", "gate", lambda config: config.method == "gated_lora"),
)
PROMPT = (Row("prompt_embedding.weight", "prompt"),)
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
