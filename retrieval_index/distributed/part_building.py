"""Building one part of an index: which documents it takes, and what is made of them."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from retrieval_index.building.builder import first_manifest, make_report, warn_of_problems
from retrieval_index.building.intake import Intake
from retrieval_index.building.recipe import Recipe, shard_plan
from retrieval_index.building.segment_building import build_segment
from retrieval_index.corpus.document import Document, Entry, ProblemLog
from retrieval_index.corpus.opening import open_corpus
from retrieval_index.distributed.plan import (
    Place,
    Plan,
    build_options,
    part_name,
    part_recipe,
    plan_of,
    planned_recipe,
)
from retrieval_index.distributed.record import PartRecord, finished_part, read_record
from retrieval_index.errors import ArgumentError
from retrieval_index.progress import BuildProgress
from retrieval_index.report import BuildReport
from retrieval_index.storage.commit import commit
from retrieval_index.storage.segment_files import segment_name
from retrieval_index.storage.workspace import Workspace, as_folder

if TYPE_CHECKING:
    from retrieval_index.corpus.opening import Corpus
    from retrieval_index.encoders.protocol import Encoder
    from retrieval_index.storage.document_store import DocumentWriter


class CorpusPart:
    """Every `shard_num`-th usable document of a corpus, beginning with number `shard_id`.

    The whole corpus is read, and what a build on one machine would turn away is turned away here:
    a part must know the ids and texts of the documents of the others. So document i of the
    finished index is document i // shard_num of part i % shard_num.

    Args:
        corpus: The whole.
        shard_id: Which part, from 0.
        shard_num: How many parts there are.
        skip_repeated: Whether a text that came before under another id is turned away.

    Attributes:
        documents: Usable documents of the whole corpus, once it was read.
        digest: Hash of their ids, titles, texts and metadata in order: the same for all parts,
            unless the corpus changed in between or is not the same everywhere.
        repeated_texts: Documents of the corpus whose text came before under another id.
    """

    def __init__(
        self, corpus: Corpus, shard_id: int, shard_num: int, *, skip_repeated: bool
    ) -> None:
        self._corpus = corpus
        self._shard_id = shard_id
        self._shard_num = shard_num
        self._skip_repeated = skip_repeated
        self.documents = 0
        self.digest = ""
        self.repeated_texts = 0

    def size(self) -> int | None:
        """Returns the size of the whole, all of which is read."""
        return self._corpus.size()

    @property
    def description(self) -> str:
        """What is read, for reports."""
        return self._corpus.description

    def read(self, log: ProblemLog) -> Iterator[Entry]:
        """Yields the documents of the part; all problems of the corpus are logged."""
        state = hashlib.blake2b(digest_size=16)
        number = 0
        with Seen() as seen:
            # It asks the store for no more than what `Seen` can answer.
            store = cast("DocumentWriter", seen)
            intake = Intake(self._skip_repeated, store, log, BuildProgress(False), None)
            for document in intake.accepted(self._corpus.read(log)):
                state.update(_fingerprint(document))
                if number % self._shard_num == self._shard_id:
                    # What is left has no problems, so that nobody asks for its place.
                    yield Entry(document, "")
                number += 1
        self.documents = number
        self.digest = state.hexdigest()
        self.repeated_texts = intake.repeated_texts


class Seen:
    """The ids and text digests of all documents so far, on the disk: no set of them grows."""

    def __init__(self) -> None:
        # "" is a temporary file that SQLite removes itself. The thread that reads ahead uses it.
        self._connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._connection.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
            "CREATE TABLE ids (id TEXT PRIMARY KEY) WITHOUT ROWID;"
            "CREATE TABLE texts (digest BLOB PRIMARY KEY) WITHOUT ROWID;"
        )

    def holds_text(self, document: Document) -> bool:
        """Returns whether a document with the same title and text was added."""
        sql = "SELECT 1 FROM texts WHERE digest = ?"
        return self._connection.execute(sql, (document.digest,)).fetchone() is not None

    def add(self, document: Document) -> bool:
        """Notes a document; returns False, and notes nothing, if its id was added before."""
        sql = "INSERT OR IGNORE INTO ids VALUES (?)"
        if self._connection.execute(sql, (document.id,)).rowcount == 0:
            return False
        self._connection.execute("INSERT OR IGNORE INTO texts VALUES (?)", (document.digest,))
        return True

    def __enter__(self) -> Seen:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()


def _fingerprint(document: Document) -> bytes:
    metadata = json.dumps(dict(document.metadata), sort_keys=True)
    inner = hashlib.blake2b(document.digest, digest_size=16)
    for text in (document.id, metadata):
        data = text.encode("utf-8", "surrogatepass")
        inner.update(len(data).to_bytes(8, "little"))
        inner.update(data)
    return inner.digest()


@dataclass(frozen=True, slots=True)
class Part:
    """A finished part of an index.

    Attributes:
        path: Its folder, an index by itself; absent when the part has no document.
        shard_id: Which part, from 0.
        shard_num: Of how many.
        report: What was read and passed over, and how long it took. Skipped entries and
            repeated texts are those of the whole corpus, documents and passages those of the part.
        done_before: Whether it was finished already and this call did nothing.
    """

    path: Path
    shard_id: int
    shard_num: int
    report: BuildReport
    done_before: bool


def build_part(
    corpus: str | os.PathLike[str] | Iterable[Document | Mapping[str, Any] | tuple[str, str] | str],
    out: str | os.PathLike[str],
    encoder: str | Encoder | None = None,
    *,
    shard_id: int,
    shard_num: int,
    progress: bool = True,
    **options: Any,
) -> Part:
    """Encodes one part of a corpus; `finish` makes the index of all parts.

    Run it once for each `shard_id`, anywhere and in any order, with the same corpus, encoder and
    options. It may be run again at any time: a finished part is left as it is, and one that was
    broken off continues at its last complete shard. Every run reads the whole corpus and encodes
    every `shard_num`-th document, so that parts are of one size whatever the corpus is.

    The part lies at `<out>.parts/part-00002-of-00008`; that folder must be on a file system that
    all machines share, or its content be copied together before `finish`.

    Args:
        corpus: As in `retrieval_index.build`; it must yield the same documents in the same order
            everywhere.
        out: Folder of the finished index.
        encoder: As in `retrieval_index.build`.
        shard_id: Which part, from 0.
        shard_num: How many parts there are, at most 99,999.
        progress: Whether to show a progress line when standard error is a terminal.
        **options: As in `retrieval_index.build`: `chunking`, `index`, `language`, `shard_size`, ...

    Returns:
        The part.

    Raises:
        ArgumentError: If an option is out of range or unknown, or if another part that lies there
            was built with others.
        IndexExistsError: If something else lies where the part goes.
        CorpusError: If the corpus is missing or unreadable, or has an unusable entry and `strict`.
        EncoderError: If the encoder cannot be found or returns unusable vectors.
        BuildLockedError: If another process is building the same part.
        CorruptIndexError: If the record of a part is damaged.
    """
    began = time.perf_counter()
    wanted = build_options(options)
    place = Place(as_folder(out, "out"), shard_id, shard_num)
    source = open_corpus(
        corpus, wanted["fields"], encoding=wanted["encoding"], require_ids=wanted["require_ids"]
    )
    recipe = planned_recipe(encoder, wanted)
    plan = plan_of(recipe)
    _check_others(place, plan)
    place.folder.parent.mkdir(parents=True, exist_ok=True)
    share = CorpusPart(source, shard_id, shard_num, skip_repeated=wanted["duplicates"] == "skip")
    log = ProblemLog(wanted["strict"])
    # Whoever holds the workspace decides whether there is something to do: two may have come.
    with Workspace.opened(place.folder, shard_plan(recipe)) as workspace:
        record = finished_part(place)
        done_before = record is not None
        if record is None:
            record = _build(place, share, recipe, plan, workspace, log, progress, began)
    warn_of_problems(log)
    report = BuildReport.from_dict(record.report)
    return Part(place.folder, shard_id, shard_num, report, done_before)


def _build(
    place: Place,
    share: CorpusPart,
    recipe: Recipe,
    plan: Plan,
    workspace: Workspace,
    log: ProblemLog,
    progress: bool,
    began: float,
) -> PartRecord:
    simple = part_recipe(recipe)
    with BuildProgress(progress) as shown:
        built = build_segment(share.read(log), segment_name(1), simple, workspace, log, shown)
        report = replace(make_report(share, built, log, began), repeated_texts=share.repeated_texts)
        manifest = first_manifest(simple, built, report, 1) if built else None
        record = PartRecord(
            shard_id=place.shard_id,
            shard_num=place.shard_num,
            plan=plan,
            corpus=share.digest,
            corpus_documents=share.documents,
            build_id=manifest.build_id if manifest else None,
            documents=report.documents,
            chunks=report.chunks,
            report=report.to_dict(),
        )
        # The record first: it counts as soon as the manifest it names is there, and not before.
        record.write(place.record)
        if manifest is not None and built is not None:
            commit(workspace, manifest, [built.segment])
    return record


def _check_others(place: Place, plan: Plan) -> None:
    """Refuses a part whose plan is not that of the parts that are there, before hours of work."""
    for path in sorted(place.record.parent.glob(f"part-*-of-{place.shard_num:05d}.json")):
        record = read_record(path)
        differences = record.plan.differences(plan) if record is not None else ""
        if record is not None and differences:
            raise ArgumentError(
                f"The parts of {place.target} must be built alike; "
                f"{part_name(record.shard_id, record.shard_num)} was built otherwise: "
                f"{differences}. Use its options, or remove {place.record.parent} to start anew."
            )
