"""What is written about a part when it is finished."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from retrieval_index.distributed.plan import Plan
from retrieval_index.errors import CorruptIndexError, NewerFormatError
from retrieval_index.report import BuildReport
from retrieval_index.storage.durable import write_json

FORMAT = "retrieval_index.part"
FORMAT_VERSION = 1
MAX_BYTES = 64 * 2**20


class PartRecord(BaseModel):
    """A finished part.

    Attributes:
        shard_id: Which part.
        shard_num: Of how many.
        plan: What all parts must have in common.
        corpus: `CorpusPart.digest` of the corpus, which they must have in common too.
        corpus_documents: Usable documents of the whole corpus.
        build_id: That of the part's manifest; None if no document fell to the part.
        documents: Documents of the part.
        chunks: Passages of the part.
        report: `BuildReport.to_dict()`; skipped entries are those of the whole corpus.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    shard_id: int = Field(ge=0)
    shard_num: int = Field(ge=1)
    plan: Plan
    corpus: str
    corpus_documents: int = Field(ge=0)
    build_id: str | None
    documents: int = Field(ge=0)
    chunks: int = Field(ge=0)
    report: dict[str, Any]

    @model_validator(mode="after")
    def _consistent(self) -> PartRecord:
        share = len(range(self.shard_id, self.corpus_documents, self.shard_num))
        if self.documents != share or (self.build_id is None) != (share == 0):
            raise ValueError(f"{share} documents fall to this part, not {self.documents}")
        try:
            BuildReport.from_dict(self.report)
        except (TypeError, AttributeError) as error:
            raise ValueError(f"`report` is malformed ({error})") from error
        return self

    def write(self, path: Path) -> None:
        """Writes the record atomically."""
        body = self.model_dump(mode="json")
        header = {"format": FORMAT, "format_version": FORMAT_VERSION, "checksum": _checksum(body)}
        write_json(path, {**header, **body})


def read_record(path: Path) -> PartRecord | None:
    """Returns the record of a part, or None if there is none.

    Raises:
        CorruptIndexError: If the file is damaged or something else.
        NewerFormatError: If a newer version of this package wrote it.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CorruptIndexError(f"{path} is too large for a record ({MAX_BYTES} bytes).")
        data = json.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        return None
    except CorruptIndexError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise CorruptIndexError(f"{path} is damaged: {error}. {_remedy(path)}") from error
    if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
        raise CorruptIndexError(f"{path} is no record of a part. {_remedy(path)}")
    version = data.pop("format_version", None)
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise NewerFormatError(
            f"{path} has format version {version}; this installation reads up to "
            f"{FORMAT_VERSION}. Run: pip install --upgrade kzoo"
        )
    if version != FORMAT_VERSION or data.pop("checksum", None) != _checksum(data):
        raise CorruptIndexError(f"{path} was changed after it was written. {_remedy(path)}")
    try:
        return PartRecord.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise CorruptIndexError(f"{path}: {place}: {first['msg']}. {_remedy(path)}") from error


def _remedy(path: Path) -> str:
    return f"Remove it and the folder {path.with_suffix('').name}, and build this part again."


def _checksum(body: dict[str, Any]) -> str:
    try:
        canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        return ""
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()
