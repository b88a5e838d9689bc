"""How a family is written down by others: HF's checkpoints and classes, AdapterHub's modules.

Data only. `kzoo.backbones` reads checkpoints by it, `kzoo.interop` the adapters of other libraries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kzoo.errors import WeightsError

if TYPE_CHECKING:
    from kzoo.backbones.family import Family

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class HFConfig:
    """How a family's `config.json` is read.

    Args:
        keys: KerasHub argument -> HF key. All have to be there, or in `defaults`.
        defaults: What HF assumes where the file is silent, activation and epsilon included.
        needs: HF key -> the only value that KerasHub can do, where the file says something.
        equal: Pairs of HF keys that have to be equal, for KerasHub has one argument for both.
        more: From the file, arguments that are no plain copies.
        activation_key: HF key of the activation.
        epsilon_key: HF key of the epsilon of the norms.
        activation: From the value of `activation_key` to HF's name of the function, where the two
            differ.
    """

    keys: Mapping[str, str]
    defaults: Facts = field(default_factory=dict)
    needs: Facts = field(default_factory=dict)
    equal: tuple[tuple[str, str], ...] = ()
    more: Callable[[Facts], Mapping[str, Any]] = lambda facts: {}
    activation_key: str = "hidden_act"
    epsilon_key: str = "layer_norm_eps"
    activation: Callable[[str], str] = str

    def facts(self, hf: Facts) -> dict[str, Any]:
        """What a `config.json` says, and HF's defaults where it is silent.

        Args:
            hf: The file's content. A null is silence.

        Returns:
            HF key -> value.
        """
        return {**self.defaults, **{key: value for key, value in hf.items() if value is not None}}


@dataclass(frozen=True)
class HFNames:
    """Names of HF's modules: where a sublayer's tensors stand in a checkpoint.

    Names are those behind the model's own prefix (`bert.`, `model.`, ...), found by the anchor.

    Args:
        anchor: A tensor that every checkpoint has; what stands before it is the prefix.
        blocks: Path of a block of each stack, with `{i}` for its number (ALBERT: `{group}` and
            `{inner}`).
        sites: For each stack: site name, or attribute path inside a block -> module. Sites with
            one module share its rows in this order (GPT-2's `c_attn`).
        outside: Attribute path on the backbone -> module or, for a bare variable, tensor.
        pooler: Module of the pooler, where HF may have one.
        position_offset: Rows of the position table before the first position.
        every_position: A tensor whose first row KerasHub has no place for but the positions: it
            is added to each, where the checkpoint has it.
        conv1d: Whether linear weights are (in, out), HF's `Conv1D`.
        optional: Sites and paths that a backbone lacks with some configs (T5's gate).
        ungated: Last part of a module's name -> the same in a checkpoint without a gate.
        first_block: As `sites`, but tensors, and only in the first block of each stack.
    """

    anchor: str
    blocks: tuple[str, ...]
    sites: tuple[Mapping[str, str], ...]
    outside: Mapping[str, str]
    pooler: str | None = None
    position_offset: int = 0
    every_position: str | None = None
    conv1d: bool = False
    optional: tuple[str, ...] = ()
    ungated: Mapping[str, str] = field(default_factory=dict)
    first_block: Mapping[str, str] = field(default_factory=dict)

    def module(self, name: str, gated: bool) -> str:
        """The name of a module in a checkpoint with or without a gate.

        Args:
            name: As `sites` has it.
            gated: Whether the checkpoint's feed-forward part has a gate.

        Returns:
            The name there.
        """
        stem, dot, last = name.rpartition(".")
        return name if gated else f"{stem}{dot}{self.ungated.get(last, last)}"


@dataclass(frozen=True)
class HFHead:
    """A classification head of HF's that is one linear layer, as kzoo's.

    Args:
        path: Path of the module, from the root of the model.
        bias: Whether it has one.
        pooling: The pooling of kzoo's classifier that feeds it the same vector.
    """

    path: str
    bias: bool
    pooling: str


@dataclass(frozen=True)
class HFClasses:
    """HF's model classes of one family, as PEFT sees them.

    Args:
        prefix: What stands before all paths in a model with a head.
        task: PEFT's `task_type` of a model without a classification head.
        task_prefix: The prefix there.
        head: The classification head, where it has the form of ours.
        usual: Whether a file whose modules several families have is taken for this one's.
    """

    prefix: str
    task: str = "FEATURE_EXTRACTION"
    task_prefix: str = ""
    head: HFHead | None = None
    usual: bool = False


def hf_decoder(prefix: str, usual: bool = False) -> HFClasses:
    """The classes of a family that completes texts.

    Args:
        prefix: As in `HFClasses`.
        usual: As there.

    Returns:
        The entry.
    """
    return HFClasses(prefix, "CAUSAL_LM", prefix, HFHead("score", False, "last"), usual)


@dataclass(frozen=True)
class HubHead:
    """The classification head of HF's own class that AdapterHub's library saves beside adapters.

    Args:
        model_class: HF's class.
        layers: Names of its one or two linear layers.
        pooler: Whether they stand on the pooler, and not on the first token.
        activation: Between two layers.
    """

    model_class: str
    layers: tuple[str, ...]
    pooler: bool = False
    activation: str = "tanh"


@dataclass(frozen=True)
class HubNames:
    """What AdapterHub's library adds to HF's modules, which keep their names.

    Args:
        hosts: For each stack: part of a block (`attention`, `cross_attention`, `ffn`) -> module
            that holds its bottlenecks.
        attention: For each stack: name of the attention's place -> module of the attention.
        intermediate: Site of what the library calls the intermediate projection, in LoRA.
        output: Site of what it calls the output projection.
        model_prefix: What stands before all modules in the library's own model classes. Default:
            HF's.
        self_prefix: The library's name for the prefixes of self-attention, outside of encoders of
            encoder-decoders.
        no_prefix: Why prefixes are refused, where the library computes something else.
        model_class: The library's class whose classification heads stand on the first token.
        head: The head of HF's class.
    """

    hosts: tuple[Mapping[str, str], ...]
    attention: tuple[Mapping[str, str], ...]
    intermediate: str = "ffn_intermediate"
    output: str = "ffn_output"
    model_prefix: str | None = None
    self_prefix: str = "self_prefix"
    no_prefix: str | None = None
    model_class: str | None = None
    head: HubHead | None = None


# Where most families have their bottlenecks: at the block itself.
HUB_BLOCK: Mapping[str, str] = {"attention": "attention_adapters", "ffn": "output_adapters"}


def backbone_config(family: Family, hf: Facts) -> dict[str, Any]:
    """KerasHub's constructor arguments from an HF `config.json`.

    Args:
        family: The family that the file is of.
        hf: The file's content.

    Returns:
        The arguments of the family's class.

    Raises:
        WeightsError: A size is missing, or the checkpoint is one that KerasHub's class cannot be.
    """
    rules = family.config
    facts = rules.facts(hf)
    if missing := [key for key in rules.keys.values() if key not in facts]:
        raise WeightsError(f"config.json lacks {', '.join(f'`{key}`' for key in missing)}.")
    for key, wanted in rules.needs.items():
        if facts.get(key, wanted) != wanted:
            raise WeightsError(
                f"`{key}` in config.json must be {wanted!r}: {family.backbone} can do no other. "
                f"Received: {facts[key]!r}"
            )
    for one, other in rules.equal:
        if facts.get(other, facts[one]) != facts[one]:
            raise WeightsError(
                f"`{one}` and `{other}` in config.json must be equal for {family.backbone}. "
                f"Received: {facts[one]!r} and {facts[other]!r}"
            )
    config = {ours: facts[theirs] for ours, theirs in rules.keys.items()}
    return {**config, **rules.more(facts)}
