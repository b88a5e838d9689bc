"""AdapterHub's configurations and kzoo's, key by key.

Every key of the library (1.3.0) stands here: with its name in kzoo, or with the reason why it
has none. Some methods of kzoo are flags there, and the other way round; see `read` and `write`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kzoo.errors import AdapterError

Raw = dict[str, Any]


@dataclass(frozen=True)
class Key:
    """One key.

    Args:
        theirs: The library's name.
        default: What the library assumes where a file is silent.
        ours: kzoo's name, if it has the option.
        role: `option`; `start` (says how training started: no part of what is computed);
            `training` (acts in training only, and kzoo does not have it); `fixed` (only the
            default can be read); `method` (part of the choice of the method).
    """

    theirs: str
    default: Any = None
    ours: str | None = None
    role: Literal["option", "start", "training", "fixed", "method"] = "option"


def _same(name: str, default: Any) -> Key:
    return Key(name, default, name)


_SEED = Key("init_weights_seed", None, role="start")
_ARCHITECTURE = Key("architecture", None, role="method")

BOTTLENECK = (
    Key("mh_adapter", False, "attention"),
    Key("output_adapter", True, "ffn"),
    Key("cross_adapter", False, "cross_attention"),
    _same("reduction_factor", 16),
    _same("non_linearity", "relu"),
    _same("original_ln_before", False),
    _same("original_ln_after", True),
    _same("residual_before_ln", True),
    _same("adapter_residual_before_ln", False),
    _same("ln_before", False),
    _same("ln_after", False),
    Key("is_parallel", False, "parallel"),
    _same("scaling", 1.0),
    _same("use_gating", False),
    _same("dropout", 0.0),
    _same("stochastic_depth", 0.0),
    _same("leave_out", ()),
    _same("init_weights", "bert"),
    _SEED,
    _same("inv_adapter", None),
    _same("inv_adapter_reduction_factor", None),
    _ARCHITECTURE,
    Key("phm_layer", False, role="method"),
)
COMPACTER = (
    _same("phm_dim", 4),
    _same("phm_rank", 1),
    Key("factorized_phm_W", True, role="method"),
    _same("shared_phm_rule", True),
    _same("factorized_phm_rule", False),
    _same("learn_phm", True),
    _same("phm_bias", True),
    _same("phm_init_range", 0.0001),
    Key("phm_c_init", "normal", role="start"),
    Key("hypercomplex_nonlinearity", "glorot-uniform", role="start"),
    Key("shared_W_phm", False, role="fixed"),
)
LORA = (
    Key("selfattn_lora", True, role="method"),
    Key("intermediate_lora", False, role="method"),
    Key("output_lora", False, role="method"),
    Key("attn_matrices", ("q", "v"), role="method"),
    Key("composition_mode", "add", role="method"),
    _same("leave_out", ()),
    _same("r", 8),
    _same("alpha", 8),
    _same("dropout", 0.0),
    Key("init_weights", "lora", role="start"),
    _SEED,
    Key("use_gating", False, role="method"),
    _same("use_dora", False),
    Key("vera_d", None, role="method"),
    Key("vera_b", None, role="method"),
    Key("dtype", None, role="start"),
    _ARCHITECTURE,
)
PREFIX = (
    Key("prefix_length", 30, "num_virtual_tokens"),
    Key("flat", False, role="method"),
    Key("bottleneck_size", 512, "bottleneck"),
    Key("non_linearity", "tanh", role="method"),
    Key("encoder_prefix", True, role="method"),
    Key("cross_prefix", True, role="method"),
    _same("leave_out", ()),
    Key("dropout", 0.0, role="training"),
    Key("use_gating", False, role="method"),
    _same("shared_gating", True),
    _SEED,
    _ARCHITECTURE,
)
PROMPT = (
    Key("prompt_length", 10, "num_virtual_tokens"),
    Key("combine", "prefix", role="method"),
    Key("prompt_init", "random_uniform", role="start"),
    Key("prompt_init_text", None, role="start"),
    Key("random_uniform_scale", 0.5, role="start"),
    _SEED,
    _ARCHITECTURE,
)
REFT = (
    Key("layers", "all", role="method"),
    _same("prefix_positions", 3),
    _same("suffix_positions", 0),
    _same("r", 1),
    Key("orthogonality", True, "orthogonal"),
    Key("tied_weights", False, "tied"),
    Key("subtract_projection", None, role="method"),
    _same("dropout", 0.05),
    _same("non_linearity", None),
    Key("dtype", None, role="start"),
    Key("output_reft", True, role="fixed"),
    _SEED,
    _ARCHITECTURE,
)
# Of adapter-transformers 1: without a meaning for what is computed.
OLD = frozenset(["attention_type", "new_attention_norm", "invertible_adapter"])

WORDS: dict[str | None, tuple[Key, ...]] = {
    None: (*BOTTLENECK, *COMPACTER),
    "lora": LORA,
    "prefix_tuning": PREFIX,
    "prompt_tuning": PROMPT,
    "reft": REFT,
}

# Names of transformers' activation functions that kzoo has under another name.
_FUNCTIONS = {"gelu_pytorch_tanh": "gelu_new", "gelu_python": "gelu", "leaky_relu": "leakyrelu"}
_OLD_FUNCTIONS = {"gelu": "gelu_new", "gelu_orig": "gelu"}


def words_of(raw: Mapping[str, Any]) -> tuple[Key, ...]:
    """The keys of a configuration.

    Raises:
        AdapterError: A method that kzoo does not read.
    """
    architecture = raw.get("architecture")
    architecture = None if architecture == "bottleneck" else architecture
    if architecture not in WORDS:
        known = ", ".join(str(name) for name in WORDS if name)
        raise AdapterError(
            f"`architecture` {architecture!r} cannot be read. kzoo reads bottlenecks (none), "
            f"{known} and union."
        )
    return WORDS[architecture]


def completed(raw: Mapping[str, Any]) -> tuple[Raw, list[str]]:
    """A configuration with the library's defaults, and its keys that nobody knows.

    Raises:
        AdapterError: A key changes what is computed in a way that kzoo does not have.
    """
    words = words_of(raw)
    unknown = sorted(set(raw) - {key.theirs for key in words} - OLD)
    usual = {key.theirs: key.default for key in words}
    whole = usual | {key: usual.get(key) if v is None else v for key, v in raw.items()}
    for key in words:
        if key.role == "fixed" and whole[key.theirs] not in (key.default, None):
            raise AdapterError(
                f"`{key.theirs}` {whole[key.theirs]!r} changes what the adapter computes in a way "
                "that kzoo does not have."
            )
        if key.role == "training" and whole[key.theirs]:
            unknown.append(key.theirs)
    return whole, unknown


def options(raw: Mapping[str, Any], words: Sequence[Key]) -> Raw:
    """The options that both have, under kzoo's names."""
    return {key.ours: raw[key.theirs] for key in words if key.ours is not None}


