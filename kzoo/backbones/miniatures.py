"""A miniature of every family: the real KerasHub class with 2 random blocks of width 16.

For questions about a family that need no weights: does a method fit, what shapes come out.
"""

from __future__ import annotations

from typing import Any

from kzoo.backbones.families import FAMILIES
from kzoo.backbones.families.shared import VOCABULARY


def make_miniature(family_name: str, seed: int = 0, **changes: Any) -> Any:
    """A random backbone of the real class.

    Args:
        family_name: Family name.
        seed: Decides the weights.
        changes: Constructor arguments of the KerasHub class.
    """
    import keras

    keras.utils.set_random_seed(seed)
    family = FAMILIES.get(family_name)
    backbone = family.backbone_class(**{**family.miniature, **changes})
    for variable in backbone.weights:  # away from zeros and ones, so that mistakes show
        variable.assign(variable + 0.1 * keras.random.normal(variable.shape))
    return backbone


def miniature_inputs(family_name: str, rows: int = 3, length: int = 7, seed: int = 0) -> Any:
    """Random inputs; every row but the first has padding at its end.

    Returns:
        Input name -> int32 (rows, length); decoder inputs are two shorter. For
        families that see: float32 images.
    """
    import numpy as np

    family, rng = FAMILIES.get(family_name), np.random.default_rng(seed)
    if family.kind == "vision":
        return rng.normal(size=(rows, *family.miniature["image_shape"])).astype("float32")
    inputs = {}
    for name in family.inputs:
        size = length - 2 if name.startswith("decoder") else length
        mask = np.ones((rows, size), "int32")
        for row in range(rows):
            mask[row, size - row :] = 0
        if name.endswith("token_ids"):
            inputs[name] = rng.integers(4, VOCABULARY, (rows, size)).astype("int32") * mask
        elif name.endswith("segment_ids"):
            inputs[name] = rng.integers(0, 2, (rows, size)).astype("int32") * mask
        else:
            inputs[name] = mask
    return inputs


def sequence_output(output: Any) -> Any:
    """The last hidden states of any family's output (of the decoder, where there is one)."""
    if not isinstance(output, dict):
        return output
    for name in ("decoder_sequence_output", "sequence_output"):
        if name in output:
            return output[name]
    raise AssertionError(f"no sequence output among {list(output)}")
