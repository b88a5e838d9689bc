"""Queries that measure the finished index, as a build on one machine makes them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval_index.building.measurement import sample_sentences
from retrieval_index.distributed.plan import Plan, index_options
from retrieval_index.encoders.checked import encode_queries
from retrieval_index.encoders.registry import resolve_encoder
from retrieval_index.errors import EncoderError, EncoderMismatchError, RetrievalIndexWarning

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from retrieval_index.encoders.protocol import Encoder


class SentenceQueries:
    """Encodes sentences of the documents, which needs the encoder of the parts.

    Args:
        plan: The plan of the parts.
        encoder: The encoder, or its name; None: the name in the plan.

    Attributes:
        given: The encoder for opening the index; None: to be found by its name.

    Raises:
        EncoderMismatchError: If an encoder was given that is not the one of the parts.
        EncoderError: If one was given that cannot be found.
    """

    def __init__(self, plan: Plan, encoder: str | Encoder | None) -> None:
        self._plan = plan
        self.given = None if encoder is None else self._same(resolve_encoder(encoder))

    def __call__(self, folder: Path, count: int) -> npt.NDArray[np.float32] | None:
        """Returns vectors of up to `count` sentences, or None where there are none.

        Args:
            folder: The segment, with finished documents and passages.
            count: Sentences wanted.
        """
        encoder = self.given or self._found()
        if encoder is None or getattr(encoder, "encode_documents", None) is not None:
            return None
        sentences = sample_sentences(folder, count, index_options(self._plan).seed)
        if not sentences:
            return None
        return encode_queries(encoder, sentences, self._plan.encoder.normalize)

    def _found(self) -> Encoder | None:
        """Returns the encoder of the parts; passages can stand in where it is not here."""
        try:
            return self._same(resolve_encoder(self._plan.encoder.name))
        except EncoderError as error:
            warnings.warn(
                "`encoder`: the index is measured with passages as queries instead of sentences, "
                f"because its encoder is not here. {error}",
                RetrievalIndexWarning,
                stacklevel=2,
            )
            return None

    def _same(self, encoder: Encoder) -> Encoder:
        wanted = self._plan.encoder
        if (encoder.dimension, encoder.fingerprint) != (wanted.dimension, wanted.fingerprint):
            raise EncoderMismatchError(
                f"`encoder` must be the one of the parts: {wanted.name}, dimension "
                f"{wanted.dimension}, fingerprint {wanted.fingerprint}; received {encoder.name}, "
                f"dimension {encoder.dimension}, fingerprint {encoder.fingerprint}."
            )
        return encoder
