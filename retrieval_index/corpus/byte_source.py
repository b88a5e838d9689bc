"""Files as bytes, through gzip and Zstandard; and how much of a corpus was read."""

from __future__ import annotations

import gzip
import io
import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from importlib import import_module
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from retrieval_index.errors import CorpusError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


# Import name -> what to install.
EXTRA = 'pip install "kzoo[documents]"'
DISTRIBUTIONS = {
    "pypdf": "pypdf",
    "pyarrow": "pyarrow",
    "pyarrow.parquet": "pyarrow",
    "zstandard": "zstandard",
}


def needed(module: str, path: object) -> Any:
    """Returns a module that is imported when the first file asks for it.

    Args:
        module: Import name, a key of `DISTRIBUTIONS`.
        path: The file, for the message.

    Raises:
        CorpusError: If the package is not installed; names the command.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise CorpusError(
            f"`corpus` {path} can only be read with the package {DISTRIBUTIONS[module]}, which "
            f"cannot be imported ({error}). Install it: {EXTRA}"
        ) from error


GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
COMPRESSED_SUFFIXES = (".gz", ".zst")
# What reading may raise; gzip.BadGzipFile and DamagedStreamError are OSErrors.
READ_ERRORS = (OSError, EOFError, zlib.error)
# A block of a zstd frame unfolds to at most 128 KiB and may be 4 bytes long, so this many bytes of
# input are never more than 32 MiB of output.
ZSTD_STEP = 1024
MAX_ZSTD_WINDOW = 128 << 20  # what the zstd program itself accepts without --long


class DamagedStreamError(OSError):
    """A compressed stream is damaged."""


class TooLargeError(Exception):
    """A file unfolds to more bytes than allowed."""


class ZstdStream(io.RawIOBase):
    """The bytes of a Zstandard file of one or more frames.

    zstandard's own `stream_reader` ends a truncated file without a word; this one says so.

    Args:
        file: The compressed file.
        path: Its path, for messages.
    """

    def __init__(self, file: IO[bytes], path: Path) -> None:
        zstandard = needed("zstandard", path)
        self._file = file
        self._error: type[Exception] = zstandard.ZstdError
        self._context = zstandard.ZstdDecompressor(max_window_size=MAX_ZSTD_WINDOW)
        self._frame: Any = None
        self._input = b""
        self._output = memoryview(b"")

    def readable(self) -> bool:
        """Returns True."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fills `buffer` as far as possible; returns 0 at the end.

        Raises:
            DamagedStreamError: If the stream is damaged.
            EOFError: If it is cut off.
        """
        while not self._output:
            if not self._input:
                self._input = self._file.read(ZSTD_STEP)
                if not self._input:
                    if self._frame is not None:
                        raise EOFError("the Zstandard stream is cut off")
                    return 0
            self._output = memoryview(self._step())
        target = memoryview(buffer).cast("B")
        count = min(len(target), len(self._output))
        target[:count] = self._output[:count]
        self._output = self._output[count:]
        return count

    def _step(self) -> bytes:
        if self._frame is None:
            self._frame = self._context.decompressobj()
        data, self._input = self._input, b""
        try:
            output = cast(bytes, self._frame.decompress(data))
        except self._error as error:
            raise DamagedStreamError(f"the Zstandard stream is damaged ({error})") from error
        if self._frame.eof:
            self._input, self._frame = self._frame.unused_data, None
        return output


@contextmanager
def open_bytes(path: Path) -> Iterator[io.BufferedIOBase]:
    """Opens a file; what begins as gzip or Zstandard is decompressed, whatever its suffix.

    Yields:
        A buffered binary file, read forwards only.

    Raises:
        OSError: If the file cannot be opened.
        CorpusError: If the package zstandard is needed and not installed.
    """
    with ExitStack() as stack:
        file = stack.enter_context(path.open("rb"))
        stack.enter_context(watched(file))
        head = file.peek(4)[:4]
        if head.startswith(GZIP_MAGIC):
            yield stack.enter_context(gzip.GzipFile(fileobj=file))
        elif head == ZSTD_MAGIC:
            stream = stack.enter_context(ZstdStream(file, path))
            yield stack.enter_context(io.BufferedReader(stream, 1 << 16))
        else:
            yield file


@contextmanager
def open_seekable(path: Path, limit: int | None = None) -> Iterator[IO[bytes]]:
    """Opens a file for reading in any order; a compressed one is unfolded on disk first.

    Args:
        path: The file.
        limit: Most bytes that are unfolded. Default: no limit but the disk.

    Raises:
        OSError, EOFError, zlib.error: If it cannot be opened or is damaged.
        TooLargeError: If there is more than `limit`.
    """
    with open_bytes(path) as file:
        if isinstance(file, io.BufferedReader) and isinstance(file.raw, io.FileIO):
            yield file
            return
        # It has no name, so nothing is left of it after a crash.
        with tempfile.TemporaryFile() as unfolded:
            size = 0
            while block := file.read(1 << 20):
                size += len(block)
                if limit is not None and size > limit:
                    raise TooLargeError
                unfolded.write(block)
            unfolded.seek(0)
            yield cast("IO[bytes]", unfolded)


def read_at_most(file: io.BufferedIOBase, limit: int) -> bytes:
    """Returns what is left of `file`.

    Raises:
        TooLargeError: If that is more than `limit` bytes.
    """
    blocks: list[bytes] = []
    size = 0
    while block := file.read(1 << 20):
        size += len(block)
        if size > limit:
            raise TooLargeError
        blocks.append(block)
    return b"".join(blocks)


def unreadable(path: object, error: BaseException) -> CorpusError:
    """Returns the error for a file whose rest is lost, which is one even when not strict."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return CorpusError(f"`corpus` {path} cannot be read to its end: {reason.rstrip('.')}.")


