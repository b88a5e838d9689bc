"""Passages whose vectors exist already."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval_index.encoders.document_ids import NOT_FOUND, IdTable, read_ids
from retrieval_index.encoders.protocol import encode_queries, split_options, with_options
from retrieval_index.encoders.vector_files import (
    ParquetVectors,
    VectorRows,
    open_npy,
    sampled_sha256,
)
from retrieval_index.errors import EncoderError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from retrieval_index.encoders.protocol import Encoder

OPTIONS = ("ids", "id_column", "vector_column", "query_encoder")


class PrecomputedVectors:
    """Looks the vectors of documents up by their ids instead of encoding them.

    Every document is one passage, so an index of it is built with the chunking method "none".

        vectors = PrecomputedVectors("emb.npy", ids="ids.txt", query_encoder="kzoo:minilm-encoder")
        retrieval_index.build("corpus.jsonl", "out/index", vectors)

    Args:
        vectors: A .npy file of shape (rows, dimension), float32 or float16, which is mapped and
            never loaded whole; or a .parquet file with a column of ids and one of vectors.
        ids: Ids of the documents in the order of the rows: a .npy file of strings or whole
            numbers, a .txt file with one a line, a .jsonl file whose lines have `_id` or `id`, or
            an iterable. Default: the column of ids of a Parquet file; else the number of the row,
            from "0" on.
        id_column: Column of the ids in a Parquet file. Default: "_id", "id", "doc_id" or "docid".
        vector_column: Column of the vectors in a Parquet file. Default: the only one with lists
            of floats.
        query_encoder: An encoder of the same dimension, or its name, for the queries. Default:
            none; only vectors can then be searched for.
        name: Name under which the index remembers this encoder. Default: "precomputed:<path>" and
            the options, from which `resolve_encoder` makes it again; ids passed as an iterable,
            and a query encoder without a name of its own, must be passed again.

    Raises:
        EncoderError: If a file is missing, unreadable or not as above, the ids are not one for
            each row or not unique, or `query_encoder` has another dimension.
    """

    max_tokens: int | None = None

    def __init__(
        self,
        vectors: str | os.PathLike[str],
        ids: str | os.PathLike[str] | Iterable[str] | None = None,
        *,
        id_column: str | None = None,
        vector_column: str | None = None,
        query_encoder: str | Encoder | None = None,
        name: str | None = None,
    ) -> None:
        self._path = Path(vectors).expanduser().absolute()
        if self._path.suffix not in (".npy", ".parquet"):
            raise EncoderError(
                f"`vectors` must be a .npy or a .parquet file; received: {os.fspath(vectors)!r}."
            )
        self._columns = (id_column, vector_column)
        if self._path.suffix == ".npy":
            if id_column is not None or vector_column is not None:
                raise EncoderError(
                    "`id_column` and `vector_column` are for Parquet files; received them with "
                    f"{os.fspath(vectors)!r}. Give the ids of a .npy file as `ids`."
                )
            rows = open_npy(self._path)
            self._open: Callable[[], VectorRows] = lambda: rows
            own_ids: Iterable[Any]
            self._shape, own_ids = rows.shape, range(rows.shape[0])
        else:
            parquet = ParquetVectors(self._path, id_column, vector_column)
            self._open = parquet.open
            self._shape, own_ids = parquet.shape, parquet.ids()
        self._table = IdTable(read_ids(own_ids if ids is None else ids, self._shape[0]))
        self._used: Any = None
        self._query_encoder = self._checked_query_encoder(query_encoder)
        if name is None:
            is_file = isinstance(ids, str | os.PathLike)
            options = {
                "ids": os.path.abspath(ids) if is_file else None,  # type: ignore[type-var,arg-type]
                "id_column": id_column,
                "vector_column": vector_column,
                "query_encoder": getattr(self._query_encoder, "name", None),
            }
            name = f"precomputed:{with_options(str(self._path), options)}"
        self.name = name

    @classmethod
    def from_name(cls, name: str) -> PrecomputedVectors:
        """Returns the vectors that "<path>?ids=<file>&query_encoder=<name>&..." names."""
        path, options = split_options(name, "precomputed", OPTIONS)
        return cls(
            path,
            options.get("ids"),
            id_column=options.get("id_column"),
            vector_column=options.get("vector_column"),
            query_encoder=options.get("query_encoder"),
        )

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._shape[1]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the file of vectors, the ids, and the query encoder's fingerprint.

        Of a file beyond 256 MB, blocks evenly spread are hashed: other vectors or another number
        of them are noticed, a few changed rows may not be.
        """
        digest = hashlib.sha256()
        encoder = self._query_encoder
        for part in (
            repr((self._shape, self._columns)),
            sampled_sha256(self._path),
            self._table.digest,
            encoder.fingerprint if encoder is not None else "",
        ):
            digest.update(f"{len(part)}:{part}".encode())
        return f"sha256:{digest.hexdigest()}"

    def __len__(self) -> int:
        """Number of vectors."""
        return self._shape[0]

    @property
    def unused(self) -> int:
        """Vectors that `encode_documents` was never asked for: more than the corpus needs."""
        return len(self) - (0 if self._used is None else int(self._used.sum()))

    def encode_documents(self, ids: list[str], texts: list[str], /) -> npt.NDArray[np.float32]:
        """Returns the vectors of documents, float32 of shape (len(ids), dimension).

        Args:
            ids: Ids of the documents.
            texts: Not looked at.

        Raises:
            EncoderError: If there is no vector for an id; the first such ids and their number.
        """
        import numpy as np

        rows = self._table.rows(ids)
        missing = np.flatnonzero(rows == NOT_FOUND)
        if len(missing):
            first = ", ".join(repr(ids[place])[:80] for place in missing[:5].tolist())
            raise EncoderError(
                f"`encoder` {self.name} must have a vector for every document; {len(missing)} of "
                f"these {len(ids)} documents have none: {first}{', ...' * (len(missing) > 5)}."
            )
        if self._used is None:
            self._used = np.zeros(len(self), dtype=bool)
        self._used[rows] = True
        return self._rows.read(rows)

    def encode(self, texts: list[str], /) -> npt.NDArray[np.float32]:
        """Raises `EncoderError`: vectors are found by id, not by text."""
        raise EncoderError(
            f"`encoder` {self.name} has vectors of documents and cannot encode texts. Build with "
            "the chunking method 'none', so that every document is one passage."
        )

    def encode_queries(self, texts: list[str], /) -> npt.NDArray[np.float32]:
        """Returns the vectors of queries by `query_encoder`, float32 (len(texts), dimension).

        Raises:
            EncoderError: If there is no `query_encoder`.
        """
        if self._query_encoder is None:
            raise EncoderError(
                f"`encoder` {self.name} has no `query_encoder`, so queries cannot be encoded. Pass "
                "PrecomputedVectors(..., query_encoder=...) or search for vectors."
            )
        return encode_queries(self._query_encoder, texts, normalize=False)

    @cached_property
    def _rows(self) -> VectorRows:
        # Not at once: a Parquet file is copied for it, which a search has no need of.
        return self._open()

    def _checked_query_encoder(self, encoder: str | Encoder | None) -> Encoder | None:
        if encoder is None:
            return None
        from retrieval_index.encoders.registry import resolve_encoder

        found = resolve_encoder(encoder)
        if found.dimension != self.dimension:
            raise EncoderError(
                f"`query_encoder` must have dimension {self.dimension}, as the vectors do; "
                f"{found.name} has {found.dimension}."
            )
        return found
