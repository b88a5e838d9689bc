"""A miniature of every family: the real KerasHub class with 2 random blocks of width 16.

For questions about a family that need no weights: does a method fit, what shapes come out.
"""

from __future__ import annotations

from typing import Any

from kzoo.backbones.families import family_named

VOCABULARY = 60
_COMMON: dict[str, Any] = {
    "vocabulary_size": VOCABULARY,
    "num_layers": 2,
    "hidden_dim": 16,
    "dropout": 0.1,
}
_ENCODER = {**_COMMON, "num_heads": 2, "intermediate_dim": 24, "max_sequence_length": 20}
_DECODER = {**_COMMON, "num_query_heads": 4, "num_key_value_heads": 2, "intermediate_dim": 24}

# Constructor arguments; where a family has grouped queries, they are grouped here.
CONFIGS: dict[str, dict[str, Any]] = {
    "bert": _ENCODER,
    "roberta": _ENCODER,
    "xlm-roberta": _ENCODER,
    "distilbert": _ENCODER,
    "albert": {**_ENCODER, "embedding_dim": 8},
    "electra": {
        **{key: value for key, value in _ENCODER.items() if key != "vocabulary_size"},
        "vocab_size": VOCABULARY,
        "embedding_dim": 8,
    },
    "deberta-v2": {**_ENCODER, "bucket_size": 4},
    "gpt2": _ENCODER,
    "llama": {**_DECODER, "tie_word_embeddings": True},
    "mistral": {**_DECODER, "sliding_window": 6},
    "qwen2": {**_DECODER, "tie_word_embeddings": True},
    "qwen3": {**_DECODER, "head_dim": 6, "tie_word_embeddings": True},
    # KerasHub counts both halves of the gated part.
    "gemma": {**_DECODER, "head_dim": 8, "intermediate_dim": 48, "num_key_value_heads": 1},
    "t5": {
        **_COMMON,
        "num_heads": 2,
        "intermediate_dim": 24,
        "key_value_dim": 6,
        "activation": "relu",
        "use_gated_activation": False,
    },
    "bart": _ENCODER,
    "vit": {
        "image_shape": (8, 8, 3),
        "patch_size": 4,
        "num_layers": 2,
        "num_heads": 2,
        "hidden_dim": 16,
        "mlp_dim": 24,
        "dropout_rate": 0.1,
        "attention_dropout": 0.2,
    },
}
FAMILY_NAMES = tuple(CONFIGS)


def make_miniature(family_name: str, seed: int = 0, **changes: Any) -> Any:
    """A random backbone of the real class.

    Args:
        family_name: Family name.
        seed: Decides the weights.
        changes: Constructor arguments of the KerasHub class.
    """
    import keras

    keras.utils.set_random_seed(seed)
    config = {**CONFIGS[family_name], **changes}
    backbone = family_named(family_name).backbone_class(**config)
    for variable in backbone.weights:  # away from zeros and ones, so that mistakes show
        variable.assign(variable + 0.1 * keras.random.normal(variable.shape))
    return backbone


def miniature_inputs(family_name: str, rows: int = 3, length: int = 7, seed: int = 0) -> Any:
    """Random inputs (images for ViT); every row but the first has padding at its end.

    Returns:
        Input name -> int32 (rows, length); decoder inputs are two shorter. float32 images for ViT.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    if family_name == "vit":
        return rng.normal(size=(rows, 8, 8, 3)).astype("float32")
    inputs = {}
    for name in family_named(family_name).inputs:
        size = length - 2 if name.startswith("decoder") else length
        mask = np.ones((rows, size), "int32")
        for row in range(rows):
            mask[row, size - row :] = 0
        if name.endswith("token_ids"):
            inputs[name] = rng.integers(4, VOCABULARY, (rows, size)).astype("int32") * mask
        elif name.endswith("segment_ids"):
            inputs[name] = rng.integers(0, 2, (rows, size)).astype("int32") * mask
        else:
            inputs[name] = mask
    return inputs


def sequence_output(output: Any) -> Any:
    """The last hidden states of any family's output (of the decoder, where there is one)."""
    if not isinstance(output, dict):
        return output
    for name in ("decoder_sequence_output", "sequence_output"):
        if name in output:
            return output[name]
    raise AssertionError(f"no sequence output among {list(output)}")
