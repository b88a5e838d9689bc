"""Operations on a built backbone: make it from facts, cut it, freeze it, fingerprint it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from kzoo.backbones.architecture import Architecture
from kzoo.backbones.families import family_named, family_of
from kzoo.errors import RecipeError
from kzoo.seeds import derive_seed


def config_of(backbone: Any) -> dict[str, Any]:
    """The constructor arguments of a backbone as JSON-ready data (taken before any injection)."""
    config = dict(backbone.get_config())
    for key in ("name", "trainable", "dtype"):
        config.pop(key, None)
    return config


def build(family: str, config: dict[str, Any], architecture: Architecture) -> Any:
    """Builds a backbone with random weights from stored facts."""
    row = family_named(family)
    backbone = row.backbone_class(**config)
    architecture.apply(backbone, row)
    return backbone


def cut(backbone: Any, architecture: Architecture, layers: Sequence[int]) -> Any:
    """A new backbone with only some of the Transformer blocks; weights are copied.

    Args:
        backbone: A built KerasHub encoder.
        architecture: Its activation and epsilon.
        layers: Indices of the blocks to keep, from the input upwards, such as `[0, 5]`.

    Raises:
        RecipeError: An index is outside the trunk, or the order is not rising.
    """
    family = family_of(backbone)
    blocks = family.block_list(backbone)
    wanted = list(layers)
    if not wanted or wanted != sorted(set(wanted)) or wanted[0] < 0 or wanted[-1] >= len(blocks):
        raise RecipeError(
            f"`layers` must be rising block numbers between 0 and {len(blocks) - 1}. "
            f"Received: {wanted}"
        )
    smaller = build(family.name, {**config_of(backbone), "num_layers": len(wanted)}, architecture)
    for new, old in zip(family.block_list(smaller), wanted, strict=True):
        new.set_weights(blocks[old].get_weights())
    outside = {id(v) for block in family.block_list(smaller) for v in block.weights}
    outside_old = {id(v) for block in blocks for v in block.weights}
    for new_var, old_var in zip(
        [v for v in smaller.weights if id(v) not in outside],
        [v for v in backbone.weights if id(v) not in outside_old],
        strict=True,
    ):
        new_var.assign(old_var)
    return smaller


def set_trainable(backbone: Any, trainable: bool, pooler: bool = True) -> None:
    """Freezes or frees the trunk's own variables, leaf by leaf, and switches its dropout.

    Args:
        backbone: A built KerasHub encoder, with or without adapters inside.
        trainable: Whether the trunk is trained.
        pooler: Whether the pooler is used; one that is not gets no gradient and stays frozen.
    """
    # A frozen trunk runs in inference mode: its dropout is off, so that its activations are
    # deterministic.
    rate = float(backbone.dropout) if trainable else 0.0
    unused = getattr(backbone, "pooled_dense", None)
    for layer in backbone._flatten_layers(include_self=False):
        if type(layer).__name__ == "Dropout":
            layer.rate = rate
        if type(layer).__name__ in ("MultiHeadAttention", "CachedMultiHeadAttention"):
            layer._dropout = rate
        if layer._trainable_variables or layer._non_trainable_variables:
            layer.trainable = trainable and (pooler or layer is not unused)


def fingerprint(variables: Sequence[Any]) -> str:
    """sha256 over shapes and values of the trunk's variables, in the backbone's order."""
    digest = hashlib.sha256()
    for variable in variables:
        value = np.ascontiguousarray(np.asarray(variable, dtype="float32"))
        digest.update(repr(value.shape).encode())
        digest.update(value.data)
    return digest.hexdigest()


def seed_dropout(backbone: Any, seed: int) -> None:
    """Gives every dropout layer of the trunk its own stream from one seed."""
    number = 0
    for layer in backbone._flatten_layers(include_self=False):
        generator = getattr(layer, "seed_generator", None)
        if type(layer).__name__ == "Dropout" and generator is not None:
            generator.state.assign([derive_seed(seed, "trunk-dropout", number), 0])
            number += 1
