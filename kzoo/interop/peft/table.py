"""PEFT's file format as a table, from which both the reader and the writer work.

torch's matrices are (out, in), ours (in, out).
"""

from __future__ import annotations

from kzoo.interop.peft.rows import Method, Option, Row
from kzoo.interop.peft.weight_methods import NO_BIAS, WEIGHT_METHODS

# Keys that say nothing about what a saved adapter computes: training, provenance, loading.
IGNORED = frozenset(
    """
    task_type peft_type auto_mapping peft_version base_model_name_or_path revision inference_mode
    target_modules exclude_modules layers_to_transform layers_pattern modules_to_save
    target_parameters feedforward_modules rank_pattern alpha_pattern trainable_token_indices
    fan_in_fan_out r init_weights init_lora_weights init_ia3_weights ensure_weight_tying
    megatron_config megatron_core loftq_config eva_config corda_config lora_ga_config velora_config
    runtime_config qalora_group_size use_effective_conv2d projection_prng_key save_projection
    lambda_pattern n_frequency_pattern block_size_pattern random_seed mask_type
    generator_seed init_scale
    token_dim num_attention_heads num_layers prompt_tuning_init prompt_tuning_init_text
    prompt_tuning_init_state_dict_path prompt_tuning_init_task tokenizer_name_or_path
    tokenizer_kwargs prefix_projection encoder_reparameterization_type encoder_hidden_size
    encoder_num_layers encoder_dropout
    """.split()  # noqa: SIM905 (one a line would be a page)
)

_LORA_ROWS = (
    Row(".lora_A.weight", "lora_a", "transposed", "shared"),
    Row(".lora_B.weight", "lora_b", "transposed", "split", empty=0.0),
    Row(".lora_embedding_A", "lora_a", "transposed", kinds=("embedding",)),
    Row(".lora_embedding_B", "lora_b", "transposed", kinds=("embedding",)),
    Row(
        ".lora_magnitude_vector",
        "magnitude",
        fused="split",
        kinds=("linear", "embedding"),
        when=("use_dora", (True,)),
    ),
    Row(".lora_B.bias", "lora_b_bias", fused="split", empty=0.0, when=("lora_bias", (True,))),
    # PEFT up to 0.19.1 did not save it.
    Row(
        ".base_layer.bias",
        "bias",
        fused="split",
        optional=True,
        when=("train_bias", ("lora_only",)),
    ),
)
_INITS = (
    # False, gaussian, eva, orthogonal and mica only decide where training started.
    *((value, "kaiming") for value in (True, False, None, "gaussian", "eva", "orthogonal", "mica")),
    ("pissa", "pissa"),
    ("olora", "olora"),
)
_LORA_OPTIONS = (
    Option("r", "r", 8, "rank_pattern"),
    Option("lora_alpha", "alpha", 8, "alpha_pattern"),
    Option("lora_dropout", "dropout", 0.0),
    Option("use_rslora", "use_rslora", False),
    Option("use_dora", "use_dora", False),
    Option("lora_bias", "lora_bias", False),
    Option("bias", "train_bias", "none", values=(("none", "none"), ("lora_only", "lora_only"))),
    Option("init_lora_weights", "init", True, values=_INITS),
)
_LORA_ONLY = {
    "layer_replication": (None,),
    "use_qalora": (False,),
    "use_bdlora": (None,),
    "arrow_config": (None,),
    "kasa_config": (None,),
    "monteclora_config": (None,),
    "alora_invocation_tokens": (None,),
}

_PATTERNED = (Option("r", "r", 8, "rank_pattern"), Option("alpha", "alpha", 8, "alpha_pattern"))
_LYCORIS = (
    Option("rank_dropout", "rank_dropout", 0.0),
    Option("module_dropout", "module_dropout", 0.0),
)
_VIRTUAL = (Option("num_virtual_tokens", "num_virtual_tokens", None),)
_ONE_STACK = {"num_transformer_submodules": (None, 1)}

