"""One row per family of backbones: which KerasHub class it is and where adapters can stand.

The rows are data; what they mean is said in `kzoo.backbones.family`.
"""

from __future__ import annotations

from typing import Any

from kzoo.backbones.family import SITES, Family, Stack, reach
from kzoo.backbones.site_paths import (
    CROSS_DECODER,
    GATED_DECODER,
    GEMMA,
    T5_DECODER,
    T5_ENCODER,
    T5_GATED,
    TRANSFORMER_ENCODER,
    VIT,
)
from kzoo.errors import WeightsError, did_you_mean

__all__ = ["FAMILIES", "SITES", "Family", "Stack", "family_named", "family_of", "reach"]

_SEGMENTED = ("token_ids", "segment_ids", "padding_mask")
_ENCODER_DECODER = (
    "encoder_token_ids",
    "encoder_padding_mask",
    "decoder_token_ids",
    "decoder_padding_mask",
)
_BERT_OUTSIDE = {
    "token_embedding": "token_embedding",
    "position_embedding": "position_embedding",
    "embeddings_norm": "embeddings_layer_norm",
    "pooler": "pooled_dense",
}
_ROBERTA_OUTSIDE = {
    "token_embedding": "embeddings.token_embedding",
    "position_embedding": "embeddings.position_embedding",
    "embeddings_norm": "embeddings_layer_norm",
}
_DECODER_OUTSIDE = {"token_embedding": "token_embedding", "final_norm": "layer_norm"}
_BERT_HF = {"hidden_act": "gelu", "layer_norm_eps": 1e-12}

_ENCODERS = (
    Family(
        "bert",
        "BertBackbone",
        inputs=_SEGMENTED,
        outside=_BERT_OUTSIDE,
        pooler="pooled_dense",
        hf_defaults=_BERT_HF,
    ),
    Family(
        "roberta",
        "RobertaBackbone",
        outside=_ROBERTA_OUTSIDE,
        pad_tokens=("<pad>",),
        hf_defaults=_BERT_HF,
    ),
    Family(
        "xlm-roberta",
        "XLMRobertaBackbone",
        outside=_ROBERTA_OUTSIDE,
        pad_tokens=("<pad>",),
        hf_defaults=_BERT_HF,
    ),
    Family(
        "distilbert",
        "DistilBertBackbone",
        outside=_ROBERTA_OUTSIDE,
        hf_activation="activation",
        hf_defaults={"activation": "gelu", "layer_norm_eps": 1e-12},
    ),
    Family(
        "albert",
        "AlbertBackbone",
        inputs=_SEGMENTED,
        outside=_BERT_OUTSIDE,
        pooler="pooled_dense",
        pad_tokens=("<pad>",),
        hf_defaults={"hidden_act": "gelu_new", "layer_norm_eps": 1e-12},
    ),
    Family(
        "electra",
        "ElectraBackbone",
        inputs=_SEGMENTED,
        outside=_BERT_OUTSIDE,
        pooler="pooled_dense",
        hf_defaults=_BERT_HF,
    ),
    # HF's name of the architecture of DeBERTa-V2 and V3.
    Family(
        "deberta-v2",
        "DebertaV3Backbone",
        outside={"token_embedding": "token_embedding", "embeddings_norm": "embeddings_layer_norm"},
        hf_defaults={"hidden_act": "gelu", "layer_norm_eps": 1e-7},
    ),
    Family(
        "vit",
        "ViTBackbone",
        kind="vision",
        pre_norm=True,
        inputs=("images",),
        stacks=(Stack(attribute="vit_encoder.encoder_layers", sites=VIT),),
        outside={"final_norm": "vit_encoder.layer_norm"},
        activation=("mlp.dense_1.activation",),
        pad_tokens=(),
        hf_defaults=_BERT_HF,
    ),
)

