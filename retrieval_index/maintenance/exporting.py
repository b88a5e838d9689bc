"""Everything in an index, written to files that other programs read."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from retrieval_index.errors import ArgumentError
from retrieval_index.searching.opening import open_index
from retrieval_index.searching.version import Version
from retrieval_index.storage.durable import fsync_file, fsync_folder
from retrieval_index.storage.workspace import as_folder

FORMATS = ("npy", "parquet")


def export(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    format: str = "npy",
    snapshot: str | None = None,
) -> dict[str, Any]:
    """Writes vectors, passages and documents of an index to a new folder.

    With "npy": `vectors.npy` (float32, passages x dimension), `passages.jsonl` (one object a row
    of it: document_id, start, end, heading) and `corpus.jsonl` (the documents in the layout of
    BEIR, which `build` reads). With "parquet": `passages.parquet` (document_id, start, end,
    heading, text, vector) and `corpus.jsonl`. Deleted documents are not in them. Memory is that of
    a block.

    Args:
        path: Folder of the index.
        out: The new folder.
        format: "npy" or "parquet" (needs pyarrow).
        snapshot: Name of a snapshot; None: the current version.

    Returns:
        documents, passages, dimension, and the names of the files.

    Raises:
        ArgumentError: If the format is unknown, or something is at `out`.
        IndexNotFoundError: If there is no index, or no such snapshot.
    """
    if format not in FORMATS:
        raise ArgumentError(f"`format` must be one of {', '.join(FORMATS)}; received: {format!r}.")
    target = as_folder(out, "out")
    if target.exists():
        raise ArgumentError(f"`out` must be a new folder; there is something at {target}.")
    partial = target.with_name(f".{target.name}.exporting")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with open_index(path, snapshot=snapshot) as index:
            version = index._open()
            documents = _write_corpus(version, partial / "corpus.jsonl")
            dimension = version.manifest.encoder.dimension
            if format == "npy":
                _write_npy(version, partial, dimension)
            else:
                _write_parquet(version, partial / "passages.parquet", dimension)
            passages = len(index)
        names = sorted(file.name for file in partial.iterdir())
        for name in names:
            fsync_file(partial / name)
        os.replace(partial, target)
        fsync_folder(target.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return {"documents": documents, "passages": passages, "dimension": dimension, "files": names}


def _write_corpus(version: Version, path: Path) -> int:
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for document in version.documents():
            record = {
                "_id": document.id,
                "title": document.title,
                "text": document.text,
                "metadata": dict(document.metadata),
            }
            file.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
            count += 1
    return count


def _write_npy(version: Version, folder: Path, dimension: int) -> None:
    import numpy as np

    count = version.manifest.chunks
    rows = np.lib.format.open_memmap(
        folder / "vectors.npy", mode="w+", dtype=np.float32, shape=(count, dimension)
    )
    place = 0
    with (folder / "passages.jsonl").open("w", encoding="utf-8") as file:
        for passages, vectors in version.passage_blocks():
            rows[place : place + len(vectors)] = vectors
            place += len(vectors)
            for passage in passages:
                record = {
                    "document_id": passage.document_id,
                    "start": passage.start,
                    "end": passage.end,
                    "heading": passage.heading,
                }
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
    rows.flush()


def _write_parquet(version: Version, path: Path, dimension: int) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ArgumentError(
            "`format` 'parquet' needs pyarrow. Run: pip install 'kzoo[parquet]'"
        ) from error
    vector = pa.list_(pa.float32(), dimension)
    text, number = pa.string(), pa.int32()
    schema = pa.schema(
        [("document_id", text), ("start", number), ("end", number), ("heading", text),
         ("text", text), ("vector", vector)]
    )  # fmt: skip
    with pq.ParquetWriter(path, schema) as writer:
        for passages, vectors in version.passage_blocks():
            columns = [
                [passage.document_id for passage in passages],
                [passage.start for passage in passages],
                [passage.end for passage in passages],
                [passage.heading for passage in passages],
                [passage.text for passage in passages],
            ]
            flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), dimension)
            arrays = [pa.array(c, f.type) for c, f in zip(columns, schema, strict=False)]
            writer.write_batch(pa.record_batch([*arrays, flat], schema=schema))
