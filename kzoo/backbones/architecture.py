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

from kzoo.backbones.families import Family
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
        facts = {**family.hf_defaults, **config}
        activation = facts[family.hf_activation]
        if activation not in _ACTIVATIONS:
            raise WeightsError(
                f"`{family.hf_activation}` {activation!r} in config.json is not supported. "
                f"Supported: {', '.join(_ACTIVATIONS)}."
            )
        return cls(activation=activation, layer_norm_epsilon=facts["layer_norm_eps"])

    @classmethod
    def of_built(cls, backbone: Any, family: Family) -> Architecture:
        """Reads what KerasHub built, for checkpoints that come without an HF config."""
        block = family.block_list(backbone)[0]
        name = getattr(block.activation, "__name__", str(block.activation))
        known = {"gelu_approximate": "gelu_new", "silu": "silu", "relu": "relu", "tanh": "tanh"}
        return cls(
            activation=known.get(name, "gelu"), layer_norm_epsilon=float(block.layer_norm_epsilon)
        )

    def apply(self, backbone: Any, family: Family) -> None:
        """Sets activation and epsilon on the built layers of `backbone`, in place."""
        function = _activation(self.activation)
        for block in family.block_list(backbone):
            block.activation = function
            block._feedforward_intermediate_dense.activation = function
            block.layer_norm_epsilon = self.layer_norm_epsilon
            block._self_attention_layer_norm.epsilon = self.layer_norm_epsilon
            block._feedforward_layer_norm.epsilon = self.layer_norm_epsilon
        backbone.embeddings_layer_norm.epsilon = self.layer_norm_epsilon


def _activation(name: str) -> Any:
    import keras

    if _ACTIVATIONS[name] == "gelu_tanh":
        return _gelu_tanh
    return keras.activations.get(_ACTIVATIONS[name])


def _gelu_tanh(x: Any) -> Any:
    import keras

    return keras.ops.gelu(x, approximate=True)