def written(config: Any, words: Sequence[Key]) -> Raw:
    """All keys of the library: kzoo's values where it has the option, else the defaults."""
    found: Raw = {}
    for key in words:
        value = key.default if key.ours is None else getattr(config, key.ours, key.default)
        found[key.theirs] = list(value) if isinstance(value, tuple) else value
    return found


def function(name: Any) -> Any:
    """kzoo's name of an activation function."""
    lower = name.lower() if isinstance(name, str) else name
    return _FUNCTIONS.get(lower, lower)


def modern(config: Mapping[str, Any]) -> Raw:
    """A file's `adapter_config.json` in the form of today's.

    Before 3.0 there was no `version`, and the activation functions had other names; before 2.0
    invertible adapters had a block of their own; `adapters` before 1.1.0 did not apply alpha.
    """
    facts = dict(config)
    raw = facts.get("config")
    if not isinstance(raw, Mapping):
        return facts
    raw = dict(raw)
    version = str(facts.get("version") or "")
    if not version and raw.get("non_linearity") in _OLD_FUNCTIONS:
        raw["non_linearity"] = _OLD_FUNCTIONS[raw["non_linearity"]]
    if inside := raw.pop("invertible_adapter", None):
        raw["inv_adapter"] = inside["block_type"]
        raw["inv_adapter_reduction_factor"] = inside["reduction_factor"]
    unscaled = version.startswith("adapters.") and _numbers(version) < (1, 1)
    if unscaled and raw.get("architecture") == "lora":
        raw["alpha"] = raw.get("r", 8)
    facts["config"] = raw
    return facts


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.removeprefix("adapters.").split(".")[:2]
    return tuple(int(part) if part.isdigit() else 0 for part in parts)
