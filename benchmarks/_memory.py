"""Peak memory of this process."""

from __future__ import annotations

import resource
import sys
import threading
from pathlib import Path

STATUS = Path("/proc/self/status")
SAMPLED_EVERY = 0.05  # seconds


class PeakMemory:
    """Watches the memory of the process while the block runs.

    Attributes:
        resident: Peak in bytes of what is resident, mapped files included: the system takes those
            pages away as soon as another process wants them.
        anonymous: Peak in bytes without mapped files, sampled 20 times a second; None where the
            system does not tell.
        before: Resident bytes when the block began: the interpreter and its libraries.
    """

    def __init__(self) -> None:
        self.resident = 0
        self.anonymous: int | None = None
        self.before = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self.before = status("VmRSS") or 0
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()
        self.resident = peak_resident()

    def _watch(self) -> None:
        while not self._done.is_set():
            now = status("RssAnon")
            if now is None:
                return
            self.anonymous = max(self.anonymous or 0, now)
            self._done.wait(SAMPLED_EVERY)


def peak_resident() -> int:
    """Peak resident bytes of this process.

    Not `getrusage` where the system tells better: a child begins with its parent's peak there.
    """
    found = status("VmHWM")
    if found is not None:
        return found
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def status(key: str) -> int | None:
    """A size in bytes from the process's status file, or None where there is none."""
    if not STATUS.is_file():
        return None
    for line in STATUS.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0]) * 1024
    return None
