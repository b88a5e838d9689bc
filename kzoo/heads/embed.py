"""`kzoo.heads.Embed`: a vector a row."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kzoo.errors import InputError
from kzoo.heads import HEADS
from kzoo.heads.head import Head
from kzoo.heads.pooling import pool


@HEADS.register("embed")
@keras.saving.register_keras_serializable(package="kzoo")
class Embed(Head):
    """Sentence vectors: outputs float32 (batch, width), pooled token vectors. No variables.

    Args:
        normalize: Whether vectors get length 1. Default: as the trunk's published encoder says,
            else true.
        **kwargs: As `kzoo.heads.Head`; `dropout` is 0 by default.
    """

    kind = "embed"
    has_variables = False
    target_dtype = "float32"

    def __init__(self, normalize: bool | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("dropout", 0.0)
        super().__init__(**kwargs)
        self.normalize = normalize

    def call(self, x: Any, mask: Any = None, training: bool | None = None) -> Any:
        """See `Head`."""
        if self.normalize is None:
            trunk = self.followed()
            self.normalize = True if trunk is None else trunk.normalize
        vectors = ops.cast(pool(x, self.pooling or "mean", mask), "float32")
        vectors = self.head_dropout(vectors, training=training)
        return ops.normalize(vectors, axis=-1) if self.normalize else vectors

    @property
    def units(self) -> int:
        """Width of the vectors."""
        return self.width

    def default_loss(self) -> Any:
        """None: what vectors are to be near to is the user's to say.

        Raises:
            InputError: Always, with what to do.
        """
        raise InputError(
            f"`loss`: the head `{self.name}` gives vectors and has no loss of its own. Pass one to "
            "compile, or let two vectors meet in a head that has one (kzoo.heads.Regress)."
        )

    def get_config(self) -> dict[str, Any]:
        """See `Head`."""
        return {**super().get_config(), "normalize": self.normalize}
