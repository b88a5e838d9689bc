"""Keeps the start-up chatter of TensorFlow's C++ code off the console."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Written before TensorFlow reads TF_CPP_MIN_LOG_LEVEL, so that no setting hides them.
_CHATTER = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog|I\d{4} |W\d{4} "
    rb"|E\d{4} .*(cuda|cuInit|cudart|cudnn|cublas|cufft)"
)


@contextmanager
def no_chatter() -> Iterator[None]:
    """Filters what native code writes to standard error; Python's own stream is not filtered.

    Information and warnings, and errors about an absent GPU, are dropped line by line; everything
    else is passed on. `--debug` does without, for the rare crash inside TensorFlow.
    """
    sys.stderr.flush()
    before = sys.stderr
    real = os.dup(2)
    reading, writing = os.pipe()
    os.dup2(writing, 2)
    os.close(writing)
    sys.stderr = os.fdopen(os.dup(real), "w", buffering=1, errors="backslashreplace")
    thread = threading.Thread(target=_pass_on, args=(reading, real), daemon=True)
    thread.start()
    try:
        yield
    finally:
        sys.stderr.flush()
        sys.stderr = before
        os.dup2(real, 2)  # closes the pipe, which ends the thread
        thread.join(timeout=1)


def _pass_on(reading: int, real: int) -> None:
    with os.fdopen(reading, "rb") as lines:
        for line in lines:
            if not _CHATTER.match(line):
                os.write(real, line)
