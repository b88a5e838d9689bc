"""The processes of fuzz_index.py, and what they do to an index."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import resource
import shutil
import signal
import time
import warnings
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from _durability_work import SlowEncoder
from _fuzz_samples import byte_defect, header_defect, json_defect, sql_defect

import retrieval_index
from retrieval_index import RetrievalIndexError
from retrieval_index.storage.durable import FileEntry, checksum
from retrieval_index.storage.manifest import Manifest

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["_durability_preload"])
QUERIES = ("bador0 kefim1", "logul2")
HEAD = ("format", "format_version", "checksum")


class Target:
    """One index and the file of it that is damaged.

    Args:
        kind: As in `kinds`.
        folder: Folder of the indexes, as `make` names them; this process alone uses it.
    """

    def __init__(self, kind: str, folder: Path) -> None:
        self.what, _, factory = kind.partition(":")
        self.path = folder / factory.replace(",", "_")
        self.manifest = self.path / "manifest.json"
        self.manifests = [self.manifest, self.path / "snapshots" / "first.json"]
        self.folder = folder
        body = json.loads(self.manifest.read_bytes())
        files = body["segments"][0]["files"]
        if self.what == "manifest":
            names = ["manifest.json"]
        elif self.what == "snapshot":
            names = [self.manifests[1].relative_to(self.path).as_posix()]
        elif self.what == "deleted":
            names = [body["segments"][0]["deleted"]["path"]]
        else:
            names = [entry["path"] for key, entry in files.items() if key.startswith(self.what)]
        self.files = [self.path / name for name in names]
        self.originals = {file: file.read_bytes() for file in [*self.files, *self.manifests]}

    def damage(self, random_: random.Random, signed: bool) -> Path | None:
        """Damages a file; returns it, or None if nothing changed."""
        file = random_.choice(self.files)
        data = self.originals[file]
        others = [self.originals[random_.choice(self.files)]]
        defects = [byte_defect(others), header_defect]
        if file.suffix == ".json" and signed:
            defects = [json_defect] if self.what != "lexical" else [*defects, json_defect]
        elif self.what == "documents" and signed:
            defects.append(sql_defect(self.folder))
        changed = random_.choice(defects)(data, random_)
        if changed == data:
            return None
        if signed and self.what in ("manifest", "snapshot"):
            try:
                changed = _signed(json.loads(changed))
            except (TypeError, AttributeError, RecursionError):
                return None
        _replace(file, changed)
        if signed and self.what not in ("manifest", "snapshot"):
            self._sign(file)
        return file

    def restore(self) -> None:
        """Puts the files back."""
        for file, data in self.originals.items():
            _replace(file, data)

    def _sign(self, file: Path) -> None:
        name = file.relative_to(self.path).as_posix()
        fresh = FileEntry.of(file, name)
        for manifest in self.manifests:  # the snapshot's names the same files
            body = json.loads(self.originals[manifest])
            for segment in body["segments"]:
                for entry in (*segment["files"].values(), segment["deleted"]):
                    if entry is not None and entry["path"] == name:
                        entry.update(size=fresh.size, sha256=fresh.sha256)
                        if self.what == "deleted":
                            segment["deleted_documents"] = max(1, fresh.size // 4)
            _replace(manifest, _signed(body))


def _signed(body: Any) -> bytes:
    body = {key: value for key, value in body.items() if key not in HEAD}
    head = {
        "format": Manifest.form,
        "format_version": Manifest.form_version,
        "checksum": checksum(body),
    }
    return json.dumps({**head, "checksum": checksum(body), **body}).encode()


def _replace(file: Path, data: bytes) -> None:
    # Never in place: an open index has the old file mapped.
    file.unlink(missing_ok=True)
    file.write_bytes(data)


def use(path: Path, snapshot: str | None) -> None:
    """Opens an index, searches it in every way, lists it, and verifies it."""
    encoder = SlowEncoder()
    # What verification says comes last, so that searches meet the damage first.
    with retrieval_index.open(path, encoder, snapshot=snapshot) as index:
        found = index.search_vectors(np.eye(16, dtype=np.float32)[:3], k=7)
        assert all(len(hits) <= 7 for hits in found)
        for mode in ("dense", "lexical", "hybrid"):
            index.search([*QUERIES], k=5, mode=mode)
        index.search(QUERIES[0], k=5, where={"half": 1})
        index.search(QUERIES[0], k=100, where={"n": {"$gte": 5}}, per_document=1)
        index.document("d7")
        list(index.documents())
        list(index.passages())
        index.info()
    retrieval_index.verify(path)


def case(kind: str, number: int, seed: int, target: Target) -> tuple[str, str]:
    """Runs one case; returns its outcome and a line about it."""
    random_ = random.Random(f"{seed} {kind} {number}")
    signed = number % 3 != 0
    file = None
    while file is None:
        file = target.damage(random_, signed)
    try:
        use(target.path, "first" if target.what == "snapshot" else None)
    except RetrievalIndexError as error:
        if not signed and file.name not in str(error):
            return "bad", f"{file.name} is not named: {error}"
        return "refused", str(error)
    except Exception as error:
        return "bad", f"{type(error).__name__}: {str(error)[:300]}"
    finally:
        target.restore()
    # A manifest may say the same in other white space, or write a number otherwise.
    if not signed and target.what not in ("manifest", "snapshot"):
        return "bad", f"damage of {file.name} was not noticed"
    return "clean", ""


def work(folder: Path, seed: int, cases: Any, results: Any, memory: float) -> None:
    """Runs cases (kind, number) until there are no more."""
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import faiss

    faiss.omp_set_num_threads(1)
    targets = {}
    limit = int((memory + 4) * 2**30)  # mapped libraries count too
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    while True:
        kind, number = cases.get()
        if kind is None:
            return
        if kind not in targets:
            targets[kind] = Target(kind, folder)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        outcome, detail = case(kind, number, seed, targets[kind])
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / 2**20
        if grown > memory:
            outcome, detail = "bad", f"took {grown:.1f} GiB; {outcome}: {detail}"
        results.put((kind, number, outcome, detail))


class Worker:
    """A process that runs cases, and is replaced when one of them ends it.

    Args:
        pristine: Folder of the indexes.
        folder: Where it keeps its own copy of them.
        options: Of the command line.
    """

    def __init__(self, pristine: Path, folder: Path, options: argparse.Namespace) -> None:
        self.pristine, self.folder, self.options = pristine, folder, options
        self.waiting: deque[tuple[str, int]] = deque()
        self.start()

    def start(self) -> None:
        """Starts a process, with queues of its own: a killed one may leave a queue locked."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.pristine, self.folder)
        self.cases, self.results = PROCESSES.SimpleQueue(), PROCESSES.SimpleQueue()
        options = self.options
        arguments = (self.folder, options.seed, self.cases, self.results, options.memory)
        self.process = PROCESSES.Process(target=work, args=arguments, daemon=True)
        self.process.start()
        self.since = time.monotonic()
        for case in self.waiting:
            self.cases.put(case)

    def give(self, case: tuple[str, int]) -> None:
        """Adds a case to those that wait."""
        if not self.waiting:
            self.since = time.monotonic()
        self.waiting.append(case)
        self.cases.put(case)

    def found(self) -> Iterator[tuple[str, int, str, str]]:
        """Yields what has ended since: kind, number, outcome, detail."""
        ended = not self.process.is_alive()  # before the queue is emptied
        while not self.results.empty():
            yield self.results.get()
            self.waiting.popleft()
            self.since = time.monotonic()
        late = time.monotonic() - self.since > self.options.slow
        if self.waiting and (ended or late):
            if not ended:
                self.process.kill()
            self.process.join()
            code = self.process.exitcode or 0
            if code == 1:
                raise SystemExit("a process of this script failed; see above")
            name = signal.Signals(-code).name if code < 0 else f"exit {code}"
            yield (*self.waiting.popleft(), "crash" if ended else "slow", name)
            self.start()

    def stop(self) -> None:
        """Lets the process end."""
        self.cases.put((None, 0))
        self.process.join()
