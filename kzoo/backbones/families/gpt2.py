"""GPT-2."""

from kzoo.backbones.families import FAMILIES
from kzoo.backbones.families.shared import MINIATURE_ENCODER
from kzoo.backbones.family import Family
from kzoo.backbones.hf_format import HUB_BLOCK, HFConfig, HFNames, HubNames, hf_decoder

_MODULES = {
    "query": "attn.c_attn",
    "key": "attn.c_attn",
    "value": "attn.c_attn",
    "attention_output": "attn.c_proj",
    "attention_norm": "ln_1",
    "ffn_intermediate": "mlp.c_fc",
    "ffn_output": "mlp.c_proj",
    "ffn_norm": "ln_2",
}
_KEYS = {
    "vocabulary_size": "vocab_size",
    "num_layers": "n_layer",
    "num_heads": "n_head",
    "hidden_dim": "n_embd",
    "max_sequence_length": "n_positions",
    "dropout": "resid_pdrop",
}
_DEFAULTS = {
    "resid_pdrop": 0.1,
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5,
}
_NEEDS = {
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
}

FAMILIES.register(
    "gpt2",
    Family(
        "gpt2",
        "GPT2Backbone",
        names=HFNames(
            "wte.weight",
            ("h.{i}",),
            (_MODULES,),
            {"token_embedding": "wte", "position_embedding": "wpe", "layer_norm": "ln_f"},
            conv1d=True,
        ),
        config=HFConfig(
            _KEYS,
            _DEFAULTS,
            _NEEDS,
            more=lambda facts: {"intermediate_dim": facts.get("n_inner", 4 * facts["n_embd"])},
            activation_key="activation_function",
            epsilon_key="layer_norm_epsilon",
        ),
        miniature=MINIATURE_ENCODER,
        classes=hf_decoder("transformer"),
        hub=HubNames((HUB_BLOCK,), ({"attention": "attn"},)),
        kind="decoder",
        outside={
            "token_embedding": "token_embedding",
            "position_embedding": "position_embedding",
            "final_norm": "layer_norm",
        },
        pre_norm=True,
        attention_scores=True,
        causal_lm="GPT2CausalLM",
        tokenizer="byte-pair",
        pad_tokens=("<|endoftext|>",),
    ),
)
