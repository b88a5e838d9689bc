"""The readers of the benchmark files against the published sizes of the data sets."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from kzoo.datasets import DatasetError

REPO = Path(__file__).resolve().parents[2]
ROOT = REPO.parent / "shared" / "data" / "text"

pytestmark = pytest.mark.skipif(not ROOT.is_dir(), reason="../shared/data is not here")


@pytest.fixture(scope="module")
def readers():
    spec = importlib.util.spec_from_file_location("benchmark_data", REPO / "benchmarks/_data.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sizes(data):
    return [len(split) for _, split in data.items()]


@pytest.mark.parametrize(("variant", "per_class"), [("small", 50), ("full", 100)])
def test_clinc150(readers, variant, per_class):
    data = readers.load_clinc150(ROOT, variant)
    assert sizes(data) == [150 * per_class, 3000, 4500]
    assert set(data["train"].class_counts.values()) == {per_class}
    assert set(data["test"].class_counts.values()) == {30}
    assert "oos" not in data.label_names
    with pytest.raises(DatasetError, match=r"`variant`.*'tiny'"):
        readers.load_clinc150(ROOT, "tiny")


def test_mrpc(readers):
    data = readers.load_mrpc(ROOT)
    assert sizes(data) == [3576, 500, 1725]
    assert data["test"].class_counts == {"not_equivalent": 578, "equivalent": 1147}
    train = sum(data[name].class_counts["equivalent"] for name in ("train", "validation"))
    assert train == 2753
    assert data["train"].texts[0].count('"') == 2 and "\ufeff" not in data["train"].texts[0]
    assert data["train"].ids[0] == "702876-702977"


def test_sst2(readers):
    data = readers.load_sst2(ROOT)
    assert sizes(data) == [6920, 872, 1821]
    assert data["test"].class_counts == {"0": 912, "1": 909}


def test_trec(readers):
    data = readers.load_trec(ROOT)
    assert sizes(data) == [5452, 500]
    assert data["test"].class_counts["DESC"] == 138 and data.num_classes == 6
    assert readers.load_trec(ROOT, fine=True).num_classes == 50


def test_stsb(readers):
    data = readers.load_stsb(ROOT)
    assert sizes(data) == [5749, 1500, 1379]
    labels = data["train"].labels
    assert labels.dtype == np.float32 and (labels.min(), labels.max()) == (0.0, 5.0)
    assert data["train"].inputs[0] == ("A plane is taking off.", "An air plane is taking off.")
