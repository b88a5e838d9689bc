"""Where AdapterHub's modules are in HF's models, by family.

Linear modules have their HF names (`kzoo.backbones.hf_format`); this is what the library adds:
bottlenecks have a host of their own in every block, prefixes one in every attention.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kzoo.adapters.interop.hf_classes import hf_classes
from kzoo.adapters.interop.layouts import Layout
from kzoo.backbones.families import FAMILIES
from kzoo.errors import AdapterError, did_you_mean


@dataclass(frozen=True)
class HubFamily:
    """One family.

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
    """

    hosts: tuple[Mapping[str, str], ...]
    attention: tuple[Mapping[str, str], ...]
    intermediate: str = "ffn_intermediate"
    output: str = "ffn_output"
    model_prefix: str | None = None
    self_prefix: str = "self_prefix"
    no_prefix: str | None = None


_BLOCK = {"attention": "attention_adapters", "ffn": "output_adapters"}
_CROSS_BLOCK = {**_BLOCK, "cross_attention": "cross_attention_adapters"}
_BERT = HubFamily(
    ({"attention": "attention.output", "ffn": "output"},), ({"attention": "attention.self"},)
)
# In these, the library has the two projections the wrong way round.
_LLAMA = HubFamily((_BLOCK,), ({"attention": "self_attn"},), "ffn_output", "ffn_intermediate")

HUB_FAMILIES: dict[str, HubFamily] = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "electra": _BERT,
    "distilbert": HubFamily((_BLOCK,), ({"attention": "attention"},), self_prefix="self"),
    "gpt2": HubFamily((_BLOCK,), ({"attention": "attn"},)),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "bart": HubFamily(
        (_BLOCK, _CROSS_BLOCK),
        (
            {"attention": "self_attn"},
            {"attention": "self_attn", "cross_attention": "encoder_attn"},
        ),
    ),
    "t5": HubFamily(
        (
            {"attention": "layer.0", "ffn": "layer.1"},
            {"attention": "layer.0", "cross_attention": "layer.1", "ffn": "layer.2"},
        ),
        (
            {"attention": "layer.0.SelfAttention"},
            {
                "attention": "layer.0.SelfAttention",
                "cross_attention": "layer.1.EncDecAttention",
            },
        ),
        model_prefix="transformer",
        no_prefix="AdapterHub counts a prefix in the positions of T5's keys and not of its queries",
    ),
}


def hub_family(name: str | None) -> HubFamily:
    """Looks a family up.

    Raises:
        AdapterError: AdapterHub's files of this family are not known.
    """
    if name not in HUB_FAMILIES:
        raise AdapterError(
            f"AdapterHub's files of the family {name!r} are not supported."
            f"{did_you_mean(str(name), HUB_FAMILIES)}"
        )
    return HUB_FAMILIES[name]


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
    def family(self) -> HubFamily:
        """The table's row."""
        return hub_family(self.layout.family)

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
