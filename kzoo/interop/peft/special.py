"""What PEFT's formats of single methods need beside the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from kzoo.adapters.config import AdapterConfig
from kzoo.adapters.methods.low_rank import LilyConfig
from kzoo.backbones.families import FAMILIES
from kzoo.backbones.places import Place
from kzoo.errors import AdapterError
from kzoo.interop.files import Tensors
from kzoo.interop.layouts import Layout


def after_reading(
    peft_type: str,
    config: Mapping[str, Any],
    options: dict[str, Any],
    ours: Tensors,
    layout: Layout,
) -> None:
    """Changes options and tensors of a file in place, where one tensor is not one variable."""
    if peft_type == "ADALORA":
        _pad_pruned(options, ours)
    elif peft_type == "PREFIX_TUNING":
        _divide_prefix(config, options, ours, layout)
    elif peft_type == "LILY":
        _share_factors(options, ours, layout)
    elif peft_type == "WAVEFT" and config.get("proportional_parameters"):
        counts = {key: len(value) for key, value in ours.items()}
        options["n_frequency_pattern"] = {k.rpartition(".")[0]: n for k, n in counts.items()}
    elif peft_type == "RANDLORA":
        for key in [key for key in ours if key.endswith((".copy_a", ".copy_b"))]:
            del ours[key]
    elif peft_type == "MISS" and options["variant"] == "bat":
        options["dropout"] = 0.0  # PEFT has none there
    elif peft_type == "BOFT":
        # Without CUDA, PEFT makes one factor whatever the config says.
        options["factors"] = next(len(v) for k, v in ours.items() if k.endswith(".boft_r"))
    elif peft_type == "OFT" and "oft_block_size" not in config:
        raise AdapterError(
            "The OFT adapter was written by PEFT up to 0.13, which rotated another side: it lacks "
            "`oft_block_size`. Train it again with a newer PEFT."
        )
    if peft_type.endswith(("PROMPT_TUNING", "P_TUNING")):
        options["position"] = "start"
    if options.get("total_step") is not None and options.get("tinit", 0) + options.get(
        "tfinal", 0
    ) >= int(options["total_step"]):
        options["total_step"] = None


def before_writing(
    peft_type: str, own: AdapterConfig, config: dict[str, Any], ours: Tensors, layout: Layout
) -> Tensors:
    """The variables as the table has them; completes the PEFT config.

    Raises:
        AdapterError: PEFT computes something else under this name.
    """
    if peft_type == "ADALORA":
        config["total_step"] = config["total_step"] or config["tinit"] + config["tfinal"] + 1
        return _without_masks(ours)
    if peft_type == "LILY":
        return _copied_factors(own, ours, layout)
    if peft_type == "RANDLORA":
        stems = [key.rpartition(".")[0] for key in ours if key.endswith(".randlora_lambda")]
        for letter in "ab":
            copies = {f"{stem}.copy_{letter}": ours[f"shared.randlora_{letter}"] for stem in stems}
            ours = ours | copies
        return ours
    if peft_type == "PREFIX_TUNING":
        positions = any(place.site == "position_embedding" for place in layout.places)
        if positions and not getattr(own, "shift_positions", True):
            raise AdapterError(
                "With PEFT's prefix, positions start behind it: only an adapter with "
                "`shift_positions=True` can be written."
            )
        return _joined_prefix(config, ours)
    if peft_type == "OFT":
        config["peft_version"] = "0.18.0"  # the parametrisation of the series is of that version
    if peft_type.endswith(("PROMPT_TUNING", "P_TUNING")):
        _check_prompt(own, layout)
        if layout.dims is None:
            raise AdapterError("A prompt in PEFT's format needs the sizes of the model.")
        config |= {
            "token_dim": layout.dims.embedding_dim,
            "num_attention_heads": layout.dims.num_heads,
            "num_layers": layout.dims.num_layers,
            "num_transformer_submodules": 1,
        }
    return ours


def _check_prompt(own: AdapterConfig, layout: Layout) -> None:
    kind = FAMILIES.get(layout.family).kind if layout.family is not None else "decoder"
    position = getattr(own, "position", "start")
    if kind == "encoder-decoder":
        raise AdapterError("PEFT has a prompt for each of both stacks; kzoo's is the encoder's.")
    if position == "after_cls" or (position == "auto" and kind == "encoder"):
        raise AdapterError(
            f"PEFT's prompts stand before the first token, this one behind it (`position` "
            f"{position!r}): only an adapter with `position=start` can be written."
        )
    if getattr(own, "insertion", "tokens") != "tokens":
        raise AdapterError("PEFT's prompts are tokens; `insertion=embeddings` cannot be written.")


def _pad_pruned(options: dict[str, Any], ours: Tensors) -> None:
    """Triplets that PEFT removed are zeros here; the scaling stays that of the first rank."""
    r = int(options["init_r"])
    for key in [key for key in ours if key.endswith(".lora_e")]:
        stem = key.removesuffix(".lora_e")
        own = len(ours[key])
        ours[f"{stem}.rank_mask"] = (np.arange(r) < own).astype("float32")
        if own < r:
            more = r - own
            ours[key] = np.pad(ours[key], (0, more))
            ours[f"{stem}.lora_a"] = np.pad(ours[f"{stem}.lora_a"], ((0, 0), (0, more)))
            ours[f"{stem}.lora_b"] = np.pad(ours[f"{stem}.lora_b"], ((0, more), (0, 0)))


def _without_masks(ours: Tensors) -> Tensors:
    found = {}
    for key, value in ours.items():
        stem, _, variable = key.rpartition(".")
        if variable == "lora_e":
            value = value * ours.get(f"{stem}.rank_mask", np.ones_like(value))
        if variable != "rank_mask":
            found[key] = value
    return found


def _lily_owners(
    config: LilyConfig, ours: Tensors, layout: Layout, sizes: Mapping[str, tuple[int, int]]
) -> dict[str, tuple[str, str]]:
    """Whose factors each place has; see `LilyConfig.owners`."""
    keys = [key.removesuffix(".lily_router") for key in ours if key.endswith(".lily_router")]
    known = {place.key: place for place in layout.places}
    order = list(known) or keys
    places = [known.get(key) or Place(key, key, key, 0, 0) for key in sorted(keys, key=order.index)]
    if sizes:
        places = [
            replace(place, size_in=sizes[place.key][0], size_out=sizes[place.key][1])
            for place in places
        ]
    return config.owners(places)


def _share_factors(options: Mapping[str, Any], ours: Tensors, layout: Layout) -> None:
    """What the file has at every module, once."""
    stems = [key.removesuffix(".lily_router") for key in ours if key.endswith(".lily_router")]
    sizes = {stem: (len(ours[f"{stem}.a"]), ours[f"{stem}.b"].shape[1]) for stem in stems}
    config = LilyConfig(method="lily", **options)
    for stem, labels in _lily_owners(config, ours, layout, sizes).items():
        for letter, label in zip("ab", labels, strict=True):
            own = ours.pop(f"{stem}.{letter}")
            if not np.array_equal(own, ours.setdefault(f"shared.{letter}_{label}", own)):
                raise AdapterError(
                    f"The Lily adapter has another factor {letter.upper()} at {stem} than the one "
                    "that it would share there."
                )


def _copied_factors(own: AdapterConfig, ours: Tensors, layout: Layout) -> Tensors:
    """The same backwards."""
    assert isinstance(own, LilyConfig)
    found = {key: value for key, value in ours.items() if not key.startswith("shared.")}
    for stem, labels in _lily_owners(own, ours, layout, {}).items():
        for letter, label in zip("ab", labels, strict=True):
            found[f"{stem}.{letter}"] = ours[f"shared.{letter}_{label}"]
    return found


def _divide_prefix(
    config: Mapping[str, Any], options: dict[str, Any], ours: Tensors, layout: Layout
) -> None:
    """(P, 2 L KV): keys and values of the blocks in turn."""
    table = ours.pop("prefix.prefix")
    known = layout.dims
    layers = known.num_layers if known else config.get("num_layers")
    heads = known.num_kv_heads if known else config.get("num_attention_heads")
    if not layers or not heads:
        raise AdapterError("The config of the prefix lacks `num_layers` or `num_attention_heads`.")
    tokens, width = table.shape
    if width % (2 * layers * heads):
        raise AdapterError(
            f"`prompt_embeddings` of shape {table.shape} does not fit {layers} layers with "
            f"{heads} heads of keys."
        )
    parts = table.reshape(tokens, 2 * layers, heads, -1)
    for layer in range(layers):
        ours[f"blocks.{layer}.attention.prefix_key"] = parts[:, 2 * layer]
        ours[f"blocks.{layer}.attention.prefix_value"] = parts[:, 2 * layer + 1]
    options["shift_positions"] = not layout.places or any(
        place.site == "position_embedding" for place in layout.places
    )


def _joined_prefix(config: dict[str, Any], ours: Tensors) -> Tensors:
    keys = {k.removesuffix(".prefix_key"): v for k, v in ours.items() if k.endswith(".prefix_key")}
    if not keys or any(not key.startswith("blocks.") for key in keys):
        raise AdapterError(
            "PEFT's prefix tuning has keys and values for every block of one stack. Received: "
            f"{sorted(keys) or 'a network, which PEFT does not keep'}"
        )
    numbers = sorted(int(key.split(".")[1]) for key in keys)
    if numbers != list(range(len(numbers))):
        raise AdapterError(f"PEFT's prefix tuning has all blocks. Received: {numbers}")
    parts = []
    for number in numbers:
        stem = f"blocks.{number}.attention"
        parts += [ours[f"{stem}.prefix_key"], ours[f"{stem}.prefix_value"]]
    tokens, heads, width = parts[0].shape
    config |= {
        "token_dim": heads * width,
        "num_attention_heads": heads,
        "num_layers": len(numbers),
        "num_transformer_submodules": 1,
    }
    return {"prefix.prefix": np.stack(parts, axis=1).reshape(tokens, -1)}
