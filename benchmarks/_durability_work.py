"""What the processes of durability.py and readers.py do until they are killed."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import resource
import signal
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import retrieval_index
from retrieval_index.progress import BuildProgress
from retrieval_index.storage import commit as committing
from retrieval_index.storage import manifest as manifests

DIMENSION = 16
SHARD = 4
STEPS = ("replace", "fsync", "rmdir", "mkdir", "unlink")


class SlowEncoder:
    """A random but reproducible direction for each text; sleeps, and fails if told to."""

    max_tokens = None
    dimension = DIMENSION
    fingerprint = "slow-1"
    name = "slow:test"

    def __init__(self, delay: float = 0.0, fail_after: int | None = None) -> None:
        self.delay = delay
        self.fail_after = fail_after
        self.encoded = 0

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Returns a float32 row for each text."""
        if self.fail_after is not None and self.encoded + len(texts) > self.fail_after:
            raise RuntimeError("the encoder broke")
        self.encoded += len(texts)
        if self.delay:
            time.sleep(self.delay)
        return np.stack([self._vector(text) for text in texts])

    def _vector(self, text: str) -> npt.NDArray[np.float32]:
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
        return np.random.default_rng(seed).normal(size=DIMENSION).astype(np.float32)


def change(job: dict[str, Any], encoder: SlowEncoder) -> None:
    """Makes one change: `job` says which, where, and with what documents."""
    path, documents = Path(job["path"]), job.get("documents")
    settings = {"shard_size": SHARD, "batch_size": SHARD, "progress": True}
    kind = job["change"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # documents that are there already, when it is repeated
        if kind == "build":
            settings |= {"index": job["index"], "overwrite": job.get("overwrite", False)}
            retrieval_index.build(documents, path, encoder, **settings).close()
        elif kind == "add":
            retrieval_index.add(path, documents, encoder, **settings)
        elif kind == "update":
            retrieval_index.update(path, documents, encoder, **settings)
        elif kind == "delete":
            retrieval_index.delete(path, job["ids"], missing="ignore")
        elif kind == "compact":
            retrieval_index.compact(path)
        elif kind == "restore":
            retrieval_index.restore(path, job["name"])
        else:
            retrieval_index.merge([*job["paths"]], path, overwrite=True).close()


def work(job: dict[str, Any], stage: Any, fate: dict[str, Any]) -> None:
    """Runs a change in a process of its own, which ends as `fate` says.

    Args:
        job: As in `change`.
        stage: Shared memory of 64 bytes for the name of the stage it is in.
        fate: "delay" of the encoder, and one of: "step" (SIGKILL at that disk call, "after": after
            it), "full" (from that disk call on, the disk is full), "bytes" (no file may grow
            beyond), "fail_after" (texts until the encoder raises), or none.
    """
    tell = _teller(stage)
    tell("opening")
    BuildProgress.stage = lambda self, what: tell(what.split(" ")[0])  # type: ignore[method-assign]
    _wrap(committing, "_move", lambda: tell("commit"))
    _wrap(manifests.Manifest, "write", lambda: tell("commit"))
    _wrap(committing, "collect_garbage", lambda: tell("clearing"))
    encoder = SlowEncoder(fate.get("delay", 0.0), fate.get("fail_after"))
    encode = encoder.encode
    encoder.encode = lambda texts: (tell("encoding"), encode(texts))[1]  # type: ignore[method-assign]
    if "step" in fate:
        _at_disk_call(fate["step"], lambda: os.kill(os.getpid(), signal.SIGKILL), fate["after"])
    if "full" in fate:
        _at_disk_call(fate["full"], _disk_full, False)
    if "bytes" in fate:
        resource.setrlimit(resource.RLIMIT_FSIZE, (fate["bytes"], resource.RLIM_INFINITY))
    if "count" in fate:
        counted = fate["count"]
        _at_disk_call(-1, lambda: None, False, counted)
    failed = False
    try:
        change(job, encoder)
    except BaseException as error:
        failed = True
        if "delay" in fate and not {"full", "bytes", "fail_after"} & set(fate):
            tell(f"! {type(error).__name__}: {error}")
    if not failed:
        tell("finished")
    os._exit(3 if failed else 0)  # no threads are waited for


def _teller(stage: Any) -> Callable[[str], None]:
    def tell(what: str) -> None:
        stage.value = what.encode()[:63]

    return tell


def _wrap(owner: Any, name: str, before: Callable[[], None]) -> None:
    real = getattr(owner, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        before()
        return real(*args, **kwargs)

    setattr(owner, name, call)


def _at_disk_call(number: int, act: Callable[[], None], after: bool, counter: Any = None) -> None:
    calls = 0

    def wrapped(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if counter is not None:
                counter.value = calls
            if calls >= number > 0 and not after:
                act()
            found = real(*args, **kwargs)
            if calls >= number > 0 and after:
                act()
            return found

        return call

    for name in STEPS:
        setattr(os, name, wrapped(getattr(os, name)))


def _disk_full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Any:
    """Mounts a file system of `size` bytes, where that is allowed; gives whether it was.

    Real `ENOSPC`: every write, of SQLite and FAISS too, fails when it is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    libc = ctypes.CDLL(None, use_errno=True)
    place = os.fsencode(folder)
    done = libc.mount(b"tmpfs", place, b"tmpfs", 0, f"size={size}".encode()) == 0
    try:
        yield done
    finally:
        if done:
            libc.umount2(place, 2)
