"""The stage that turns chunks into durable shards of vectors."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from retrieval_index.encoders.checked import encode_passages
from retrieval_index.storage.shards import Shards, digest_texts

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from retrieval_index.chunking.chunker import Chunk
    from retrieval_index.encoders.protocol import Encoder
    from retrieval_index.progress import BuildProgress

T = TypeVar("T")


class ShardEncoder:
    """Encodes chunks shard by shard, passing over shards that an earlier run left complete.

    Args:
        encoder: A checked encoder.
        shards: Where the vectors go.
        shard_size: Chunks in a shard; what is lost at most when the process is killed.
        batch_size: Texts in one call of the encoder.
        normalize: Whether vectors are scaled to length 1.
        progress: Told about finished chunks.
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
        self.count = 0
        self.encoded_chunks = 0
        self.reused_chunks = 0
        self.seconds = 0.0

    def run(self, chunks: Iterable[Chunk]) -> None:
        """Consumes the chunks; afterwards `count` shards hold their vectors, in order.

        Raises:
            EncoderError: If the encoder returns unusable vectors. Whatever the encoder raises
                itself passes through; finished shards stay.
        """
        for number, part in enumerate(groups(chunks, self._shard_size)):
            texts = [chunk.encoded for chunk in part]
            digest = digest_texts(texts)
            if self._shards.holds(number, digest):
                self.reused_chunks += len(texts)
                self._progress.chunks(len(texts))
            else:
                self._shards.write(number, self._encode(texts), digest)
                self.encoded_chunks += len(texts)
            self.count = number + 1

    def _encode(self, texts: list[str]) -> npt.NDArray[np.float32]:
        import numpy as np

        # Batches of like length carry little padding. The longest come first, so that a batch too
        # large for the memory fails at the start and not after an hour.
        order = sorted(range(len(texts)), key=lambda i: (-len(texts[i]), i))
        vectors = np.empty((len(texts), self._encoder.dimension), dtype=np.float32)
        for rows in groups(order, self._batch_size):
            begin = time.perf_counter()
            vectors[rows] = encode_passages(
                self._encoder, [texts[row] for row in rows], self._normalize
            )
            self.seconds += time.perf_counter() - begin
            self._progress.chunks(len(rows))
        return vectors


def groups(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yields lists of `size` items, the last one shorter."""
    iterator = iter(items)
    while part := list(islice(iterator, size)):
        yield part
