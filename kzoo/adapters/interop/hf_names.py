"""The names of HF's modules, family by family: place name <-> path of the torch module.

Paths are those behind the model's own prefix (`bert.` in `BertForSequenceClassification`), which
differs from class to class. Several places with one path are one torch module whose rows are
divided between them (GPT-2's `c_attn`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kzoo.errors import AdapterError, did_you_mean


@dataclass(frozen=True)
class HfHead:
    """A classification head that is one linear layer, as kzoo's.

    Args:
        path: Path of the module, from the root of the model.
        bias: Whether it has one.
        pooling: The pooling of kzoo's classifier that feeds it the same vector.
    """

    path: str
    bias: bool
    pooling: str


@dataclass(frozen=True)
class HfFamily:
    """Module names of one family.

    Args:
        stacks: Name of a stack in our keys -> (path of the blocks, place name -> module).
        outside: Place name -> module, outside of the blocks.
        prefix: What stands before all paths in a model with a classification head.
        task: PEFT's `task_type` of a model without such a head, and the prefix there.
        head: The classification head, where it has the form of ours.
        conv1d: Whether the linear modules are HF's `Conv1D`.
    """

    stacks: Mapping[str, tuple[str, Mapping[str, str]]]
    outside: Mapping[str, str]
    prefix: str
    task: tuple[str, str] = ("FEATURE_EXTRACTION", "")
    head: HfHead | None = None
    conv1d: bool = False


_BERT = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "ffn_intermediate": "intermediate.dense",
    "ffn_output": "output.dense",
    "ffn_norm": "output.LayerNorm",
}
_BERT_OUTSIDE = {
    "token_embedding": "embeddings.word_embeddings",
    "position_embedding": "embeddings.position_embeddings",
    "embeddings_norm": "embeddings.LayerNorm",
}
_DISTIL = {
    "query": "attention.q_lin",
    "key": "attention.k_lin",
    "value": "attention.v_lin",
    "attention_output": "attention.out_lin",
    "attention_norm": "sa_layer_norm",
    "ffn_intermediate": "ffn.lin1",
    "ffn_output": "ffn.lin2",
    "ffn_norm": "output_layer_norm",
}
_GPT2 = {
    "query": "attn.c_attn",
    "key": "attn.c_attn",
    "value": "attn.c_attn",
    "attention_output": "attn.c_proj",
    "attention_norm": "ln_1",
    "ffn_intermediate": "mlp.c_fc",
    "ffn_output": "mlp.c_proj",
    "ffn_norm": "ln_2",
}
_LLAMA = {
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "attention_output": "self_attn.o_proj",
    "attention_norm": "input_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_intermediate": "mlp.up_proj",
    "ffn_output": "mlp.down_proj",
    "ffn_norm": "post_attention_layernorm",
}


def _t5(attention: str, sublayer: int, prefix: str = "") -> dict[str, str]:
    names = {"query": "q", "key": "k", "value": "v", "attention_output": "o"}
    found = {f"{prefix}{ours}": f"layer.{sublayer}.{attention}.{x}" for ours, x in names.items()}
    return {**found, f"{prefix}attention_norm": f"layer.{sublayer}.layer_norm"}


def _t5_ffn(sublayer: int) -> dict[str, str]:
    inside = f"layer.{sublayer}.DenseReluDense"
    return {
        "ffn_gate": f"{inside}.wi_0",
        "ffn_intermediate": f"{inside}.wi_1",  # `wi` where there is no gate, see `_named`
        "ffn_output": f"{inside}.wo",
        "ffn_norm": f"layer.{sublayer}.layer_norm",
    }


def _bart(attention: str, norm: str, prefix: str = "") -> dict[str, str]:
    names = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "attention_output": "out_proj"}
    found = {f"{prefix}{ours}": f"{attention}.{x}" for ours, x in names.items()}
    return {**found, f"{prefix}attention_norm": norm}


_BART_FFN = {"ffn_intermediate": "fc1", "ffn_output": "fc2", "ffn_norm": "final_layer_norm"}
_BART_SELF = _bart("self_attn", "self_attn_layer_norm")


def _bert_like(prefix: str, pooler: bool) -> HfFamily:
    outside = {**_BERT_OUTSIDE, "pooler": "pooler.dense"} if pooler else _BERT_OUTSIDE
    head = HfHead("classifier", True, "pooler") if pooler else None
    return HfFamily({"blocks": ("encoder.layer", _BERT)}, outside, prefix, head=head)


def _llama_like() -> HfFamily:
    return HfFamily(
        {"blocks": ("layers", _LLAMA)},
        {"token_embedding": "embed_tokens", "final_norm": "norm"},
        "model",
        task=("CAUSAL_LM", "model"),
        head=HfHead("score", False, "last"),
    )


# Several rows may describe the same tensor names; the first that fits a file is taken.
HF_FAMILIES: dict[str, HfFamily] = {
    "bert": _bert_like("bert", True),
    "roberta": _bert_like("roberta", False),
    "xlm-roberta": _bert_like("roberta", False),
    "electra": _bert_like("electra", False),
    "distilbert": HfFamily({"blocks": ("transformer.layer", _DISTIL)}, _BERT_OUTSIDE, "distilbert"),
    "gpt2": HfFamily(
        {"blocks": ("h", _GPT2)},
        {"token_embedding": "wte", "position_embedding": "wpe", "final_norm": "ln_f"},
        "transformer",
        task=("CAUSAL_LM", "transformer"),
        head=HfHead("score", False, "last"),
        conv1d=True,
    ),
    "llama": _llama_like(),
    "mistral": _llama_like(),
    "qwen2": _llama_like(),
    "qwen3": _llama_like(),
    "gemma": _llama_like(),
    "t5": HfFamily(
        {
            "encoder": ("encoder.block", {**_t5("SelfAttention", 0), **_t5_ffn(1)}),
            "decoder": (
                "decoder.block",
                {
                    **_t5("SelfAttention", 0),
                    **_t5("EncDecAttention", 1, "cross_"),
                    **_t5_ffn(2),
                },
            ),
        },
        {
            "token_embedding": "shared",
            "encoder.final_norm": "encoder.final_layer_norm",
            "decoder.final_norm": "decoder.final_layer_norm",
        },
        "",
        task=("SEQ_2_SEQ_LM", ""),
    ),
    "bart": HfFamily(
        {
            "encoder": ("encoder.layers", {**_BART_SELF, **_BART_FFN}),
            "decoder": (
                "decoder.layers",
                {
                    **_BART_SELF,
                    **_bart("encoder_attn", "encoder_attn_layer_norm", "cross_"),
                    **_BART_FFN,
                },
            ),
        },
        {
            "token_embedding": "shared",
            "encoder.position_embedding": "encoder.embed_positions",
            "encoder.embeddings_norm": "encoder.layernorm_embedding",
            "decoder.position_embedding": "decoder.embed_positions",
            "decoder.embeddings_norm": "decoder.layernorm_embedding",
        },
        "model",
        task=("SEQ_2_SEQ_LM", "model"),
    ),
}


def hf_family(name: str) -> HfFamily:
    """Looks a family up.

    Raises:
        AdapterError: Not in the table.
    """
    if name not in HF_FAMILIES:
        raise AdapterError(
            f"`family` {name!r} has no HF module names.{did_you_mean(name, HF_FAMILIES)}"
        )
    return HF_FAMILIES[name]
