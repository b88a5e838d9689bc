"""A method of AdapterHub as a method of kzoo, and back: what is more than names of options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kzoo.adapters.config import AdapterConfig
from kzoo.adapters.methods.bottleneck import BottleneckConfig
from kzoo.adapters.methods.compacter import CompacterConfig
from kzoo.adapters.methods.gated import GatedLoraConfig, GatedPrefixConfig
from kzoo.adapters.methods.ia3 import Ia3Config
from kzoo.adapters.methods.lora import LoraConfig
from kzoo.adapters.methods.prefix import PrefixConfig
from kzoo.adapters.methods.prompt import PromptConfig
from kzoo.adapters.methods.reft import ReftConfig
from kzoo.errors import AdapterError
from kzoo.interop.adapterhub.tensors import hub_names
from kzoo.interop.adapterhub.words import (
    BOTTLENECK,
    COMPACTER,
    LORA,
    PREFIX,
    PROMPT,
    REFT,
    Raw,
    function,
    options,
    written,
)
from kzoo.interop.layouts import Layout

_LETTERS = {"q": "query", "k": "key", "v": "value"}


# --- Reading -------------------------------------------------------------------------------


def read_method(raw: Raw, layout: Layout) -> Raw:
    """The options of kzoo's method, `method` included.

    Args:
        raw: A complete configuration of the library.
        layout: The model.

    Raises:
        AdapterError: kzoo does not have it; the reason is given.
    """
    architecture = raw.get("architecture") or "bottleneck"
    return {
        "bottleneck": _bottleneck,
        "lora": _lora,
        "prefix_tuning": _prefix,
        "prompt_tuning": _prompt,
        "reft": _reft,
    }[architecture](raw, layout)


def _bottleneck(raw: Raw, layout: Layout) -> Raw:
    found = options(raw, BOTTLENECK)
    found["non_linearity"] = function(raw["non_linearity"])
    found["method"] = "bottleneck"
    if raw["inv_adapter"] is None:
        del found["inv_adapter_reduction_factor"]
    if raw["is_parallel"]:  # the library does not look at these then
        found |= {"original_ln_before": False, "residual_before_ln": True, "stochastic_depth": 0.0}
    if raw["is_parallel"] or not raw["ln_after"]:
        found["adapter_residual_before_ln"] = False
    if not found["original_ln_before"] and found["residual_before_ln"] is False:
        found["residual_before_ln"] = True  # the sum is not there yet: the same
    if raw["phm_layer"]:
        found |= options(raw, COMPACTER)
        found |= {"method": "compacter", "init_weights": "bert"}
        if not raw["factorized_phm_W"]:
            found["phm_rank"] = None
    return found


def _lora(raw: Raw, layout: Layout) -> Raw:
    found = options(raw, LORA)
    targets = _targets(raw, layout)
    if raw["composition_mode"] == "scale":
        if raw["use_gating"]:
            raise AdapterError("`use_gating` of an IA3 adapter cannot be read: kzoo has no gate.")
        return _ia3(raw, targets, layout)
    if raw["composition_mode"] != "add":
        raise AdapterError(f"`composition_mode` {raw['composition_mode']!r} is not known.")
    found |= {"method": "lora", "targets": targets}
    if raw["use_dora"]:
        found["dora_dialect"] = "adapterhub"
    if raw["use_gating"]:
        found["method"] = "gated_lora"
        del found["alpha"]  # the gate takes the place of the scaling
    return found


def _targets(raw: Raw, layout: Layout) -> tuple[str, ...]:
    family = hub_names(layout.family)
    targets: list[str] = []
    if raw["selfattn_lora"]:
        if unknown := [letter for letter in raw["attn_matrices"] if letter not in _LETTERS]:
            raise AdapterError(f"`attn_matrices` {unknown[0]!r} cannot be read; q, k and v can.")
        targets += [site for letter, site in _LETTERS.items() if letter in raw["attn_matrices"]]
    if raw["intermediate_lora"]:
        targets.append(family.intermediate)
    if raw["output_lora"]:
        targets.append(family.output)
    return tuple(targets)


def _ia3(raw: Raw, targets: Sequence[str], layout: Layout) -> Raw:
    found: Raw = {"method": "ia3", "leave_out": raw["leave_out"], "targets_in": ()}
    if raw["alpha"] != 1 or raw["r"] != 1:
        raise AdapterError("An IA3 adapter with `r` or `alpha` other than 1 cannot be read.")
    rest = tuple(targets)
    if "ffn_intermediate" in targets:  # before its activation
        found |= {"pre_activation": True, "targets_in": ("ffn_output",)}
        rest = tuple(target for target in targets if target != "ffn_intermediate")
    return {**found, "targets_out": rest}


def _prefix(raw: Raw, layout: Layout) -> Raw:
    found = options(raw, PREFIX)
    found["method"] = "gated_prefix" if raw["use_gating"] else "prefix"
    if not raw["use_gating"]:
        del found["shared_gating"]
    places = [place for place in layout.places if place.site == "attention"]
    two = any(place.key.startswith("decoder.") for place in places)
    if two and not raw["encoder_prefix"]:
        encoder = {p.block for p in places if p.key.startswith("encoder.")}
        found["leave_out"] = sorted({*raw["leave_out"], *encoder})
    if two and not raw["cross_prefix"]:
        left = found["leave_out"]
        found["exclude"] = tuple(
            p.key for p in places if p.name == "cross_attention" and p.block not in left
        )
    # Three networks there are one here, tanh is the only function, and the embedding is as wide as
    # the keys: else what the network gives is taken.
    dims = layout.dims
    wide = dims is None or dims.hidden_dim == dims.num_kv_heads * dims.head_dim
    plain = function(raw["non_linearity"]) == "tanh" and wide and not two
    found["projection"] = plain and not raw["flat"]
    if not found["projection"]:
        del found["bottleneck"]
    return found


def _prompt(raw: Raw, layout: Layout) -> Raw:
    positions = {"prefix": "start", "prefix_after_bos": "after_cls"}
    if raw["combine"] not in positions:
        raise AdapterError(f"`combine` {raw['combine']!r} is not known.")
    return {
        **options(raw, PROMPT),
        "method": "prompt",
        "insertion": "embeddings",
        "init": "random",
        "position": positions[raw["combine"]],
    }


def _reft(raw: Raw, layout: Layout) -> Raw:
    subtract = raw["subtract_projection"] is not False
    method = "loreft" if raw["orthogonality"] else "noreft" if subtract else "direft"
    found = options(raw, REFT) | {"method": method, "subtract_projection": subtract}
    if raw["non_linearity"] is not None:
        found["non_linearity"] = function(raw["non_linearity"])
    if raw["layers"] != "all":
        blocks = {place.block for place in layout.places if place.block is not None}
        found["leave_out"] = sorted(blocks - set(raw["layers"]))
    return found


# --- Writing -------------------------------------------------------------------------------


def write_method(config: AdapterConfig, layout: Layout) -> Raw:
    """The library's complete configuration of a method.

    Raises:
        AdapterError: The library has no such method, or cannot say these options.
    """
    if config.exclude and not isinstance(config, PrefixConfig):
        raise AdapterError("`exclude`: AdapterHub can leave out whole blocks only.")
    for kind, write in _WRITERS:
        if isinstance(config, kind):
            raw: Raw = write(config, layout)
            return raw
    known = "bottlenecks, compacter, lora, dora, ia3, prefix, prompt, loreft, noreft and direft"
    raise AdapterError(f"AdapterHub has no format for `{config.method}`. Written can be: {known}.")


def _write_bottleneck(config: BottleneckConfig, layout: Layout) -> Raw:
    raw = written(config, BOTTLENECK) | written(config, COMPACTER)
    if not isinstance(config.scaling, str):
        raw["scaling"] = float(config.scaling)  # the library insists
    if config.init_weights == "identity":
        raw["init_weights"] = "bert"
    if config.inv_adapter is None:
        raw["inv_adapter_reduction_factor"] = None
    if isinstance(config, CompacterConfig):
        raw["phm_layer"] = True
        raw["factorized_phm_W"] = config.phm_rank is not None
        raw["phm_rank"] = config.phm_rank or 1
    return raw


def _write_lora(config: LoraConfig, layout: Layout) -> Raw:
    raw = written(config, LORA) | {"architecture": "lora"}
    patterns = config.rank_pattern or config.alpha_pattern
    if patterns or config.use_rslora or config.lora_bias or config.train_bias != "none":
        raise AdapterError(
            "AdapterHub's LoRA has none of `rank_pattern`, `alpha_pattern`, `use_rslora`, "
            "`lora_bias` and `train_bias`."
        )
    if config.from_weights:
        raise AdapterError(f"`init` {config.init} has no form in AdapterHub's files.")
    if config.use_dora and config.dora_dialect != "adapterhub":
        raise AdapterError(
            "AdapterHub's DoRA is another function: it rescales biases, and its norm does not "
            "know alpha. Only `dora_dialect=adapterhub` can be written."
        )
    raw |= _places(config.targets, layout)
    if float(config.alpha).is_integer():
        raw["alpha"] = int(config.alpha)
    if isinstance(config, GatedLoraConfig):
        raw["use_gating"] = True
    return raw


def _write_ia3(config: Ia3Config, layout: Layout) -> Raw:
    if config.inputs:
        raise AdapterError(
            "AdapterHub's IA3 rescales outputs only, also that of `ffn_intermediate` before its "
            f"activation: `pre_activation=true`. Here the input of {', '.join(config.inputs)} is "
            "rescaled, which is another function."
        )
    places = _places(config.outputs, layout)
    start = {"composition_mode": "scale", "init_weights": "ia3", "r": 1, "alpha": 1}
    leave_out = list(config.leave_out)
    keys = {key.theirs: key.default for key in LORA} | {"leave_out": leave_out, "use_dora": False}
    return keys | start | places | {"architecture": "lora"}


def _places(targets: Sequence[str], layout: Layout) -> Raw:
    family = hub_names(layout.family)
    known = {**_LETTERS, "intermediate": family.intermediate, "output": family.output}
    if wrong := [target for target in targets if target not in known.values()]:
        raise AdapterError(
            f"AdapterHub adapts {', '.join(known.values())} by these names; not {wrong[0]!r}."
        )
    letters = [letter for letter, site in _LETTERS.items() if site in targets]
    return {
        "selfattn_lora": bool(letters),
        "attn_matrices": letters or ["q", "v"],
        "intermediate_lora": family.intermediate in targets,
        "output_lora": family.output in targets,
    }


def _write_prefix(config: PrefixConfig, layout: Layout) -> Raw:
    if config.shift_positions:
        raise AdapterError("`shift_positions`: AdapterHub's prefixes leave positions alone.")
    raw = written(config, PREFIX) | {"architecture": "prefix_tuning", "flat": not config.projection}
    raw["use_gating"] = isinstance(config, GatedPrefixConfig)
    every = [place for place in layout.places if place.site == "attention"]
    left = set(config.leave_out)
    standing = {p.key for p in config.choose(layout.places) if p.site == "attention"}
    for name, group in (("encoder_prefix", "encoder."), ("cross_prefix", "cross_attention")):
        own = [p for p in every if p.key.startswith(group) or p.name == group]
        raw[name] = not own or any(p.key in standing for p in own)
    expected = {
        p.key
        for p in every
        if p.block not in left
        and (raw["encoder_prefix"] or not p.key.startswith("encoder."))
        and (raw["cross_prefix"] or p.name != "cross_attention")
    }
    if standing != expected:
        raise AdapterError(
            "AdapterHub's prefixes stand in every attention of a kind, but for whole blocks. Here "
            f"{sorted(expected ^ standing)[0]} is different."
        )
    return raw


def _write_prompt(config: PromptConfig, layout: Layout) -> Raw:
    if config.insertion != "embeddings":
        raise AdapterError(
            "AdapterHub inserts prompts behind the embedding block, where they get no positions: "
            "only `insertion=embeddings` can be written."
        )
    combine = "prefix_after_bos" if config.first_row else "prefix"
    return written(config, PROMPT) | {"architecture": "prompt_tuning", "combine": combine}


def _write_reft(config: ReftConfig, layout: Layout) -> Raw:
    raw = written(config, REFT) | {
        "architecture": "reft",
        "layers": "all",
        "subtract_projection": True,  # see `reft.subtracting`
    }
    if config.leave_out:
        blocks = {place.block for place in layout.places if place.block is not None}
        raw["layers"] = sorted(blocks - set(config.leave_out))
    return raw


_WRITERS: tuple[tuple[type[AdapterConfig], Any], ...] = (
    (BottleneckConfig, _write_bottleneck),
    (LoraConfig, _write_lora),
    (Ia3Config, _write_ia3),
    (PrefixConfig, _write_prefix),
    (PromptConfig, _write_prompt),
    (ReftConfig, _write_reft),
)
