"""Where the seconds of a build go: functions of the package, timed without changing them."""

from __future__ import annotations

import functools
import inspect
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any


class StageClock:
    """Counts wall seconds of functions by stage; of nested ones, only the innermost is counted.

    Each thread has its own clock of what it is in; the sums are shared. Use it as a context: the
    functions are themselves again afterwards.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._lock = threading.Lock()
        self._here = threading.local()
        self._replaced: list[tuple[Any, str, Any]] = []

    def time(self, owner: Any, name: str, stage: str) -> None:
        """Times a function or generator function `name` of a module or class as `stage`."""
        original = inspect.getattr_static(owner, name)
        plain = original.__func__ if isinstance(original, classmethod) else original
        make = self._generator if inspect.isgeneratorfunction(plain) else self._function
        timed = make(plain, stage)
        self._replaced.append((owner, name, original))
        setattr(owner, name, classmethod(timed) if isinstance(original, classmethod) else timed)

    def __enter__(self) -> StageClock:
        return self

    def __exit__(self, *error: object) -> None:
        for owner, name, original in reversed(self._replaced):
            setattr(owner, name, original)
        self._replaced.clear()

    def _function(self, function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def timed(*args: Any, **options: Any) -> Any:
            self._enter(stage)
            try:
                return function(*args, **options)
            finally:
                self._leave()

        return timed

    def _generator(self, function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def timed(*args: Any, **options: Any) -> Iterator[Any]:
            items = function(*args, **options)
            while True:
                self._enter(stage)
                try:
                    item = next(items)
                except StopIteration:
                    return
                finally:
                    self._leave()
                yield item

        return timed

    def _enter(self, stage: str) -> None:
        stack = self._stack()
        now = time.perf_counter()
        if stack:
            self._count(stack[-1][0], now - stack[-1][1])
        stack.append((stage, now))

    def _leave(self) -> None:
        stack = self._stack()
        stage, since = stack.pop()
        now = time.perf_counter()
        self._count(stage, now - since)
        if stack:
            stack[-1] = (stack[-1][0], now)

    def _stack(self) -> list[tuple[str, float]]:
        if not hasattr(self._here, "stack"):
            self._here.stack = []
        found: list[tuple[str, float]] = self._here.stack
        return found

    def _count(self, stage: str, seconds: float) -> None:
        with self._lock:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds


def time_build(clock: StageClock, *, documents: bool = True) -> None:
    """Times the stages of `retrieval_index.build`.

    Args:
        clock: Counts.
        documents: Whether what is called for each document is timed too, which costs some
            microseconds each time: half a minute for a million tiny documents.
    """
    from retrieval_index.building import builder, vectors_stage
    from retrieval_index.building.intake import Intake
    from retrieval_index.building.segment_building import ShardEncoder
    from retrieval_index.chunking.chunker import Chunker
    from retrieval_index.lexical.writer import LexicalWriter
    from retrieval_index.storage import commit
    from retrieval_index.storage.document_store import DocumentWriter
    from retrieval_index.storage.segment_files import ChunkTableWriter
    from retrieval_index.storage.workspace import Shards
    from retrieval_index.vectors import filling

    each = (
        (Intake, "accepted", "reading"),
        (Chunker, "split_many", "chunking"),
        (DocumentWriter, "holds_text", "document store"),
        (DocumentWriter, "add", "document store"),
        (DocumentWriter, "heading", "document store"),
        (ChunkTableWriter, "add", "passage table"),
        (LexicalWriter, "add", "BM25: words"),
    )
    whole = (
        (DocumentWriter, "finish", "document store: end"),
        (LexicalWriter, "finish", "BM25: scores"),
        (ShardEncoder, "_batch", "encoder"),
        (Shards, "write", "shards: writing"),
        (Shards, "arrays", "shards: reading"),
        (filling, "sample_rows", "FAISS: sample"),
        (filling, "train_index", "FAISS: training"),
        (vectors_stage, "write_vectors", "FAISS: adding"),
        (filling, "write_index", "FAISS: writing"),
        (vectors_stage, "write_raw", "raw vectors"),
        (vectors_stage.VectorsStage, "measure", "tuning and measuring"),
        (commit, "describe_files", "checksums"),
        (builder, "commit", "commit"),
        (builder, "open_index", "opening"),
    )
    for owner, name, stage in (*(each if documents else ()), *whole):
        clock.time(owner, name, stage)
