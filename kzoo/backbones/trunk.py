"""Operations on a built backbone: make it from facts, cut it, freeze it, fingerprint it."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np

from kzoo.backbones.architecture import Architecture
from kzoo.backbones.families import family_named, family_of
from kzoo.errors import RecipeError
from kzoo.seeds import derive_seed


def config_of(backbone: Any) -> dict[str, Any]:
    """The constructor arguments of a backbone as JSON-ready data (taken before any injection).

    KerasHub's own `get_config` forgets some (Llama: `tie_word_embeddings`, ViT: `data_format`).
    """
    config = dict(backbone.get_config())
    for key in inspect.signature(type(backbone).__init__).parameters:
        if key not in config and hasattr(backbone, key):
            config[key] = getattr(backbone, key)
    for key in ("name", "trainable", "dtype"):
        config.pop(key, None)
    return config


def build(
    family: str, config: dict[str, Any], architecture: Architecture, dtype: Any = None
) -> Any:
    """Builds a backbone with random weights from stored facts.

    Args:
        family: Name of the family.
        config: What `config_of` gave.
        architecture: Its activation and epsilon.
        dtype: Keras dtype or policy. Default: the global one.
    """
    row = family_named(family)
    backbone = row.backbone_class(**config, dtype=dtype)
    architecture.apply(backbone, row)
    return backbone


def cut(backbone: Any, architecture: Architecture, layers: Sequence[int]) -> Any:
    """A new backbone with only some of the Transformer blocks; weights are copied.

    Args:
        backbone: A built KerasHub backbone.
        architecture: Its activation and epsilon.
        layers: Indices of the blocks to keep, from the input upwards, such as `[0, 5]`; in an
            encoder-decoder of each of both stacks. Where blocks share weights (ALBERT), only
            their number matters.

    Raises:
        RecipeError: An index is outside the trunk, the order is not rising, or several groups of
            shared blocks do not say which to leave out.
    """
    family = family_of(backbone)
    wanted, count = list(layers), backbone.num_layers
    if not wanted or wanted != sorted(set(wanted)) or wanted[0] < 0 or wanted[-1] >= count:
        raise RecipeError(
            f"`layers` must be rising block numbers between 0 and {count - 1}. Received: {wanted}"
        )
    if getattr(backbone, "num_groups", 1) > 1:
        raise RecipeError(
            f"`layers` cannot cut a trunk with {backbone.num_groups} groups of shared blocks."
        )
    smaller = build(
        family.name,
        {**config_of(backbone), "num_layers": len(wanted)},
        architecture,
        backbone.dtype_policy,
    )
    inside: set[int] = set()
    for new_stack, stack in zip(
        family.block_lists(smaller), family.block_lists(backbone), strict=True
    ):
        kept = stack if len(stack) != count else [stack[index] for index in wanted]
        for new, old in zip(new_stack, kept, strict=True):
            _copy(new.weights, old.weights, stack[0].weights)
        inside |= {id(v) for block in (*new_stack, *stack) for v in block.weights}
    _copy(*([v for v in b.weights if id(v) not in inside] for b in (smaller, backbone)))
    return smaller


def _copy(new: Sequence[Any], old: Sequence[Any], first: Sequence[Any] = ()) -> None:
    """Copies values. T5's first block owns the table of positions that all blocks read."""
    own = [v for v in old if not v.path.endswith("attention/embeddings")]
    tables = [v for v in first if v.path.endswith("attention/embeddings")]
    rest = [v for v in new if not v.path.endswith("attention/embeddings")]
    for target, source in zip(rest, own, strict=True):
        target.assign(source)
    for target in new:
        if target.path.endswith("attention/embeddings"):
            target.assign(tables[0])


def set_trainable(backbone: Any, trainable: bool, pooler: bool = True) -> None:
    """Freezes or frees the trunk's own variables, leaf by leaf, and switches its dropout.

    Args:
        backbone: A built KerasHub backbone, with or without adapters inside.
        trainable: Whether the trunk is trained.
        pooler: Whether the pooler is used; one that is not gets no gradient and stays frozen.
    """
    from kzoo.keras_internals import every_layer, inner_layers, own_variables, set_attention_dropout

    # A frozen trunk runs in inference mode: its dropout is off, so that its activations are
    # deterministic.
    hidden, attention = _dropout_rates(backbone) if trainable else (0.0, 0.0)
    unused = getattr(backbone, "pooled_dense", None)
    layers = inner_layers(backbone)
    inside_attention = set()
    for layer in layers:
        if type(layer).__name__ in ("MultiHeadAttention", "CachedMultiHeadAttention"):
            set_attention_dropout(layer, attention)
            inside_attention |= {id(part) for part in every_layer(layer)}
    for layer in layers:
        if type(layer).__name__ == "Dropout":
            layer.rate = attention if id(layer) in inside_attention else hidden
        if own_variables(layer):
            layer.trainable = trainable and (pooler or layer is not unused)


def _dropout_rates(backbone: Any) -> tuple[float, float]:
    """(of hidden states, of attention weights) as the backbone was built; only ViT has two."""
    if hasattr(backbone, "attention_dropout"):
        return float(backbone.dropout_rate), float(backbone.attention_dropout)
    return float(backbone.dropout), float(backbone.dropout)


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
    from kzoo.keras_internals import inner_layers

    number = 0
    for layer in inner_layers(backbone):
        generator = getattr(layer, "seed_generator", None)
        if type(layer).__name__ == "Dropout" and generator is not None:
            generator.state.assign([derive_seed(seed, "trunk-dropout", number), 0])
            number += 1