METHODS: tuple[Method, ...] = (
    Method(
        ("lora", "rslora", "dora", "pissa", "olora"),
        "LORA",
        _LORA_ROWS,
        _LORA_OPTIONS,
        _LORA_ONLY,
        computed=("lora_a0", "lora_b0"),
        fan_in_fan_out=True,
    ),
    Method(
        ("adalora",),
        "ADALORA",
        (
            Row(".lora_A", "lora_a", "transposed", "shared"),
            Row(".lora_B", "lora_b", "transposed", "split", empty=0.0),
            Row(".lora_E", "lora_e", "column", "shared"),
        ),
        (
            Option("init_r", "init_r", 12),
            Option("target_r", "target_r", 8),
            Option("lora_alpha", "alpha", 8),
            Option("lora_dropout", "dropout", 0.0),
            Option("tinit", "tinit", 0),
            Option("tfinal", "tfinal", 0),
            Option("deltaT", "delta_t", 1),
            Option("total_step", "total_step", None),
            Option("beta1", "beta1", 0.85),
            Option("beta2", "beta2", 0.85),
            Option("orth_reg_weight", "orth_reg_weight", 0.5),
        ),
        {
            **_LORA_ONLY,
            **NO_BIAS,
            "use_dora": (False,),
            "lora_bias": (False,),
            "use_rslora": (False, True),
        },
        computed=("rank_mask",),
        fan_in_fan_out=True,
    ),
    Method(
        ("loha",),
        "LOHA",
        tuple(
            Row(f".hada_{name}", f"hada_{name}", "transposed")
            for name in ("w1_a", "w1_b", "w2_a", "w2_b")
        ),
        (*_PATTERNED, *_LYCORIS),
    ),
    Method(
        ("lokr",),
        "LOKR",
        tuple(
            Row(f".lokr_{name}", f"lokr_{name}", "transposed", depends=True)
            for name in ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b")
        ),
        (
            *_PATTERNED,
            *_LYCORIS,
            Option("rank_dropout_scale", "rank_dropout_scale", False),
            Option("decompose_both", "decompose_both", False),
            Option("decompose_factor", "decompose_factor", -1),
        ),
    ),
    Method(
        ("vera",),
        "VERA",
        (
            Row(".vera_lambda_d", "vera_lambda_d"),
            Row(".vera_lambda_b", "vera_lambda_b"),
            Row("base_model.vera_A", "vera_a", "transposed", shared=True),
            Row("base_model.vera_B", "vera_b", "transposed", shared=True),
        ),
        (
            Option("r", "r", 256),
            Option("d_initial", "d_initial", 0.1),
            Option("vera_dropout", "dropout", 0.0),
        ),
        NO_BIAS,
        fan_in_fan_out=True,
    ),
    Method(
        ("ia3",),
        "IA3",
        (
            Row(".ia3_l", "ia3_l", "column", "split", empty=1.0, end="out"),
            Row(".ia3_l", "ia3_l", "row", "shared", end="in"),
        ),
        places=("targets_out", "targets_in"),
        fan_in_fan_out=True,
    ),
    Method(
        ("oft",),
        "OFT",
        (
            Row(".oft_R.weight", "oft_r"),
            Row(".oft_embedding_R.weight", "oft_r", kinds=("embedding",)),
        ),
        (
            Option("r", "num_blocks", 0),
            Option("oft_block_size", "block_size", 32),
            Option("module_dropout", "module_dropout", 0.0),
            Option("coft", "coft", False),
            Option("eps", "eps", 6e-5),
            Option("block_share", "block_share", False),
            Option("use_cayley_neumann", "cayley_neumann", True),
            Option("num_cayley_neumann_terms", "cayley_neumann_terms", 5),
        ),
        NO_BIAS,
        fan_in_fan_out=True,
    ),
    Method(
        ("ln",),
        "LN_TUNING",
        (
            Row(".ln_tuning_layers.weight", "gamma", kinds=("norm",)),
            Row(".ln_tuning_layers.bias", "beta", kinds=("norm",), depends=True),
        ),
    ),
    Method(
        ("tokens",),
        "TRAINABLE_TOKENS",
        (Row(".trainable_tokens_delta", "rows", kinds=("embedding",)),),
        (Option("token_indices", "indices", ()),),
    ),
    Method(
        ("prompt",),
        "PROMPT_TUNING",
        (Row("prompt_embeddings", "prompt", shared=True, owner="token_embedding"),),
        _VIRTUAL,
        _ONE_STACK,
        places=(),
    ),
    # The file has the prompt that the network made, so that it is one like any other.
    Method(
        ("prompt",),
        "P_TUNING",
        (Row("prompt_embeddings", "prompt", shared=True, owner="token_embedding"),),
        _VIRTUAL,
        _ONE_STACK,
        places=(),
    ),
    Method(
        ("mpt",),
        "MULTITASK_PROMPT_TUNING",
        (
            Row("prompt_embeddings", "prompt", shared=True, owner="token_embedding"),
            Row("prefix_task_cols", "task_cols", shared=True, owner="token_embedding"),
            Row("prefix_task_rows", "task_rows", shared=True, owner="token_embedding"),
        ),
        (
            *_VIRTUAL,
            Option("num_tasks", "num_tasks", 1),
            Option("num_ranks", "num_ranks", 1),
        ),
        _ONE_STACK,
        places=(),
    ),
    # The rows are divided between the blocks in `special`.
    Method(
        ("prefix",),
        "PREFIX_TUNING",
        (Row("prompt_embeddings", "prefix", shared=True, owner="prefix"),),
        _VIRTUAL,
        _ONE_STACK,
        places=(),
    ),
    *WEIGHT_METHODS,
)

# Whole layers that were trained too: PEFT's `modules_to_save`.
FULL = Method(
    ("full",),
    "",
    (
        Row(".weight", "kernel", "transposed", "split"),
        Row(".bias", "bias", fused="split", optional=True),
        Row(".weight", "kernel", kinds=("embedding",)),
    ),
)


TOKENS = next(method for method in METHODS if method.methods == ("tokens",))


def method_of(name: str) -> Method | None:
    """The rows of one of kzoo's methods."""
    return next((row for row in (*METHODS, FULL) if name in row.methods), None)


def peft_types() -> list[str]:
    """What kzoo reads."""
    return list(dict.fromkeys(row.peft_type for row in METHODS))
