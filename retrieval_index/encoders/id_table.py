"""From document ids to rows, for many millions of ids."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from retrieval_index.errors import EncoderError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_BATCH = 65_536
NOT_FOUND = -1


class IdTable:
    """Finds the row of an id by a 128-bit hash of it.

    Takes 24 bytes an id, where a dict of str takes some 150. With 128 bits, two ids of a billion
    share a hash with a probability below 10**-20.

    Args:
        ids: The ids in the order of their rows; read once.

    Raises:
        EncoderError: If an id stands there twice.
    """

    def __init__(self, ids: Iterable[str]) -> None:
        import numpy as np

        iterator = iter(ids)
        parts = []
        digest = hashlib.sha256()
        while batch := list(islice(iterator, _BATCH)):
            hashes = _hashes(batch)
            digest.update(hashes.tobytes())
            parts.append(hashes)
        hashes = np.concatenate(parts) if parts else np.empty((0, 2), dtype="<u8")
        order = np.lexsort((hashes[:, 1], hashes[:, 0]))
        self._high, self._low = hashes[order, 0], hashes[order, 1]
        self._rows = order.astype(np.int64)
        self.digest = digest.hexdigest()
        same = (self._high[1:] == self._high[:-1]) & (self._low[1:] == self._low[:-1])
        if same.any():
            first = int(np.argmax(same))
            rows = sorted((int(order[first]), int(order[first + 1])))
            raise EncoderError(
                f"`ids` must be unique; rows {rows[0]} and {rows[1]} (from 0) have the same one, "
                f"and {int(same.sum())} rows in all repeat an earlier id."
            )

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self, ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """Returns the row of each id, int64 of shape (len(ids),); -1 where there is none."""
        import numpy as np

        found = np.full(len(ids), NOT_FOUND, dtype=np.int64)
        if not len(self) or not ids:
            return found
        wanted = _hashes(ids)
        places = np.searchsorted(self._high, wanted[:, 0])
        # Two ids may share the high half; the rows of one high half lie together.
        open_ones = np.arange(len(ids))
        while len(open_ones):
            inside = places[open_ones] < len(self)
            open_ones = open_ones[inside]
            here = places[open_ones]
            alike = self._high[here] == wanted[open_ones, 0]
            hit = alike & (self._low[here] == wanted[open_ones, 1])
            found[open_ones[hit]] = self._rows[here[hit]]
            open_ones = open_ones[alike & ~hit]
            places[open_ones] += 1
        return found


def _hashes(ids: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Returns the hashes as uint64 of shape (len(ids), 2)."""
    import numpy as np

    data = b"".join(
        hashlib.blake2b(each.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        for each in ids
    )
    halves: npt.NDArray[np.uint64] = np.frombuffer(data, dtype="<u8").reshape(-1, 2)
    return halves
