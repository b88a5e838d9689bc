"""Which rows a search may return."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retrieval_index.errors import ArgumentError
from retrieval_index.vectors.library import load_faiss

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class RowMask:
    """Rows that may be returned, with what a search derives from them.

    A search makes one of a plain array; make it once and pass it to many searches where the rows
    stay the same, such as all that are not deleted.

    Args:
        allowed: bool of shape (count,). Not copied: leave it as it is.
    """

    def __init__(self, allowed: npt.NDArray[np.bool_]) -> None:
        import numpy as np

        array = np.asarray(allowed)
        if array.ndim != 1 or array.dtype != np.bool_:
            raise ArgumentError(
                f"`allowed` must be bool of shape (count,); received: {array.dtype} of shape "
                f"{array.shape}."
            )
        self.allowed: npt.NDArray[np.bool_] = array
        self.count = int(np.count_nonzero(array))
        self._bits: npt.NDArray[np.uint8] | None = None
        self._numbers: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.allowed)

    def selector(self) -> Any:
        """Returns a FAISS selector of these rows, one for each search: FAISS marks who owns it."""
        import numpy as np

        faiss = load_faiss()
        if self._bits is None:  # two threads at once make two equal ones: harmless
            self._bits = np.packbits(self.allowed, bitorder="little")
        return faiss.IDSelectorBitmap(self._bits)

    def numbers(self) -> npt.NDArray[np.int64]:
        """Returns the numbers of these rows, ascending, int64 of shape (self.count,)."""
        import numpy as np

        if self._numbers is None:
            self._numbers = np.flatnonzero(self.allowed).astype(np.int64, copy=False)
        return self._numbers


def as_mask(allowed: npt.NDArray[np.bool_] | RowMask | None, count: int) -> RowMask | None:
    """Returns the mask of an argument `allowed`; None if it allows every row."""
    if allowed is None:
        return None
    mask = allowed if isinstance(allowed, RowMask) else RowMask(allowed)
    if len(mask) != count:
        raise ArgumentError(f"`allowed` must be of shape ({count},); received: ({len(mask)},).")
    return None if mask.count == count else mask
