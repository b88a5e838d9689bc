"""retrieval_index: from a corpus to a vector index on disk, and passages back.

    import retrieval_index
    index = retrieval_index.build("corpus.jsonl", "out/index", "hashing")
    for passage in index.search("how do I close a file?", k=5):
        print(passage.score, passage.document_id, passage.text)

Importing it is cheap: NumPy, FAISS and everything else are imported when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval_index.lazy import lazy

if TYPE_CHECKING:
    from retrieval_index.building.builder import build
    from retrieval_index.chunking.chunker import Chunk, Chunker
    from retrieval_index.chunking.chunker import methods as chunking_methods
    from retrieval_index.corpus.document import Document
    from retrieval_index.corpus.formats import readable_kinds
    from retrieval_index.encoders.hashing import HashingEncoder
    from retrieval_index.encoders.precomputed import PrecomputedVectors
    from retrieval_index.encoders.protocol import Encoder
    from retrieval_index.encoders.registry import known_providers, resolve_encoder
    from retrieval_index.encoders.sentence_transformer import SentenceTransformerEncoder
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
    from retrieval_index.evaluation.files import read_qrels, read_queries
    from retrieval_index.evaluation.runs import read_run, write_run
    from retrieval_index.filters.filter import Filter
    from retrieval_index.filters.parsing import parse_filter
    from retrieval_index.maintenance.adding import add, update
    from retrieval_index.maintenance.changing import delete
    from retrieval_index.maintenance.compacting import compact
    from retrieval_index.maintenance.exporting import export
    from retrieval_index.maintenance.merging import merge
    from retrieval_index.maintenance.snapshotting import drop_snapshot, restore, snapshot, snapshots
    from retrieval_index.maintenance.tuning import tune, tune_fusion
    from retrieval_index.maintenance.verification import verify
    from retrieval_index.report import BuildReport, Problem
    from retrieval_index.searching.index import Index
    from retrieval_index.searching.opening import open_index as open
    from retrieval_index.searching.passage import Passage

__getattr__, __dir__, __all__ = lazy(__name__)
