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
    from retrieval_index.building.builder import build
    from retrieval_index.chunking.chunker import Chunk, Chunker
    from retrieval_index.chunking.chunker import methods as chunking_methods
    from retrieval_index.corpus.document import Document
    from retrieval_index.encoders.hashing import HashingEncoder
    from retrieval_index.encoders.precomputed import PrecomputedVectors
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
        DocumentNotFoundError,
        EncoderError,
        EncoderMismatchError,
        EvaluationError,
        IndexExistsError,
        IndexNotFoundError,
        NewerFormatError,
        RetrievalIndexError,
        RetrievalIndexWarning,
        WorkerLostError,
    )
    from retrieval_index.evaluation.comparison import Comparison
    from retrieval_index.evaluation.evaluate import evaluate, evaluate_run
    from retrieval_index.evaluation.evaluation import Evaluation
    from retrieval_index.evaluation.qrels import read_qrels
    from retrieval_index.evaluation.queries import read_queries
    from retrieval_index.evaluation.runs import read_run, write_run
    from retrieval_index.filters.filter import Filter
    from retrieval_index.filters.parsing import parse_filter
    from retrieval_index.maintenance.adding import add, update
    from retrieval_index.maintenance.compacting import compact
    from retrieval_index.maintenance.deleting import delete
    from retrieval_index.maintenance.exporting import export
    from retrieval_index.maintenance.merging import merge
    from retrieval_index.maintenance.snapshotting import drop_snapshot, restore, snapshot, snapshots
    from retrieval_index.maintenance.tuning import tune, tune_fusion
    from retrieval_index.maintenance.verification import verify
    from retrieval_index.report import BuildReport, Problem
    from retrieval_index.searching.index import Index
    from retrieval_index.searching.opening import open_index as open
    from retrieval_index.searching.passage import Passage

__all__ = [
    "ArgumentError",
    "BuildLockedError",
    "BuildReport",
    "Chunk",
    "Chunker",
    "ClosedIndexError",
    "Comparison",
    "CorpusError",
    "CorruptIndexError",
    "Document",
    "DocumentNotFoundError",
    "Encoder",
    "EncoderError",
    "EncoderMismatchError",
    "Evaluation",
    "EvaluationError",
    "Filter",
    "HashingEncoder",
    "Index",
    "IndexExistsError",
    "IndexNotFoundError",
    "NewerFormatError",
    "Passage",
    "PrecomputedVectors",
    "Problem",
    "RetrievalIndexError",
    "RetrievalIndexWarning",
    "SentenceTransformerEncoder",
    "WorkerLostError",
    "add",
    "build",
    "chunking_methods",
    "compact",
    "delete",
    "drop_snapshot",
    "evaluate",
    "evaluate_run",
    "export",
    "known_providers",
    "merge",
    "open",
    "parse_filter",
    "read_qrels",
    "read_queries",
    "read_run",
    "readable_kinds",
    "resolve_encoder",
    "restore",
    "snapshot",
    "snapshots",
    "tune",
    "tune_fusion",
    "update",
    "verify",
    "write_run",
]

# Public name -> module, and the name there where it differs.
_WHERE = {
    "build": "building.builder",
    "open": "searching.opening:open_index",
    "verify": "maintenance.verification",
    "add": "maintenance.adding",
    "update": "maintenance.adding",
    "delete": "maintenance.deleting",
    "compact": "maintenance.compacting",
    "merge": "maintenance.merging",
    "export": "maintenance.exporting",
    "tune": "maintenance.tuning",
    "tune_fusion": "maintenance.tuning",
    "snapshot": "maintenance.snapshotting",
    "snapshots": "maintenance.snapshotting",
    "restore": "maintenance.snapshotting",
    "drop_snapshot": "maintenance.snapshotting",
    "evaluate": "evaluation.evaluate",
    "evaluate_run": "evaluation.evaluate",
    "Evaluation": "evaluation.evaluation",
    "Comparison": "evaluation.comparison",
    "read_qrels": "evaluation.qrels",
    "read_queries": "evaluation.queries",
    "read_run": "evaluation.runs",
    "write_run": "evaluation.runs",
    "Filter": "filters.filter",
    "parse_filter": "filters.parsing",
    "Index": "searching.index",
    "Passage": "searching.passage",
    "BuildReport": "report",
    "Problem": "report",
    "Document": "corpus.document",
    "Chunk": "chunking.chunker",
    "Chunker": "chunking.chunker",
    "Encoder": "encoders.protocol",
    "PrecomputedVectors": "encoders.precomputed",
    "chunking_methods": "chunking.chunker:methods",
    "readable_kinds": "corpus.formats",
    "HashingEncoder": "encoders.hashing",
    "SentenceTransformerEncoder": "encoders.sentence_transformer",
    "known_providers": "encoders.registry",
    "resolve_encoder": "encoders.registry",
    "ArgumentError": "errors",
    "BuildLockedError": "errors",
    "ClosedIndexError": "errors",
    "CorpusError": "errors",
    "CorruptIndexError": "errors",
    "DocumentNotFoundError": "errors",
    "EncoderError": "errors",
    "EvaluationError": "errors",
    "EncoderMismatchError": "errors",
    "IndexExistsError": "errors",
    "IndexNotFoundError": "errors",
    "NewerFormatError": "errors",
    "RetrievalIndexError": "errors",
    "WorkerLostError": "errors",
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