_CURRENT: ContextVar[ReadMeter | None] = ContextVar("retrieval_index_meter", default=None)


class ReadMeter:
    """Counts bytes of files, or items, as a reader goes through them.

    Readers find the meter of their reading by `watched` and `counted`, so that they need not be
    handed one; without `active` nothing is counted.

    Args:
        total: Bytes or items there are; None: unknown.
    """

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._done = 0
        self._file: Any = None

    def fraction(self) -> float | None:
        """Returns the share that was read, or None where it is unknown."""
        if not self._total:
            return None
        done = self._done
        try:
            # May be asked from another thread than the one that reads, and closes, the file.
            done += self._file.tell() if self._file is not None else 0
        except (ValueError, OSError):
            done = self._done
        return min(1.0, done / self._total)

    @contextmanager
    def active(self) -> Iterator[ReadMeter]:
        """Makes it the meter of what is read inside the `with`."""
        token = _CURRENT.set(self)
        try:
            yield self
        finally:
            _CURRENT.reset(token)

    @contextmanager
    def _watching(self, file: IO[bytes]) -> Iterator[None]:
        outer, self._file = self._file, file
        try:
            yield
        finally:
            self._file = outer
            self._done += os.fstat(file.fileno()).st_size if outer is None else 0


@contextmanager
def watched(file: IO[bytes]) -> Iterator[None]:
    """Counts a file, opened as it lies on the disk, as far as it is read."""
    meter = _CURRENT.get()
    if meter is None:
        yield
        return
    with meter._watching(file):
        yield


def counted() -> None:
    """Counts one item."""
    meter = _CURRENT.get()
    if meter is not None:
        meter._done += 1


def bytes_of_files(paths: Iterable[os.PathLike[str]]) -> int:
    """Returns how large files are together; those that cannot be looked at count nothing."""
    total = 0
    for path in paths:
        try:
            total += os.stat(path).st_size
        except OSError:
            continue
    return total
