"""T5 and T5 1.1: positions are a bias of attention, the gate is there in 1.1 alone."""

from typing import Any

from kzoo.backbones.families import FAMILIES
from kzoo.backbones.families.shared import ENCODER_DECODER_INPUTS, MINIATURE, insert
from kzoo.backbones.family import Family, Stack
from kzoo.backbones.hf_format import Facts, HFClasses, HFConfig, HFNames, HubNames

_BUCKETS = 32  # fixed in KerasHub and in every published T5

# The attention is one method: there is nothing between the projections to stand around, but the
# whole of it.
_ENCODER = {
    "query": "self_attention.query_projector",
    "key": "self_attention.key_projector",
    "value": "self_attention.value_projector",
    "attention_output": "self_attention.output_projector",
    "attention_norm": "self_attention_layer_norm",
    "attention": "self_attention",
    "ffn_intermediate": "input_projector",
    "ffn_output": "output_projector",
    "ffn_norm": "layer_norm",
    "block": "",
}
_CROSS = {
    "cross_query": "cross_attention.query_projector",
    "cross_key": "cross_attention.key_projector",
    "cross_value": "cross_attention.value_projector",
    "cross_attention_output": "cross_attention.output_projector",
    "cross_attention_norm": "cross_attention_layer_norm",
    "cross_attention": "cross_attention",
}
_DECODER = insert(_ENCODER, "ffn_intermediate", _CROSS)
# The activation is in `input_projector` with and without a gate.
_GATED = {"ffn_gate": "input_projector", "ffn_intermediate": "gate_projector"}


def _attention_modules(module: str, prefix: str = "") -> dict[str, str]:
    letters = {"query": "q", "key": "k", "value": "v", "attention_output": "o"}
    return {f"{prefix}{site}": f"{module}.{letter}" for site, letter in letters.items()}


def _ffn_modules(layer: int) -> dict[str, str]:
    # By path, not by site: `wi_0` (`wi` without a gate) is where the activation is.
    return {
        "input_projector": f"layer.{layer}.DenseReluDense.wi_0",
        "gate_projector": f"layer.{layer}.DenseReluDense.wi_1",
        "output_projector": f"layer.{layer}.DenseReluDense.wo",
        "ffn_norm": f"layer.{layer}.layer_norm",
    }


_SELF_MODULES = {
    **_attention_modules("layer.0.SelfAttention"),
    "attention_norm": "layer.0.layer_norm",
}
_CROSS_MODULES = {
    **_attention_modules("layer.1.EncDecAttention", "cross_"),
    "cross_attention_norm": "layer.1.layer_norm",
}
_NAMES = HFNames(
    "shared.weight",
    ("encoder.block.{i}", "decoder.block.{i}"),
    (
        {**_SELF_MODULES, **_ffn_modules(1)},
        {**_SELF_MODULES, **_CROSS_MODULES, **_ffn_modules(2)},
    ),
    {
        "token_embedding": "shared",
        "encoder_layer_norm": "encoder.final_layer_norm",
        "decoder_layer_norm": "decoder.final_layer_norm",
    },
    optional=("gate_projector",),
    ungated={"wi_0": "wi"},
    first_block={
        "self_attention.relative_attention_bias": (
            "layer.0.SelfAttention.relative_attention_bias.weight"
        )
    },
)
_KEYS = {
    "vocabulary_size": "vocab_size",
    "num_layers": "num_layers",
    "num_heads": "num_heads",
    "hidden_dim": "d_model",
    "intermediate_dim": "d_ff",
    "key_value_dim": "d_kv",
    "dropout": "dropout_rate",
}
_DEFAULTS = {
    "dropout_rate": 0.1,
    "tie_word_embeddings": True,
    "scale_decoder_outputs": True,
    "feed_forward_proj": "relu",
    "layer_norm_epsilon": 1e-6,
}


def _gate_and_logits(facts: Facts) -> dict[str, Any]:
    gated = str(facts["feed_forward_proj"]).startswith("gated-")
    # T5 1.1's logits are not scaled. Its files say so by `tie_word_embeddings: false`; those that
    # transformers 5 writes say `true` and have a key of their own.
    scaled = facts["tie_word_embeddings"] and facts["scale_decoder_outputs"]
    return {"use_gated_activation": gated, "tie_embedding_weights": scaled}


def _activation(gate_and_function: str) -> str:
    """The file says two things with one word, and by `gated-gelu` means tanh."""
    if gate_and_function == "gated-gelu":
        return "gelu_new"
    return gate_and_function.removeprefix("gated-")


FAMILIES.register(
    "t5",
    Family(
        "t5",
        "T5Backbone",
        names=_NAMES,
        config=HFConfig(
            _KEYS,
            _DEFAULTS,
            {"relative_attention_num_buckets": _BUCKETS, "relative_attention_max_distance": 128},
            equal=(("num_layers", "num_decoder_layers"),),
            more=_gate_and_logits,
            activation_key="feed_forward_proj",
            epsilon_key="layer_norm_epsilon",
            activation=_activation,
        ),
        miniature={
            **MINIATURE,
            "num_heads": 2,
            "key_value_dim": 6,
            "activation": "relu",
            "use_gated_activation": False,
        },
        classes=HFClasses("", "SEQ_2_SEQ_LM"),
        hub=HubNames(
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
            no_prefix=(
                "AdapterHub counts a prefix in the positions of T5's keys and not of its queries"
            ),
        ),
        kind="encoder-decoder",
        inputs=ENCODER_DECODER_INPUTS,
        stacks=(
            Stack("encoder", "encoder_transformer_layers", _ENCODER, _GATED),
            Stack("decoder", "decoder_transformer_layers", _DECODER, _GATED),
        ),
        outside={
            "token_embedding": "token_embedding",
            "encoder.final_norm": "encoder_layer_norm",
            "decoder.final_norm": "decoder_layer_norm",
        },
        biased=(),
        pre_norm=True,
        activation=("input_projector.activation",),
        seq2seq_lm="T5Seq2SeqLM",
        pad_tokens=("<pad>",),
        decoder_start=("<pad>",),
        # A table of positions in each stack.
        extra_parameters=lambda dims: 2 * _BUCKETS * dims.num_heads,
    ),
)
