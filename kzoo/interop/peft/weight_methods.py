"""PEFT's formats of the methods of 2024 to 2026 that change weights: further rows of the table."""

from __future__ import annotations

from kzoo.interop.peft.rows import Method, Option, Row

NO_BIAS = {"bias": ("none",)}

WEIGHT_METHODS: tuple[Method, ...] = (
    Method(
        ("hira",),
        "HIRA",
        (
            Row(".hira_A", "hira_a", "transposed", "shared"),
            Row(".hira_B", "hira_b", "transposed", "split", empty=0.0),
            Row(".hira_embedding_A", "hira_a", "transposed", kinds=("embedding",)),
            Row(".hira_embedding_B", "hira_b", "transposed", kinds=("embedding",)),
        ),
        (Option("r", "r", 32), Option("hira_dropout", "dropout", 0.0)),
        fan_in_fan_out=True,
    ),
    Method(
        ("glora",),
        "GLORA",
        tuple(
            Row(
                f".glora_{path}.X{side}",
                f"{path.lower()}_{side}",
                "transposed",
                depends=path == "C",
            )
            for path in "ABC"
            for side in "du"
        )
        + tuple(Row(f".glora_{path}.X", path.lower(), depends=True) for path in "DE"),
        (Option("r", "r", 8),),
        {
            **NO_BIAS,
            "config_A_B": ("lora",),
            "config_C": ("lora",),
            "config_D_E": ("constant",),
        },
    ),
    Method(
        ("deft",),
        "DEFT",
        (
            Row(".deft_P", "deft_p"),
            Row(".deft_R", "deft_r", "transposed", when=("removal_only", (False,))),
        ),
        (
            Option("r", "r", 8),
            Option("alpha", "alpha", None),
            Option("decomposition_method", "projector", "relu"),
            Option("para", "removal_only", False),
            Option("deft_dropout", "dropout", 0.0),
        ),
        NO_BIAS,
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
        NO_BIAS,
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
        NO_BIAS,
        fan_in_fan_out=True,
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
        {**NO_BIAS, "sample_at_inference": (False,)},
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
        NO_BIAS,
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
        {**NO_BIAS, "save_only_topk_weights": (False,)},
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
        NO_BIAS,
        fan_in_fan_out=True,
    ),
    Method(
        ("hra",),
        "HRA",
        (Row(".hra_u", "hra_u"),),
        (Option("r", "r", 8), Option("apply_GS", "orthogonal", False)),
        NO_BIAS,
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
                values=(
                    *((value, "miss") for value in (True, False)),
                    ("bat", "bat"),
                    ("mini", "mini"),
                ),
            ),
        ),
        NO_BIAS,
    ),
    Method(
        ("c3a",),
        "C3A",
        (Row(".c3a_kernel", "c3a_kernel"),),
        (Option("block_size", "block_size", 256, "block_size_pattern"),),
        NO_BIAS,
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
        NO_BIAS,
        fan_in_fan_out=True,
    ),
    Method(
        ("waveft",),
        "WAVEFT",
        (Row(".waveft_spectrum", "waveft_spectrum"),),
        (
            Option("n_frequency", "n_frequency", 2592, "n_frequency_pattern"),
            Option("scaling", "scaling", 25.0),
            Option(
                "wavelet_family",
                "wavelet",
                "db1",
                values=(*((n, n) for n in ("db1", "db2", "sym2")), ("haar", "db1")),
            ),
            Option("use_idwt", "transform", True),
            Option("random_loc_seed", "location_seed", 777),
        ),
        # Numbers in proportion to the sizes of modules are read off the tensors.
        {**NO_BIAS, "proportional_parameters": (False, True)},
        fan_in_fan_out=True,
    ),
    Method(
        ("beft",),
        "BEFT",
        (Row(".beft_bias", "beft_bias", "row", "split", empty=0.0),),
    ),
)
