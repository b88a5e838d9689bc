"""Encoded vectors that survive a crash, shard by shard."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval_index.storage.durable import fsync_folder, write_json

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def digest_texts(texts: Iterable[str]) -> str:
    """Returns one hash for a sequence of texts; moving text across a border changes it."""
    digest = hashlib.sha256()
    for text in texts:
        data = text.encode("utf-8")
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()


class Shards:
    """Numbered arrays in a folder, each with a marker that says what it was encoded from.

    A shard is reused only if the texts at its place are the same texts. This needs no fingerprint
    of the corpus: files that were touched but not changed lose nothing, an entry changed in the
    middle costs the shards it moved, and a generator is treated like a file. Reading and chunking
    again is the price; it is small next to encoding.

    Args:
        folder: Where the shards lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def holds(self, number: int, texts_digest: str) -> bool:
        """Returns whether the shard is complete and was encoded from these texts."""
        try:
            marker = json.loads(self._marker(number).read_text(encoding="utf-8"))
            if marker["texts"] != texts_digest:
                return False
            vectors: str = marker["vectors"]
            return vectors == _sha256(self._array(number).read_bytes())
        except (OSError, ValueError, KeyError, TypeError):
            return False  # a marker or array cut short by a crash: as good as none

    def write(self, number: int, vectors: npt.NDArray[np.float32], texts_digest: str) -> None:
        """Writes a shard durably: first the vectors, then the marker that makes them count."""
        import numpy as np

        self._marker(number).unlink(missing_ok=True)
        buffer = io.BytesIO()
        np.save(buffer, vectors, allow_pickle=False)
        data = buffer.getvalue()
        path = self._array(number)
        temporary = path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        fsync_folder(self._folder)
        write_json(self._marker(number), {"texts": texts_digest, "vectors": _sha256(data)})

    def any(self) -> bool:
        """Returns whether at least one shard is complete."""
        return next(self._folder.glob("shard-*.json"), None) is not None

    def arrays(self, count: int) -> Iterator[npt.NDArray[np.float32]]:
        """Yields the first `count` shards, in order, one in memory at a time."""
        import numpy as np

        for number in range(count):
            yield np.load(self._array(number), allow_pickle=False)

    def _array(self, number: int) -> Path:
        return self._folder / f"shard-{number:06d}.npy"

    def _marker(self, number: int) -> Path:
        return self._folder / f"shard-{number:06d}.json"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
