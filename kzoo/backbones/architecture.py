"""What a checkpoint says about its arithmetic and KerasHub's backbone config cannot hold.

KerasHub writes the activation (tanh-GELU in BERT) and the layer-norm epsilon into its code and
reads neither from the checkpoint. HF checkpoints say `gelu` (erf); on MiniLM the difference is
2e-4 in an embedding. These facts are therefore kept beside the backbone's own config and applied
to the built layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, PositiveFloat, field_validator

from kzoo.backbones.family import Family, reach
from kzoo.errors import WeightsError

# HF names -> Keras activation specs. `gelu` in HF is the erf form.
_ACTIVATIONS: dict[str, str] = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}


class Architecture(BaseModel):
    """Activation of the feed-forward part and epsilon of the layer norms.

    Args:
        activation: HF activation name; `gelu` (erf), `gelu_new` (tanh), `relu`, `silu`, `tanh`.
        layer_norm_epsilon: Added to the variance in every layer norm.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    activation: str = "gelu"
    layer_norm_epsilon: PositiveFloat = 1e-12

    @field_validator("activation")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in _ACTIVATIONS:
            raise ValueError(f"must be one of {', '.join(_ACTIVATIONS)}")
        return value

    @classmethod
    def from_hf(cls, config: Mapping[str, Any], family: Family) -> Architecture:
        """Reads an HF `config.json`."""
        rules = family.config
        facts = rules.facts(config)
        activation = rules.activation(facts[rules.activation_key])
        if activation not in _ACTIVATIONS:
            raise WeightsError(
                f"`{rules.activation_key}` {activation!r} in config.json is not supported. "
                f"Supported: {', '.join(_ACTIVATIONS)}."
            )
        return cls(activation=activation, layer_norm_epsilon=facts[rules.epsilon_key])

    @classmethod
    def of_built(cls, backbone: Any, family: Family) -> Architecture:
        """Reads what KerasHub built, for checkpoints that come without an HF config.

        Raises:
            WeightsError: An activation that no HF name stands for.
        """
        block = family.block_list(backbone)[0]
        # KerasHub gives Qwen3's norms of queries and keys another one by mistake.
        epsilon = float(reach(block, family.stacks[0].sites["attention_norm"]).epsilon)
        if not family.activation:
            return cls(activation=_fixed(family), layer_norm_epsilon=epsilon)
        name = activation_name(reach(block, family.activation[-1]), family.backbone)
        return cls(activation=name, layer_norm_epsilon=epsilon)

    def apply(self, backbone: Any, family: Family) -> None:
        """Sets activation and epsilon on the built layers of `backbone`, in place.

        Raises:
            WeightsError: The family's activation is part of KerasHub's code and another one.
        """
        if not family.activation and _ACTIVATIONS[self.activation] != _ACTIVATIONS[_fixed(family)]:
            raise WeightsError(
                f"`activation` of {family.name} can only be {_fixed(family)!r}, which KerasHub "
                f"wrote into its code. Received: {self.activation!r}"
            )
        function = activation_function(self.activation)
        for block in family.block_list(backbone):
            for path in family.activation:
                owner, _, attribute = path.rpartition(".")
                setattr(reach(block, owner), attribute, function)
            if hasattr(block, "layer_norm_epsilon"):
                block.layer_norm_epsilon = self.layer_norm_epsilon
        for norm in _norms(backbone):
            norm.epsilon = self.layer_norm_epsilon


# Names of the functions that KerasHub and `apply` put into layers -> HF names.
_BUILT = {
    "gelu": "gelu",
    "gelu_approximate": "gelu_new",
    "_gelu_tanh": "gelu_new",
    "silu": "silu",
    "relu": "relu",
    "tanh": "tanh",
}


def _fixed(family: Family) -> str:
    return str(family.config.defaults[family.config.activation_key])


def _norms(backbone: Any) -> list[Any]:
    """All normalisation layers of the trunk, inside attention too; HF gives them one epsilon."""
    from kzoo.keras_internals import inner_layers

    return [layer for layer in inner_layers(backbone) if hasattr(layer, "epsilon")]


def activation_function(name: str) -> Any:
    import keras

    if _ACTIVATIONS[name] == "gelu_tanh":
        return _gelu_tanh
    return keras.activations.get(_ACTIVATIONS[name])


def activation_name(function: Any, whose: str) -> str:
    """HF's name of a function that KerasHub or `apply` put into a layer.

    Raises:
        WeightsError: No HF name stands for it.
    """
    name = getattr(function, "__name__", str(function))
    if name not in _BUILT:
        raise WeightsError(f"The activation {name!r} of {whose} is not supported.")
    return _BUILT[name]


def _gelu_tanh(x: Any) -> Any:
    import keras

    return keras.ops.gelu(x, approximate=True)
