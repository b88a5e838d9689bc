"""retrieval_index: from a corpus to a vector index on disk, and passages back.

    import retrieval_index
    index = retrieval_index.build("corpus.jsonl", "out/index", "hashing")
    for passage in index.search("how do I close a file?", k=5):
        print(passage.score, passage.document_id, passage.text)

Importing it is cheap: NumPy, FAISS and everything else are imported when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retrieval_index.builder import build
    from retrieval_index.chunking.chunker import Chunk, Chunker
    from retrieval_index.corpus.document import Document
    from retrieval_index.encoders.hashing import HashingEncoder
    from retrieval_index.encoders.protocol import Encoder
    from retrieval_index.encoders.registry import known_providers, resolve_encoder
    from retrieval_index.encoders.sentence_transformer import (
        SentenceTransformerEncoder as SentenceTransformerEncoder,
    )
    from retrieval_index.errors import (
        ArgumentError,
        BuildLockedError,
        ClosedIndexError,
        CorpusError,
        CorruptIndexError,
        EncoderError,
        EncoderMismatchError,
        IndexExistsError,
        IndexNotFoundError,
        NewerFormatError,
        RetrievalIndexError,
        RetrievalIndexWarning,
    )
    from retrieval_index.index import Index
    from retrieval_index.index import open_index as open
    from retrieval_index.passage import Passage
    from retrieval_index.report import BuildReport, Problem
    from retrieval_index.verification import verify

__all__ = [
    "ArgumentError",
    "BuildLockedError",
    "BuildReport",
    "Chunk",
    "Chunker",
    "ClosedIndexError",
    "CorpusError",
    "CorruptIndexError",
    "Document",
    "Encoder",
    "EncoderError",
    "EncoderMismatchError",
    "HashingEncoder",
    "Index",
    "IndexExistsError",
    "IndexNotFoundError",
    "NewerFormatError",
    "Passage",
    "Problem",
    "RetrievalIndexError",
    "RetrievalIndexWarning",
    "SentenceTransformerEncoder",
    "build",
    "known_providers",
    "open",
    "resolve_encoder",
    "verify",
]

# Public name -> module, and the name there where it differs.
_WHERE = {
    "build": "builder",
    "open": "index:open_index",
    "verify": "verification",
    "Index": "index",
    "Passage": "passage",
    "BuildReport": "report",
    "Problem": "report",
    "Document": "corpus.document",
    "Chunk": "chunking.chunker",
    "Chunker": "chunking.chunker",
    "Encoder": "encoders.protocol",
    "HashingEncoder": "encoders.hashing",
    "SentenceTransformerEncoder": "encoders.sentence_transformer",
    "known_providers": "encoders.registry",
    "resolve_encoder": "encoders.registry",
    "ArgumentError": "errors",
    "BuildLockedError": "errors",
    "ClosedIndexError": "errors",
    "CorpusError": "errors",
    "CorruptIndexError": "errors",
    "EncoderError": "errors",
    "EncoderMismatchError": "errors",
    "IndexExistsError": "errors",
    "IndexNotFoundError": "errors",
    "NewerFormatError": "errors",
    "RetrievalIndexError": "errors",
    "RetrievalIndexWarning": "errors",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _WHERE[name].partition(":")
    value = getattr(import_module(f"{__name__}.{module}"), attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})
