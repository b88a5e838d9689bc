"""PEFT's file format as a table, from which both the reader and the writer work.

torch's matrices are (out, in), ours (in, out).
"""

from __future__ import annotations

from kzoo.interop.peft.rows import Method, Option, Row

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
    generator_seed
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
_NO_BIAS = {"bias": ("none",)}
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
            **_NO_BIAS,
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
        _NO_BIAS,
        fan_in_fan_out=True,
    ),
    Method(
        ("pvera",),
        "PVERA",
        (
            Row(".pvera_lambda_d", "vera_lambda_d"),
            Row(".pvera_lambda_b", "vera_lambda_b"),
            Row("base_model.pvera_A", "vera_a", "transposed", shared=True),
            Row("base_model.pvera_B", "vera_b", "transposed", shared=True),
        ),
        (
            Option("r", "r", 256),
            Option("d_initial", "d_initial", 0.1),
            Option("pvera_dropout", "dropout", 0.0),
        ),
        {**_NO_BIAS, "sample_at_inference": (False,)},
        fan_in_fan_out=True,
    ),
    Method(
        ("randlora",),
        "RANDLORA",
        (
            Row(".randlora_lambda", "randlora_lambda"),
            Row(".randlora_gamma", "randlora_gamma"),
            Row("base_model.randlora_A", "randlora_a", shared=True),
            Row("base_model.randlora_B", "randlora_b", shared=True),
            # Copies of these at every module; see `special`.
            Row(".randlora_A", "copy_a", "same", "shared", optional=True),
            Row(".randlora_B", "copy_b", "same", "shared", optional=True),
        ),
        (
            Option("r", "r", 32),
            Option("randlora_alpha", "alpha", 640.0),
            Option("sparse", "sparse", False),
            Option("very_sparse", "very_sparse", False),
            Option("randlora_dropout", "dropout", 0.0),
        ),
        _NO_BIAS,
        fan_in_fan_out=True,
    ),
    Method(
        ("vblora",),
        "VBLORA",
        (
            Row(".vblora_logits_A", "vblora_logits_a"),
            Row(".vblora_logits_B", "vblora_logits_b"),
            Row("base_model.vblora_vector_bank", "vblora_vector_bank", shared=True),
        ),
        (
            Option("r", "r", 4),
            Option("num_vectors", "num_vectors", 256),
            Option("vector_length", "vector_length", 256),
            Option("topk", "topk", 2),
            Option("vblora_dropout", "dropout", 0.0),
            Option("init_vector_bank_bound", "bank_bound", 0.02),
            Option("init_logits_std", "logits_std", 0.1),
        ),
        {**_NO_BIAS, "save_only_topk_weights": (False,)},
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
        _NO_BIAS,
        fan_in_fan_out=True,
    ),
    Method(
        ("boft",),
        "BOFT",
        (Row(".boft_R", "boft_r"), Row(".boft_s", "boft_s", "column")),
        (
            Option("boft_block_size", "block_size", 4),
            Option("boft_block_num", "num_blocks", 0),
            Option("boft_n_butterfly_factor", "factors", 1),
            Option("boft_dropout", "dropout", 0.0),
        ),
        _NO_BIAS,
        fan_in_fan_out=True,
    ),
    Method(
        ("hra",),
        "HRA",
        (Row(".hra_u", "hra_u"),),
        (Option("r", "r", 8), Option("apply_GS", "orthogonal", False)),
        _NO_BIAS,
    ),
    Method(
        ("road",),
        "ROAD",
        (Row(".road_theta", "road_theta"), Row(".road_alpha", "road_alpha")),
        (Option("variant", "variant", "road_1"), Option("group_size", "group_size", 64)),
    ),
    Method(
        ("miss",),
        "MISS",
        (Row(".miss_block", "miss_block"),),
        (
            Option("r", "r", 64),
            Option("mini_r", "mini_r", 1),
            Option("miss_dropout", "dropout", 0.0),
            Option(
                "init_weights",
                "variant",
                True,
                values=(*((value, "miss") for value in (True, False)), ("bat", "bat"), ("mini", "mini")),
            ),
        ),
        _NO_BIAS,
    ),
    Method(
        ("c3a",),
        "C3A",
        (Row(".c3a_kernel", "c3a_kernel"),),
        (Option("block_size", "block_size", 256, "block_size_pattern"),),
        _NO_BIAS,
    ),
    Method(
        ("shira",),
        "SHIRA",
        (Row(".shira_weight", "shira_weight"), Row(".shira_indices", "shira_indices")),
        (Option("r", "r", 32),),
        fan_in_fan_out=True,
    ),
    Method(
        ("fourierft",),
        "FOURIERFT",
        (Row(".fourierft_spectrum", "fourierft_spectrum"),),
        (
            Option("n_frequency", "n_frequency", 1000, "n_frequency_pattern"),
            Option("scaling", "scaling", 150.0),
            Option("random_loc_seed", "location_seed", 777),
        ),
        _NO_BIAS,
        fan_in_fan_out=True,
    ),
    Method(
        ("glora",),
        "GLORA",
        tuple(
            Row(f".glora_{path}.X{side}", f"{path.lower()}_{side}", "transposed", depends=path == "C")
            for path in "ABC"
            for side in "du"
        )
        + tuple(Row(f".glora_{path}.X", path.lower(), depends=True) for path in "DE"),
        (Option("r", "r", 8),),
        {
            **_NO_BIAS,
            "config_A_B": ("lora",),
            "config_C": ("lora",),
            "config_D_E": ("constant",),
        },
    ),
    Method(
        ("lily",),
        "LILY",
        (
            # Copies at every module of what modules share; see `special`.
            Row(".lily_A.weight", "a", "transposed"),
            Row(".lily_B.weight", "b"),
            Row(".lily_router.weight", "lily_router", "transposed"),
        ),
        (
            Option("r", "r", 32),
            Option("stride_A", "stride", 1),
            Option("num_B", "num_b", 2),
            Option("scaling", "scaling", 1.0),
        ),
    ),
    Method(
        ("beft",),
        "BEFT",
        (Row(".beft_bias", "beft_bias", "row", "split", empty=0.0),),
    ),
    Method(
        ("hira",),
        "HIRA",
        (
            Row(".hira_A", "hira_a", "transposed", "shared"),
            Row(".hira_B", "hira_b", "transposed", "split", empty=0.0),
            Row(".hira_embedding_A", "hira_a", "transposed", kinds=("embedding",)),
            Row(".hira_embedding_B", "hira_b", "transposed", kinds=("embedding",)),
        ),
        (Option("r", "r", 32, "rank_pattern"), Option("hira_dropout", "dropout", 0.0)),
        fan_in_fan_out=True,
    ),
    Method(
        ("delora",),
        "DELORA",
        (
            Row(".delora_A", "delora_a", "transposed"),
            Row(".delora_B", "delora_b", "transposed"),
            Row(".delora_lambda", "delora_lambda"),
            Row(".delora_w_norm", "delora_w_norm"),
        ),
        (
            Option("r", "r", 8, "rank_pattern"),
            Option("delora_lambda", "strength", 15.0, "lambda_pattern"),
            Option("module_dropout", "dropout", 0.0),
        ),
        _NO_BIAS,
    ),
    Method(
        ("gralora",),
        "GRALORA",
        (
            Row(".gralora_A", "gralora_a"),
            Row(".gralora_B", "gralora_b"),
            Row(".gralora_A_general.weight", "general_a", "transposed", depends=True),
            Row(".gralora_B_general.weight", "general_b", "transposed", depends=True),
        ),
        (
            Option("r", "r", 32),
            Option("alpha", "alpha", 64.0),
            Option("gralora_k", "k", 2),
            Option("hybrid_r", "hybrid_r", 0),
            Option("gralora_dropout", "dropout", 0.0),
        ),
        _NO_BIAS,
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
