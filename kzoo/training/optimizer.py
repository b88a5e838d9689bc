"""The optimizer of a recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    from kzoo.models.spec import TrainingSpec


def default_optimizer(training: TrainingSpec, learning_rate: float | None = None) -> Any:
    """Adam, or AdamW where the recipe decays weights (never biases and norms), with clipping.

    Args:
        training: The recipe's values.
        learning_rate: Peak rate instead of the recipe's.
    """
    options = {
        "learning_rate": learning_rate or training.learning_rate,
        "global_clipnorm": training.clip_norm,
    }
    if not training.weight_decay:
        return keras.optimizers.Adam(**options)
    optimizer = keras.optimizers.AdamW(weight_decay=training.weight_decay, **options)
    optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    return optimizer
