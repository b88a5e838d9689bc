"""ViT."""

from typing import Any

from kzoo.backbones.families import FAMILIES
from kzoo.backbones.family import Family, Stack
from kzoo.backbones.hf_format import Facts, HFClasses, HFConfig, HFNames

_SITES = {
    "query": "mha._query_dense",
    "key": "mha._key_dense",
    "value": "mha._value_dense",
    "attention_output": "mha._output_dense",
    "attention_norm": "layer_norm_1",
    "attention": "mha:_compute_attention",
    "ffn_intermediate": "mlp.dense_1",
    "ffn_output": "mlp.dense_2",
    "ffn_norm": "layer_norm_2",
    "block": "",
}
_MODULES = {
    "query": "attention.attention.query",
    "key": "attention.attention.key",
    "value": "attention.attention.value",
    "attention_output": "attention.output.dense",
    "attention_norm": "layernorm_before",
    "ffn_intermediate": "intermediate.dense",
    "ffn_output": "output.dense",
    "ffn_norm": "layernorm_after",
}
_EMBEDDING = "vit_patching_and_embedding"
_OUTSIDE_MODULES = {
    f"{_EMBEDDING}.class_token": "embeddings.cls_token",
    f"{_EMBEDDING}.patch_embedding": "embeddings.patch_embeddings.projection",
    f"{_EMBEDDING}.position_embedding.embeddings": "embeddings.position_embeddings",
    "vit_encoder.layer_norm": "layernorm",
}
_KEYS = {
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "hidden_dim": "hidden_size",
    "mlp_dim": "intermediate_size",
    "patch_size": "patch_size",
    "dropout_rate": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    "layer_norm_epsilon": "layer_norm_eps",
}
_DEFAULTS = {
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "patch_size": 16,
    "image_size": 224,
    "num_channels": 3,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
}


def _image_shape(facts: Facts) -> dict[str, Any]:
    size = facts["image_size"]
    return {"image_shape": [size, size, facts["num_channels"]]}


def _sizes(backbone: Any) -> dict[str, int]:
    embedding = backbone.get_layer(_EMBEDDING)
    kernel = embedding.patch_embedding.kernel
    return {
        "max_sequence_length": embedding.num_positions,
        "patch_dim": int(kernel.shape[0] * kernel.shape[1] * kernel.shape[2]),
    }


FAMILIES.register(
    "vit",
    Family(
        "vit",
        "ViTBackbone",
        names=HFNames(
            "embeddings.cls_token", ("encoder.layer.{i}",), (_MODULES,), _OUTSIDE_MODULES
        ),
        config=HFConfig(_KEYS, _DEFAULTS, {"qkv_bias": True}, more=_image_shape),
        miniature={
            "image_shape": (8, 8, 3),
            "patch_size": 4,
            "num_layers": 2,
            "num_heads": 2,
            "hidden_dim": 16,
            "mlp_dim": 24,
            "dropout_rate": 0.1,
            "attention_dropout": 0.2,
        },
        classes=HFClasses("vit"),
        kind="vision",
        inputs=("images",),
        stacks=(Stack(attribute="vit_encoder.encoder_layers", sites=_SITES),),
        outside={"final_norm": "vit_encoder.layer_norm"},
        pre_norm=True,
        activation=("mlp.dense_1.activation",),
        attention_scores=True,
        pad_tokens=(),
        sizes=_sizes,
        # Patches with their bias, the class token, positions.
        extra_parameters=lambda dims: (
            (dims.patch_dim + 2 + dims.max_sequence_length) * dims.hidden_dim
        ),
    ),
)
