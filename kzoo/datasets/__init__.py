"""Text data sets: embedded, from files, from TensorFlow Datasets.

    dataset = kzoo.datasets.load("python-docs")
    dataset["train"].inputs, dataset["train"].labels, dataset.label_names

Importing this package imports neither TensorFlow nor any optional dependency.
"""

from kzoo.datasets import python_docs as _python_docs  # registers itself
from kzoo.datasets.card import Card, Skipped
from kzoo.datasets.dataset import Dataset
from kzoo.datasets.loading import load
from kzoo.datasets.registry import Entry, corpus, register, register_corpus
from kzoo.datasets.registry import list_datasets as list
from kzoo.datasets.split import Split
from kzoo.errors import DatasetError, DatasetWarning

__all__ = [
    "Card",
    "Dataset",
    "DatasetError",
    "DatasetWarning",
    "Entry",
    "Skipped",
    "Split",
    "corpus",
    "list",
    "load",
    "register",
    "register_corpus",
]
