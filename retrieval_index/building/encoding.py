"""The stage that turns passages into durable shards of vectors."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from retrieval_index.encoders.checked import check_vectors, encode_passages
from retrieval_index.pipelining import groups, read_ahead
from retrieval_index.storage.shards import Shards, digest_texts

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from retrieval_index.encoders.protocol import Encoder
    from retrieval_index.progress import BuildProgress


class Piece(NamedTuple):
    """What the encoder is given of a passage: its text, its document's id, its units."""

    text: str
    document_id: str
    units: int


class ShardEncoder:
    """Encodes passages shard by shard, passing over shards that an earlier run left complete.

    Args:
        encoder: A checked encoder.
        shards: Where the vectors go.
        shard_size: Passages in a shard; what is lost at most when the process is killed.
        batch_size: Texts in one call of the encoder.
        normalize: Whether vectors are scaled to length 1.
        progress: Told about finished passages.
    """

    def __init__(
        self,
        encoder: Encoder,
        shards: Shards,
        *,
        shard_size: int,
        batch_size: int,
        normalize: bool,
        progress: BuildProgress,
    ) -> None:
        self._encoder = encoder
        self._shards = shards
        self._shard_size = shard_size
        self._batch_size = batch_size
        self._normalize = normalize
        self._progress = progress
        # Vectors that exist already are looked up by the document, not by the text.
        self._by_document: Any = getattr(encoder, "encode_documents", None)
        self.count = 0
        self.encoded_chunks = 0
        self.reused_chunks = 0
        self.seconds = 0.0

    def run(self, pieces: Iterable[Piece]) -> None:
        """Consumes the passages; afterwards `count` shards hold their vectors, in order.

        Raises:
            EncoderError: If the encoder returns unusable vectors. Whatever the encoder raises
                itself passes through; finished shards stay.
        """
        with read_ahead(groups(pieces, self._shard_size)) as parts:
            for number, part in enumerate(parts):
                digest = digest_texts(self._key(piece) for piece in part)
                units = sum(piece.units for piece in part)
                if self._shards.holds(number, digest):
                    self.reused_chunks += len(part)
                    self._progress.passages(len(part), units)
                else:
                    self._shards.write(number, self._encode(part), digest)
                    self.encoded_chunks += len(part)
                self.count = number + 1

    def _key(self, piece: Piece) -> str:
        """What decides the vector of a passage."""
        return f"{piece.document_id}\n{piece.text}" if self._by_document else piece.text

    def _encode(self, pieces: list[Piece]) -> npt.NDArray[np.float32]:
        import numpy as np

        # Batches of like length carry little padding. The longest come first, so that a batch too
        # large for the memory fails at the start and not after an hour.
        order = sorted(range(len(pieces)), key=lambda i: (-len(pieces[i].text), i))
        vectors = np.empty((len(pieces), self._encoder.dimension), dtype=np.float32)
        for rows in groups(order, self._batch_size):
            begin = time.perf_counter()
            vectors[rows] = self._batch([pieces[row] for row in rows])
            self.seconds += time.perf_counter() - begin
            self._progress.passages(len(rows), sum(pieces[row].units for row in rows))
        return vectors

    def _batch(self, pieces: list[Piece]) -> npt.NDArray[np.float32]:
        texts = [piece.text for piece in pieces]
        if self._by_document is None:
            return encode_passages(self._encoder, texts, self._normalize)
        ids = [piece.document_id for piece in pieces]
        found = self._by_document(ids, texts)
        return check_vectors(found, self._encoder.dimension, ids, self._normalize)