_LLAMA_HF = {"hidden_act": "silu", "rms_norm_eps": 1e-6}
_DECODERS = (
    Family(
        "gpt2",
        "GPT2Backbone",
        kind="decoder",
        pre_norm=True,
        stacks=(Stack(sites=TRANSFORMER_ENCODER),),
        outside={
            "token_embedding": "token_embedding",
            "position_embedding": "position_embedding",
            "final_norm": "layer_norm",
        },
        pad_tokens=("<|endoftext|>",),
        hf_activation="activation_function",
        hf_epsilon="layer_norm_epsilon",
        hf_defaults={"activation_function": "gelu_new", "layer_norm_epsilon": 1e-5},
    ),
    # Llama 3's class is Llama 2's with another tokenizer.
    Family(
        "llama",
        "LlamaBackbone",
        also=("Llama3Backbone",),
        kind="decoder",
        pre_norm=True,
        stacks=(Stack(sites=GATED_DECODER),),
        outside=_DECODER_OUTSIDE,
        biased=(),
        gated=True,
        activation=("activation",),
        pad_tokens=("<|finetune_right_pad_id|>", "<|end_of_text|>", "<pad>", "<unk>", "</s>"),
        hf_epsilon="rms_norm_eps",
        hf_defaults=_LLAMA_HF,
    ),
    Family(
        "mistral",
        "MistralBackbone",
        kind="decoder",
        pre_norm=True,
        stacks=(Stack(sites=GATED_DECODER),),
        outside=_DECODER_OUTSIDE,
        biased=(),
        gated=True,
        activation=("activation",),
        pad_tokens=("<pad>", "<unk>", "</s>"),
        hf_epsilon="rms_norm_eps",
        hf_defaults=_LLAMA_HF,
    ),
    Family(
        "qwen2",
        "QwenBackbone",
        kind="decoder",
        pre_norm=True,
        stacks=(Stack(sites=GATED_DECODER),),
        outside=_DECODER_OUTSIDE,
        biased=("query", "key", "value"),
        gated=True,
        activation=("activation",),
        pad_tokens=("<|endoftext|>",),
        hf_epsilon="rms_norm_eps",
        hf_defaults=_LLAMA_HF,
    ),
    Family(
        "qwen3",
        "Qwen3Backbone",
        kind="decoder",
        pre_norm=True,
        stacks=(Stack(sites=GATED_DECODER),),
        outside=_DECODER_OUTSIDE,
        biased=(),
        gated=True,
        activation=("activation",),
        pad_tokens=("<|endoftext|>",),
        hf_epsilon="rms_norm_eps",
        hf_defaults=_LLAMA_HF,
    ),
    Family(
        "gemma",
        "GemmaBackbone",
        kind="decoder",
        pre_norm=True,
        stacks=(Stack(sites=GEMMA),),
        outside=_DECODER_OUTSIDE,
        biased=(),
        gated=True,
        activation=(),
        pad_tokens=("<pad>",),
        hf_epsilon="rms_norm_eps",
        hf_defaults={"hidden_act": "gelu_pytorch_tanh", "rms_norm_eps": 1e-6},
    ),
)

_ENCODER_DECODERS = (
    Family(
        "t5",
        "T5Backbone",
        kind="encoder-decoder",
        pre_norm=True,
        inputs=_ENCODER_DECODER,
        stacks=(
            Stack("encoder", "encoder_transformer_layers", T5_ENCODER, T5_GATED),
            Stack("decoder", "decoder_transformer_layers", T5_DECODER, T5_GATED),
        ),
        outside={
            "token_embedding": "token_embedding",
            "encoder.final_norm": "encoder_layer_norm",
            "decoder.final_norm": "decoder_layer_norm",
        },
        biased=(),
        activation=("input_projector.activation",),
        pad_tokens=("<pad>",),
        decoder_start=("<pad>",),
        hf_activation="feed_forward_proj",
        hf_epsilon="layer_norm_epsilon",
        hf_defaults={"feed_forward_proj": "relu", "layer_norm_epsilon": 1e-6},
    ),
    Family(
        "bart",
        "BartBackbone",
        kind="encoder-decoder",
        inputs=_ENCODER_DECODER,
        stacks=(
            Stack("encoder", "encoder_transformer_layers", TRANSFORMER_ENCODER),
            Stack("decoder", "decoder_transformer_layers", CROSS_DECODER),
        ),
        outside={
            "token_embedding": "token_embedding",
            "encoder.position_embedding": "encoder_position_embedding",
            "encoder.embeddings_norm": "encoder_embeddings_layer_norm",
            "decoder.position_embedding": "decoder_position_embedding",
            "decoder.embeddings_norm": "decoder_embeddings_layer_norm",
        },
        pad_tokens=("<pad>",),
        decoder_start=("</s>",),
        hf_activation="activation_function",
        # BART's config has no epsilon; this is torch's own.
        hf_defaults={"activation_function": "gelu", "layer_norm_eps": 1e-5},
    ),
)

FAMILIES: dict[str, Family] = {
    family.name: family for family in (*_ENCODERS, *_DECODERS, *_ENCODER_DECODERS)
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
    name = type(backbone).__name__
    for family in FAMILIES.values():
        if name in (family.backbone, *family.also):
            return family
    raise WeightsError(
        f"`backbone` of class {name} is not supported. "
        f"Supported: {', '.join(f.backbone for f in FAMILIES.values())}."
    )
