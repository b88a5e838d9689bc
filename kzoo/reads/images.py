"""`kzoo.ImageInput`: images (paths, bytes or arrays) as the input of a trunk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kzoo.errors import InputError
from kzoo.reads import READS
from kzoo.reads.read import Part, Read, Rows, prefix_of, symbolic
from kzoo.trunk.layer import Trunk


def ImageInput(trunk: Trunk, name: str | None = None, scale: str = "symmetric") -> Any:
    """Symbolic input for a column of images, to be called by the trunk.

    A row is a path, the bytes of an image file, or an array (height, width, 3) or (height, width)
    of integers from 0 to 255 or floats from 0 to 1. It is decoded, resized to the trunk's size
    (bilinear, as ViT's checkpoints expect it) and scaled.

    Args:
        trunk: A `kzoo.Trunk` that takes images.
        name: The column. Default: `image`, and the tensor has the backbone's own name.
        scale: `symmetric`, to -1 ... 1 (ViT's mean and deviation of .5), or `unit`, to 0 ... 1.

    Returns:
        Input name -> KerasTensor, float32 (batch, height, width, 3).

    Raises:
        InputError: The trunk takes texts.
    """
    if trunk.family.kind != "vision":
        raise InputError(
            f"Trunk {trunk.name!r} of family {trunk.family.name} takes texts, not images: use "
            "kzoo.TextInput."
        )
    if scale not in ("symmetric", "unit"):
        raise InputError(f"`scale` must be 'symmetric' or 'unit'. Received: {scale!r}")
    prefix = prefix_of(name)
    inputs = symbolic([f"{prefix}images"], trunk.backbone.image_shape, "float32")
    ImageRead(name or "image", inputs, trunk, scale)
    return inputs


@READS.register("image")
class ImageRead(Read):
    """Images, decoded and resized for a trunk when their batch is made.

    Args:
        name: The column.
        inputs: The one symbolic input.
        trunk: Whose size it is.
        scale: See `ImageInput`.
    """

    kind = "image"

    def __init__(
        self, name: str, inputs: Mapping[str, Any], trunk: Trunk, scale: str = "symmetric"
    ) -> None:
        super().__init__(name, inputs)
        self.trunk = trunk
        self.scale = scale
        trunk.reads.value[name] = {"kind": self.kind, "keys": list(self.keys), **self.config()}

    def encode(self, column: Any, by_row: Any = None) -> list[Part]:
        """See `Read`; rows are checked now, and decoded batch by batch."""
        for number, row in enumerate(column):
            self._check(row, number)

        def pad(rows: Rows, length: int) -> dict[str, Any]:
            return {self.keys[0]: np.stack([self._image(column[row], row) for row in rows])}

        return [Part(pad)]

    @property
    def fingerprint(self) -> str:
        """See `Read`."""
        return f"{self.kind}|{self.scale}|{self.trunk.backbone.image_shape}|{self.keys}"

    def _check(self, row: Any, number: int) -> None:
        if isinstance(row, (str, Path)):
            if not Path(row).expanduser().is_file():
                raise InputError(f"`{self.name}` row {number}: there is no file {str(row)!r}.")
        elif not isinstance(row, bytes) and np.asarray(row).ndim not in (2, 3):
            raise InputError(
                f"`{self.name}` row {number} must be a path, the bytes of an image file or an "
                f"array (height, width[, 3]). Received: {type(row).__name__}"
            )

    def _image(self, row: Any, number: Any) -> NDArray[np.float32]:
        import tensorflow as tf

        if isinstance(row, (str, Path)):
            row = Path(row).expanduser().read_bytes()
        if isinstance(row, bytes):
            try:
                row = tf.io.decode_image(row, channels=3, expand_animations=False).numpy()
            except tf.errors.InvalidArgumentError as error:
                reason = str(error.message).splitlines()[0]
                raise InputError(f"`{self.name}` row {number} is no image: {reason}") from error
        pixels = np.asarray(row)
        whole = pixels.dtype.kind in "iu"
        values = pixels.astype("float32") / (255.0 if whole else 1.0)
        if values.ndim == 2:
            values = np.repeat(values[..., None], 3, axis=-1)
        if values.shape[-1] == 4:  # the alpha channel
            values = values[..., :3]
        if values.shape[-1] != 3 or values.min() < 0 or values.max() > 1:
            raise InputError(
                f"`{self.name}` row {number} must have 3 channels of integers from 0 to 255 or "
                f"floats from 0 to 1. Received: shape {pixels.shape}, {pixels.min()} to "
                f"{pixels.max()}"
            )
        height, width = self.trunk.backbone.image_shape[:2]
        if values.shape[:2] != (height, width):
            values = tf.image.resize(values, (height, width), antialias=True).numpy()
        scaled = values * 2.0 - 1.0 if self.scale == "symmetric" else values
        return np.asarray(scaled, "float32")

    def config(self) -> dict[str, Any]:
        """See `Read`."""
        return {"scale": self.scale}

    @classmethod
    def attach(
        cls, name: str, inputs: Mapping[str, Any], trunk: Any, config: Mapping[str, Any]
    ) -> Read:
        """See `Read`."""
        return cls(name, inputs, trunk, **config)
