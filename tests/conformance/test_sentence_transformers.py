"""The Keras MiniLM encoder gives sentence-transformers' vectors and the published STS-B figure."""

import csv

import numpy as np
import pytest
from texts import TEXTS

from kzoo.metrics import spearman


@pytest.fixture(scope="module")
def reference(minilm_folder):
    library = pytest.importorskip("sentence_transformers")
    return library.SentenceTransformer(str(minilm_folder), device="cpu")


def test_embeddings_equal(minilm_encoder, reference):
    ours = minilm_encoder.encode(TEXTS)
    theirs = reference.encode(TEXTS, convert_to_numpy=True)
    assert ours.shape == theirs.shape == (len(TEXTS), 384)
    assert ours.dtype == np.float32
    worst = np.abs(ours - theirs).max()
    print(f"max abs difference to sentence-transformers: {worst:.2e}")
    assert worst < 2e-5


def test_tanh_gelu_would_not_pass(minilm_folder, reference):
    """What KerasHub computes without our correction differs ten times more than we allow."""
    import keras_hub

    embedder = keras_hub.models.TextEmbedder.from_preset(str(minilm_folder))
    texts = TEXTS[3:6]
    theirs = reference.encode(texts, convert_to_numpy=True)
    hub = np.asarray(embedder.predict(texts, verbose=0))
    hub = hub / np.linalg.norm(hub, axis=1, keepdims=True)
    assert np.abs(hub - theirs).max() > 2e-5


def test_order_and_batch_size_do_not_matter(minilm_encoder):
    texts = [text for text in TEXTS if text.strip()]
    whole = minilm_encoder.encode(texts, batch_size=64)
    singly = np.concatenate([minilm_encoder.encode([text]) for text in texts])
    np.testing.assert_allclose(whole, singly, atol=1e-6)
    np.testing.assert_allclose(minilm_encoder.encode(texts[::-1]), whole[::-1], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-5)


def test_stsb_spearman_is_the_published_one(minilm_encoder, shared_data):
    path = shared_data / "text" / "stsb" / "sts-test.csv"
    with path.open(encoding="utf-8") as stream:
        rows = list(csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    gold = np.array([float(row[4]) for row in rows])
    assert len(rows) == 1379
    first = minilm_encoder.encode([row[5] for row in rows])
    second = minilm_encoder.encode([row[6] for row in rows])
    score = 100 * spearman(gold, (first * second).sum(axis=1))
    print(f"STS-B test Spearman x 100 = {score:.2f}")
    assert score == pytest.approx(82.03, abs=0.05)
