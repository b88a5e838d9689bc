"""The samples of benchmarks/_corpus_samples.py, and reading them, for the tests of the readers."""

import importlib.util
from pathlib import Path

from retrieval_index.corpus.document import ProblemLog
from retrieval_index.corpus.opening import open_corpus

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def load(name):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


samples = load("_corpus_samples")


def read(corpus, strict=False, **options):
    """Returns the documents and the log of a whole corpus."""
    log = ProblemLog(strict)
    return [entry.document for entry in open_corpus(corpus, **options).read(log)], log


def put(path, data):
    """Writes bytes or a text, and returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path
