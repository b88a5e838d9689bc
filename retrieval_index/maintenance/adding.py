"""Adding documents to an index, and replacing them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from retrieval_index.building.builder import make_report, warn_of_problems
from retrieval_index.building.intake import IndexedDocuments
from retrieval_index.building.recipe import recipe_of, shard_plan
from retrieval_index.building.segment_building import build_segment
from retrieval_index.corpus.byte_source import ReadMeter
from retrieval_index.corpus.document import Document, ProblemLog
from retrieval_index.corpus.opening import open_corpus
from retrieval_index.encoders.registry import resolve_encoder
from retrieval_index.errors import check_positive
from retrieval_index.maintenance.changing import changing
from retrieval_index.progress import BuildProgress
from retrieval_index.report import BuildReport
from retrieval_index.searching.query_encoder import check_same_encoder
from retrieval_index.storage.manifest import read_manifest
from retrieval_index.storage.segment_files import segment_name
from retrieval_index.storage.workspace import as_folder

if TYPE_CHECKING:
    from retrieval_index.encoders.protocol import Encoder

    Documents = (
        str | os.PathLike[str] | Iterable[Document | Mapping[str, Any] | tuple[str, str] | str]
    )


def add(
    path: str | os.PathLike[str],
    corpus: Documents,
    encoder: str | Encoder | None = None,
    *,
    fields: Mapping[str, Any] | None = None,
    duplicates: str = "keep",
    require_ids: bool = False,
    encoding: str = "utf-8",
    encoding_errors: str = "strict",
    batch_size: int = 64,
    strict: bool = False,
    progress: bool = True,
    shard_size: int = 4096,
) -> BuildReport:
    """Adds documents to an index, as a new segment.

    Documents are cut and encoded as those that are there. Readers see all of the addition or
    nothing of it. An addition that was broken off continues when it is started again. A document
    whose id is in the index is passed over and counted; `update` replaces it instead.

    Args:
        path: Folder of the index.
        corpus, fields, require_ids, encoding, encoding_errors: As in `build`.
        encoder: The encoder of the index, or its name. Default: found by the name in the manifest.
        duplicates: As in `build`; looks at the documents that are added.
        batch_size, progress, shard_size: As in `build`.
        strict: As in `build`; a document that is there already counts as unusable.

    Returns:
        What was read and passed over. `documents` is 0 when there was nothing new, and the index
        is then as it was.

    Raises:
        IndexNotFoundError: If there is no index.
        EncoderMismatchError: If the encoder is not the one of the index.
        CorpusError: As in `build`.
        BuildLockedError: If another process changes the index.
    """
    return _extend(
        path, corpus, encoder, fields, duplicates, require_ids, (encoding, encoding_errors),
        batch_size, strict, progress, shard_size, replace=False,
    )  # fmt: skip


def update(
    path: str | os.PathLike[str],
    corpus: Documents,
    encoder: str | Encoder | None = None,
    *,
    fields: Mapping[str, Any] | None = None,
    duplicates: str = "keep",
    require_ids: bool = False,
    encoding: str = "utf-8",
    encoding_errors: str = "strict",
    batch_size: int = 64,
    strict: bool = False,
    progress: bool = True,
    shard_size: int = 4096,
) -> BuildReport:
    """Adds documents to an index; those whose id is there take the place of the old ones.

    Documents that are there with the same title, text and metadata are left alone and cost no
    encoding. Old and new are exchanged in one step. Arguments, result and errors are those of
    `add`; `replaced` and `unchanged` of the report count both kinds.
    """
    return _extend(
        path, corpus, encoder, fields, duplicates, require_ids, (encoding, encoding_errors),
        batch_size, strict, progress, shard_size, replace=True,
    )  # fmt: skip


def _extend(
    path: str | os.PathLike[str],
    corpus: Documents,
    encoder: str | Encoder | None,
    fields: Mapping[str, Any] | None,
    duplicates: str,
    require_ids: bool,
    decoding: tuple[str, str],
    batch_size: int,
    strict: bool,
    progress: bool,
    shard_size: int,
    *,
    replace: bool,
) -> BuildReport:
    began = time.perf_counter()
    check_positive("batch_size", batch_size)
    check_positive("shard_size", shard_size)
    folder = as_folder(path, "path")
    manifest = read_manifest(folder)
    source = open_corpus(corpus, fields, *decoding, require_ids)
    model = check_same_encoder(resolve_encoder(encoder or manifest.encoder.name), manifest, folder)
    recipe = recipe_of(manifest, model, batch_size, shard_size, duplicates)
    log = ProblemLog(strict)
    meter = ReadMeter(source.size() if progress else None)
    with (
        changing(folder, shard_plan(recipe)) as change,
        meter.active(),
        BuildProgress(progress, fraction=meter.fraction) as shown,
    ):
        known = IndexedDocuments(change.version, replace)
        built = build_segment(
            source.read(log),
            segment_name(change.manifest.next_segment),
            recipe,
            change.workspace,
            log,
            shown,
            known,
        )
        report = make_report(
            source, built, log, began, replaced=known.replaced, unchanged=known.unchanged
        )
        if built is not None:
            change.commit(
                "update" if replace else "add",
                added=built.segment,
                dead=known.dead,
                report=report.to_dict(),
            )
    warn_of_problems(log, calls=2)
    return report
