"""One row per family: which KerasHub class it is and where the places for adapters lie in a block.

A *site* is a sublayer inside a Transformer block that an adapter may wrap. The names of the sites
are the same for every family; the attribute paths are not, hence this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kzoo.backbones.places import Place
from kzoo.backbones.sizes import layer_sizes
from kzoo.errors import WeightsError, did_you_mean

SITES = (
    "query",
    "key",
    "value",
    "attention_output",
    "attention_norm",
    "attention",
    "ffn_intermediate",
    "ffn_gate",
    "ffn_output",
    "ffn_norm",
    "block",
    "token_embedding",
    "embeddings_norm",
    "final_norm",
    "pooler",
)

# keras_hub.layers.TransformerEncoder, which BERT, RoBERTa and DistilBERT share. The norms come
# after the residual sum in all three. `path:method` names another method than `call`.
_TRANSFORMER_ENCODER = {
    "query": "_self_attention_layer._query_dense",
    "key": "_self_attention_layer._key_dense",
    "value": "_self_attention_layer._value_dense",
    "attention_output": "_self_attention_layer._output_dense",
    "attention_norm": "_self_attention_layer_norm",
    "attention": "_self_attention_layer:_compute_attention",
    "ffn_intermediate": "_feedforward_intermediate_dense",
    "ffn_output": "_feedforward_output_dense",
    "ffn_norm": "_feedforward_layer_norm",
    "block": "",
}


@dataclass(frozen=True)
class Stack:
    """A row of Transformer blocks of one kind.

    Args:
        name: First part of the places' keys: `blocks`, or `encoder` and `decoder`.
        attribute: Attribute of the backbone that lists the blocks.
        sites: Site name -> attribute path inside a block, with `:method` where it is not `call`.
    """

    name: str = "blocks"
    attribute: str = "transformer_layers"
    sites: Mapping[str, str] = field(default_factory=lambda: _TRANSFORMER_ENCODER)


@dataclass(frozen=True)
class Family:
    """What kzoo has to know about one family of KerasHub backbones.

    Args:
        name: Family name; equals HF's `model_type`.
        backbone: Class name in `keras_hub.models`.
        inputs: Names of the backbone's inputs.
        stacks: The rows of Transformer blocks.
        outside: Site name -> attribute path of the sublayers outside the blocks.
        pooler: Attribute of the dense layer behind `pooled_output`, if the family has one.
        hf_activation: HF config key of the activation.
        hf_defaults: What HF assumes where the config file is silent.
    """

    name: str
    backbone: str
    inputs: tuple[str, ...] = ("token_ids", "padding_mask")
    stacks: tuple[Stack, ...] = (Stack(),)
    outside: Mapping[str, str] = field(default_factory=dict)
    pooler: str | None = None
    hf_activation: str = "hidden_act"
    hf_defaults: Mapping[str, Any] = field(default_factory=dict)

    @property
    def backbone_class(self) -> Any:
        """The KerasHub class (imports KerasHub)."""
        import keras_hub

        return getattr(keras_hub.models, self.backbone)

    def block_list(self, backbone: Any) -> list[Any]:
        """The Transformer blocks of a built backbone, from the input upwards, encoder first."""
        return [block for stack in self.stacks for block in getattr(backbone, stack.attribute)]

    def places(self, backbone: Any) -> list[Place]:
        """Every place of a built backbone, from the input upwards."""
        places = [_place(site, site, backbone, path, None) for site, path in self.outside.items()]
        number = 0
        for stack in self.stacks:
            for index, block in enumerate(getattr(backbone, stack.attribute)):
                places += [
                    _place(f"{stack.name}.{index}.{name}", name, block, path, number)
                    for name, path in stack.sites.items()
                ]
                number += 1
        return places


def _place(key: str, name: str, root: Any, path: str, block: int | None) -> Place:
    path, _, method = path.partition(":")
    layer = root
    for attribute in filter(None, path.split(".")):
        layer = getattr(layer, attribute)
    size_in, size_out, bias = layer_sizes(layer)
    return Place(
        key=key,
        site=name.removeprefix("cross_"),
        name=name,
        size_in=size_in,
        size_out=size_out,
        bias=bias,
        block=block,
        layer=layer,
        method=method or "call",
    )


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(
            "bert",
            "BertBackbone",
            inputs=("token_ids", "segment_ids", "padding_mask"),
            outside={
                "token_embedding": "token_embedding",
                "embeddings_norm": "embeddings_layer_norm",
                "pooler": "pooled_dense",
            },
            pooler="pooled_dense",
            hf_defaults={"hidden_act": "gelu", "layer_norm_eps": 1e-12},
        ),
        Family(
            "roberta",
            "RobertaBackbone",
            outside={
                "token_embedding": "embeddings.token_embedding",
                "embeddings_norm": "embeddings_layer_norm",
            },
            hf_defaults={"hidden_act": "gelu", "layer_norm_eps": 1e-12},
        ),
        Family(
            "distilbert",
            "DistilBertBackbone",
            outside={
                "token_embedding": "embeddings.token_embedding",
                "embeddings_norm": "embeddings_layer_norm",
            },
            hf_activation="activation",
            hf_defaults={"activation": "gelu", "layer_norm_eps": 1e-12},
        ),
    )
}


def family_named(name: str) -> Family:
    """Looks a family up by name (HF's `model_type`).

    Raises:
        WeightsError: The family is not supported.
    """
    if name not in FAMILIES:
        raise WeightsError(f"`family` {name!r} is not supported.{did_you_mean(name, FAMILIES)}")
    return FAMILIES[name]


def family_of(backbone: Any) -> Family:
    """The family of a built backbone, by its class.

    Raises:
        WeightsError: The class belongs to no supported family.
    """
    for family in FAMILIES.values():
        if type(backbone).__name__ == family.backbone:
            return family
    raise WeightsError(
        f"`backbone` of class {type(backbone).__name__} is not supported. "
        f"Supported: {', '.join(f.backbone for f in FAMILIES.values())}."
    )
