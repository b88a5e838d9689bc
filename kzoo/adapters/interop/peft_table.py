"""PEFT's file format as a table, from which both the reader and the writer work.

A row says which tensor of the file is which variable of kzoo's layer, and how the one becomes the
other. torch's matrices are (out, in), ours (in, out).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kzoo.errors import AdapterError

Form = Literal["same", "transposed", "column", "row"]


@dataclass(frozen=True)
class Row:
    """One tensor.

    Args:
        suffix: What stands behind the path of the module; for `shared` rows the whole key.
        variable: Name of our variable.
        form: `transposed`; `column` (n, 1) and `row` (1, n), which are vectors (n,) here.
        fused: Where one torch module is several places: `shared` by all of them, `split` along
            our last axis, or `refused`.
        empty: What a place without an adapter has in a split tensor; None: that cannot be said.
        kinds: Modules that have it.
        shared: Whether it belongs to the whole adapter instead of a module.
        optional: Whether it may be missing.
        when: Our option and the values with which the tensor is there at all.
        depends: Whether the model's sizes decide if it is there.
        end: `out` or `in` where the adapter acts on one end of a module, and this is its tensor.
        owner: For `shared` rows, what stands before the variable in our key.
    """

    suffix: str
    variable: str
    form: Form = "same"
    fused: Literal["shared", "split", "refused"] = "refused"
    empty: float | None = None
    kinds: tuple[str, ...] = ("linear",)
    shared: bool = False
    optional: bool = False
    when: tuple[str, tuple[Any, ...]] | None = None
    depends: bool = False
    end: Literal["out", "in"] | None = None
    owner: str = "shared"

    def ours(self, array: NDArray[Any]) -> NDArray[Any]:
        """A tensor of the file as our variable."""
        if self.form == "transposed" and array.ndim == 2:
            return array.T
        if self.form in ("column", "row") and array.ndim == 2 and 1 in array.shape:
            return array.reshape(-1)
        return array

    def theirs(self, array: NDArray[Any]) -> NDArray[Any]:
        """Our variable as a tensor of the file."""
        if self.form == "transposed":
            return array.T
        if self.form == "column":
            return array.reshape(-1, 1)
        return array.reshape(1, -1) if self.form == "row" else array

    def shape(self, ours: tuple[int, ...]) -> tuple[int, ...]:
        """Shape in the file of a variable of this shape."""
        return self.theirs(np.empty(ours, "b")).shape


@dataclass(frozen=True)
class Option:
    """One key of the config.

    Args:
        theirs: PEFT's name.
        ours: kzoo's.
        default: What PEFT assumes where the file is silent.
        pattern: Our option of the values that differ at single places; PEFT's has the same name.
        values: PEFT's value -> ours, where they are not the same. Anything else is refused.
    """

    theirs: str
    ours: str
    default: Any
    pattern: str | None = None
    values: tuple[tuple[Any, Any], ...] = ()

    def read(self, value: Any) -> Any:
        """PEFT's value as ours.

        Raises:
            AdapterError: kzoo does not have it.
        """
        if not self.values:
            return self.default if value is None else value
        for theirs, ours in self.values:
            if type(theirs) is type(value) and theirs == value:
                return ours
        known = ", ".join(repr(theirs) for theirs, _ in self.values)
        raise AdapterError(
            f"`{self.theirs}` {value!r} of the PEFT config cannot be read. kzoo reads: {known}."
        )

    def write(self, value: Any) -> Any:
        """Our value as PEFT's."""
        return next((theirs for theirs, ours in self.values if ours == value), value)


@dataclass(frozen=True)
class Method:
    """One method.

    Args:
        methods: kzoo's names of it; files are read as the first.
        peft_type: PEFT's.
        rows: Its tensors.
        options: Keys of the config that both have.
        only: Config keys that change what is computed -> the values that kzoo knows; the first is
            PEFT's default.
        places: kzoo's options that list the places: none where there is no choice, two (`out`
            and `in`) where the adapter acts on one end.
        computed: Variables that are made from the model's weights, or have no say, and are not in
            files.
        fan_in_fan_out: Whether PEFT has this key, for modules that are `Conv1D`.
    """

    methods: tuple[str, ...]
    peft_type: str
    rows: tuple[Row, ...]
    options: tuple[Option, ...] = ()
    only: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    places: tuple[str, ...] = ("targets",)
    computed: tuple[str, ...] = ()
    fan_in_fan_out: bool = False

    @property
    def is_prompt(self) -> bool:
        """Whether it is made of virtual tokens: one tensor, no modules, another prefix of keys."""
        return not self.places

    def rows_at(self, kind: str) -> list[Row]:
        """The tensors of a module of this kind."""
        return [row for row in self.rows if not row.shared and kind in row.kinds]


# Keys that say nothing about what a saved adapter computes: training, provenance, loading.
IGNORED = frozenset(
    [
        "task_type",
        "peft_type",
        "auto_mapping",
        "peft_version",
        "base_model_name_or_path",
        "revision",
        "inference_mode",
        "target_modules",
        "exclude_modules",
        "layers_to_transform",
        "layers_pattern",
        "modules_to_save",
        "fan_in_fan_out",
        "target_parameters",
        "rank_pattern",
        "alpha_pattern",
        "megatron_config",
        "megatron_core",
        "loftq_config",
        "eva_config",
        "corda_config",
        "lora_ga_config",
        "velora_config",
        "runtime_config",
        "ensure_weight_tying",
        "qalora_group_size",
        "init_weights",
        "init_lora_weights",
        "init_ia3_weights",
        "projection_prng_key",
        "d_initial",
        "tokenizer_name_or_path",
        "tokenizer_kwargs",
    ]
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
        {**_LORA_ONLY, **_NO_BIAS, "use_dora": (False,), "lora_bias": (False,)},
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
    # The rows are divided between the blocks in `peft_prompts`.
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
