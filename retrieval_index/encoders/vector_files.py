"""Files of vectors whose rows can be read in any order without loading them all."""

from __future__ import annotations

import hashlib
import mmap
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval_index.errors import EncoderError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# A file up to this size is hashed whole; of a larger one, 4,096 blocks evenly spread, its first and
# last bytes among them. 256 MB take less than a second, which opening an index may cost.
HASHED_WHOLE = 2**28
BLOCK = 2**16
# Pages of a mapped file count as memory of the process until they are given back.
GIVE_BACK_AFTER = 2**26
FAULT_AROUND = 2**16  # what Linux maps around an address when it is first touched


class VectorRows:
    """Rows of float vectors in a mapped file.

    Args:
        array: Mapped array of shape (rows, dimension), float32 or float16.
    """

    def __init__(self, array: Any) -> None:
        self._array = array
        self._touched = 0

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, dimension)."""
        return int(self._array.shape[0]), int(self._array.shape[1])

    def read(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Returns rows as float32 of shape (len(rows), dimension)."""
        import numpy as np

        order = np.argsort(rows, kind="stable")
        vectors = np.empty((len(rows), self.shape[1]), dtype=np.float32)
        vectors[order] = self._array[rows[order]]
        if len(rows):
            row_size = self.shape[1] * self._array.dtype.itemsize
            stretch = int(rows.max() - rows.min() + 1) * row_size
            self._touched += min(stretch, len(rows) * (row_size + FAULT_AROUND))
        mapped = getattr(self._array, "_mmap", None)
        if self._touched > GIVE_BACK_AFTER and mapped is not None and hasattr(mapped, "madvise"):
            mapped.madvise(mmap.MADV_DONTNEED)
            self._touched = 0
        return vectors


def open_npy(path: Path) -> VectorRows:
    """Returns the rows of a .npy file, which is mapped and not loaded.

    Raises:
        EncoderError: If it is no readable array of shape (rows, dimension), float32 or float16.
    """
    import numpy as np

    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise EncoderError(f"`vectors` {path} is no readable .npy file: {error}") from error
    shape = getattr(array, "shape", None)
    if shape is None or len(shape) != 2 or 0 in shape or array.dtype.str[1:] not in ("f4", "f2"):
        received = f"{array.dtype} of shape {shape}" if shape is not None else "an archive"
        raise EncoderError(
            f"`vectors` {path} must hold float32 or float16 of shape (rows, dimension); received "
            f"{received}. numpy.save(path, array.astype('float32')) writes such a file."
        )
    return VectorRows(array)


class ParquetVectors:
    """A Parquet file with a column of ids and one of vectors.

    Args:
        path: The file.
        id_column: Column of the ids, strings or whole numbers. Default: "_id", "id", "doc_id" or
            "docid", whichever there is.
        vector_column: Column of the vectors: lists of floats, fixed in size or not. Default: the
            only column of this kind.

    Raises:
        EncoderError: If pyarrow is not installed, or the file or a column is not as it must be.
    """

    def __init__(self, path: Path, id_column: str | None, vector_column: str | None) -> None:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError as error:
            raise EncoderError(
                f"`vectors` {path} needs pyarrow, which cannot be imported ({error}). "
                "Run: pip install pyarrow"
            ) from error
        try:
            self._file = pq.ParquetFile(path, memory_map=True)
        except (OSError, pa.ArrowException) as error:
            raise EncoderError(f"`vectors` {path} is no readable Parquet file: {error}") from error
        self.path = path
        schema = self._file.schema_arrow
        lists = [field.name for field in schema if _holds_floats(pa, field.type)]
        self.vector_column = self._column(vector_column, lists, "vector_column", schema.names)
        named = [name for name in ("_id", "id", "doc_id", "docid") if name in schema.names][:1]
        self._id_choice, self._id_names = id_column, named
        self.shape = (int(self._file.metadata.num_rows), self._dimension())

    def ids(self) -> Iterator[Any]:
        """Yields the ids, streamed by row groups."""
        names = self._file.schema_arrow.names
        allowed = names if self._id_choice is not None else self._id_names
        column = self._column(self._id_choice, allowed, "id_column", names)
        for batch in self._file.iter_batches(columns=[column]):
            yield from batch.column(0).to_pylist()

    def open(self) -> VectorRows:
        """Returns the vectors as rows that can be read in any order.

        Parquet cannot be read row by row, so they are streamed into a temporary file, which
        vanishes with the process; it is as large as the vectors and memory stays small.

        Raises:
            EncoderError: If a vector is null, or not as long as the first.
        """
        import numpy as np

        # The mapping keeps the file alive beyond this block.
        with tempfile.TemporaryFile(prefix="retrieval_index-") as scratch:
            written = 0
            for batch in self._file.iter_batches(batch_size=8192, columns=[self.vector_column]):
                numbers = self._numbers(batch.column(0), written)
                scratch.write(numbers.tobytes())
                written += len(batch)
            scratch.flush()
            return VectorRows(np.memmap(scratch, np.float32, "r", shape=self.shape))

    def _numbers(self, column: Any, row: int) -> npt.NDArray[np.float32]:
        """Returns the numbers of a part of the column, which begins at a row."""
        import numpy as np

        dimension = self.shape[1]
        values = column.flatten()
        fits = len(values) == dimension * len(column)
        if hasattr(column, "value_lengths"):  # else they are of one size by type
            lengths = column.value_lengths()
            fits = fits and lengths.null_count == 0
            fits = fits and bool((np.asarray(lengths) == dimension).all())
        if not fits or column.null_count or values.null_count:
            raise EncoderError(
                f"`vectors` {self.path}: each row of {self.vector_column!r} must hold {dimension} "
                f"numbers as the first does; one of the rows {row} to {row + len(column) - 1} "
                "(from 0) does not."
            )
        numbers: npt.NDArray[np.float32] = values.to_numpy(zero_copy_only=False).astype(np.float32)
        return numbers

    def _dimension(self) -> int:
        for batch in self._file.iter_batches(batch_size=1, columns=[self.vector_column]):
            if len(batch):
                first = batch.column(0)[0].as_py()
                if first:
                    return len(first)
                break
        raise EncoderError(
            f"`vectors` {self.path} must have at least one row, and the first a vector in the "
            f"column {self.vector_column!r}."
        )

    def _column(self, asked: str | None, found: list[str], argument: str, names: list[str]) -> str:
        if asked is not None and asked in found:
            return asked
        if asked is None and len(found) == 1:
            return found[0]
        problem = f"it is {asked!r}" if asked is not None else f"candidates are {found}"
        raise EncoderError(
            f"`{argument}` must name a column of {self.path} with "
            f"{'lists of floats' if argument == 'vector_column' else 'ids'}; {problem}, and the "
            f"columns are {names}."
        )


def _holds_floats(pa: Any, kind: Any) -> bool:
    is_list = (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )
    return is_list and bool(pa.types.is_floating(kind.value_type))


def sampled_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file's size and content; beyond 256 MB, of evenly spread blocks."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        if size <= HASHED_WHOLE:
            while block := file.read(2**20):
                digest.update(block)
        else:
            blocks = HASHED_WHOLE // BLOCK
            for number in range(blocks):
                file.seek((size - BLOCK) * number // (blocks - 1))
                digest.update(file.read(BLOCK))
    return digest.hexdigest()
