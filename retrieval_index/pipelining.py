"""Reading ahead: the next items are made in a thread while the last ones are worked on."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

T = TypeVar("T")

_END = object()
WAIT_SECONDS = 0.1


def groups(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yields lists of `size` items, the last one shorter."""
    iterator = iter(items)
    while part := list(islice(iterator, size)):
        yield part


@contextmanager
def read_ahead(items: Iterable[T], depth: int = 1) -> Iterator[Iterator[T]]:
    """Gives an iterator over the same items that a thread fetches up to `depth` ahead.

    Encoders leave Python to their own threads or to a GPU, and meanwhile the next texts are read,
    cut and stored. An exception in the thread is raised where the items are used. At the end of
    the `with`, however it comes, the thread has stopped.

    Args:
        items: What to iterate over; only the thread touches it.
        depth: Items held at most.
    """
    made: queue.Queue[Any] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def put(value: Any) -> bool:
        while not stopped.is_set():
            try:
                made.put(value, timeout=WAIT_SECONDS)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not put((item, None)):
                    return
        except BaseException as error:  # it is raised again where it is wanted
            put((None, error))
        else:
            put(_END)

    def results() -> Iterator[T]:
        while True:
            found = made.get()
            if found is _END:
                return
            item, error = found
            if error is not None:
                raise error
            yield item

    run = contextvars.copy_context().run
    thread = threading.Thread(target=run, args=(work,), name="read-ahead", daemon=True)
    thread.start()
    try:
        yield results()
    finally:
        stopped.set()
        thread.join()
