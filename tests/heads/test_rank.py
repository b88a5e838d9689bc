"""Rank: its losses in plain loops, what it learns, passages of any number in a new order."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import make_model, make_tiny_trunk

import kzoo
from kzoo.datasets import Split
from kzoo.distillation import DistillationError
from kzoo.errors import InputError
from kzoo.heads.rank import RankingLoss
from kzoo.metrics import ranking_scores

GOOD = ["great movie", "a nice cat", "the great dog"]
BAD = ["awful movie", "a terrible cat", "the awful dog"]
ROWS = [
    ("good film", [GOOD[0], BAD[0], BAD[1]]),
    ("bad film", [GOOD[1], BAD[1]]),
    ("the good dog", [BAD[2], GOOD[2], BAD[0]]),
    ("the bad dog", [BAD[2], GOOD[0]]),
]
LABELS = [[1, 0, 0], [0, 1], [0, 1, 0], [1, 0]]


def make(k=3, **options):
    head = {"kind": "rank", "k": k, "dropout": 0.0, **options}
    training = {"learning_rate": 0.03}
    trunk = make_tiny_trunk()
    model = make_model(kzoo.Reranker, trunk, max_tokens=32, head=head, training=training)
    model.adapters.add("a", "lora[r=4]")
    return model


def log_sigmoid(x):
    return -np.log1p(np.exp(-x))


def pairs(y, s):
    return [(s[i], s[j]) for i in range(len(y)) for j in range(len(y)) if y[i] > y[j]]


def log_softmax(s):
    return s - np.log(np.exp(s).sum())


def rows_of(kind, y, s):
    """The loss of one row in plain loops, or None where it does not count."""
    if kind in ("ranknet", "margin"):
        both = pairs(y, s)
        terms = {
            "ranknet": [np.log(1 + np.exp(b - a)) for a, b in both],
            "margin": [max(0.0, 0.5 - a + b) for a, b in both],
        }[kind]
        return np.mean(terms) if terms else None
    if kind == "listnet":
        return -(np.exp(y) / np.exp(y).sum() * log_softmax(s)).sum()
    return -(y / y.sum() * log_softmax(s)).sum() if y.sum() else None


@pytest.mark.parametrize("kind", ["cross_entropy", "squared_error", *("ranknet", "margin")])
@pytest.mark.parametrize("graded", [False, True])
def test_pointwise_and_pairwise_losses(kind, graded):
    check_loss(kind, graded)


@pytest.mark.parametrize("kind", ["listnet", "softmax"])
@pytest.mark.parametrize("graded", [False, True])
def test_listwise_losses(kind, graded):
    check_loss(kind, graded)


def check_loss(kind, graded):
    rng = np.random.default_rng(3)
    lengths = [4, 1, 3, 2, 4]
    labels = [rng.random(n) if graded else rng.integers(0, 2, n).astype(float) for n in lengths]
    labels[2] = np.zeros(3)  # nothing relevant, no pair
    scores = [rng.normal(size=n) * 2 for n in lengths]
    wide = np.full((2, 5, 4), [[[np.nan]], [[-1e9]]], "float32")
    for row, n in enumerate(lengths):
        wide[:, row, :n] = labels[row], scores[row]
    if kind in ("cross_entropy", "squared_error"):
        y, s = np.concatenate(labels), np.concatenate(scores)
        each = (s - y) ** 2
        if kind == "cross_entropy":
            each = -y * log_sigmoid(s) - (1 - y) * log_sigmoid(-s)
        expected = each.mean()
    else:
        each = [rows_of(kind, y, s) for y, s in zip(labels, scores, strict=True)]
        expected = np.mean([value for value in each if value is not None])
    loss = RankingLoss(kind, margin=0.5)
    found = tf.Variable(wide[1])
    with tf.GradientTape() as tape:
        value = loss(wide[0], found)
    assert float(value) == pytest.approx(expected, rel=1e-5)
    gradient = tape.gradient(value, found).numpy()
    assert np.isfinite(gradient).all() and (gradient[np.isnan(wide[0])] == 0).all()
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert float(again(wide[0], wide[1])) == pytest.approx(float(value))
    # A row's weight is that of what counts in it.
    weights = np.asarray([2.0, 0.0, 1.0, 0.0, 2.0], "float32")
    double = loss(wide[0], wide[1], weights) + loss(wide[0], wide[1], 2 - weights)
    assert float(double) == pytest.approx(2 * expected, rel=1e-5)


def test_relatives_of_the_losses():
    """With two passages RankNet and softmax are one; both are BCE of the difference."""
    y, s = np.asarray([[1.0, 0.0]], "float32"), np.asarray([[0.3, -0.9]], "float32")
    expected = -log_sigmoid(1.2)
    for kind in ("ranknet", "softmax"):
        assert float(RankingLoss(kind)(y, s)) == pytest.approx(expected, rel=1e-6)
    entropy = keras.losses.CategoricalCrossentropy(from_logits=True)
    many = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")
    one = np.eye(5, dtype="float32")[[0, 1, 2, 3, 4, 0]]
    assert float(RankingLoss("softmax")(one, many)) == pytest.approx(float(entropy(one, many)))


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error", "ranknet", "margin", "listnet"])
def test_learns(loss):
    model = make(loss=loss)
    model.fit(ROWS * 3, LABELS * 3, epochs=25, batch_size=4, verbose=0)
    found = model.evaluate(ROWS, LABELS, verbose=0, return_dict=True)
    assert found["ndcg@10"] == pytest.approx(1.0) and found["mrr@10"] == pytest.approx(1.0)


@pytest.fixture(scope="module")
def fitted():
    model = make(loss="softmax")
    model.fit({"query": [q for q, _ in ROWS], "passages": [p for _, p in ROWS]}, LABELS, verbose=0)
    return model


def test_metrics_are_those_of_the_scores(fitted):
    found = fitted.evaluate(ROWS, LABELS, batch_size=3, verbose=0, return_dict=True)
    scores = [fitted.scores(query, passages) for query, passages in ROWS]
    expected = ranking_scores(LABELS, scores, ["nDCG@10", "RR@10"])
    assert found["ndcg@10"] == pytest.approx(expected["nDCG@10"], abs=1e-6)
    assert found["mrr@10"] == pytest.approx(expected["RR@10"], abs=1e-6)
    assert list(found) == ["loss", "mrr@10", "ndcg@10"]
    decoded = fitted.decode(fitted.predict(ROWS, verbose=0))
    for own, row in zip(scores, decoded, strict=True):
        np.testing.assert_allclose(row[: len(own)], own, rtol=1e-4, atol=1e-5)
        assert np.isnan(row[len(own) :]).all()


def test_any_number_of_passages_in_a_new_order(fitted, tmp_path):
    passages = (GOOD + BAD) * 2
    scores = fitted.scores("a good film", passages)
    kernel, bias = (np.asarray(v) for v in fitted.head.acting()[0].weights)
    for number, passage in enumerate(passages):
        inputs = fitted.text.encode([("a good film", passage)])
        state = np.asarray(fitted.trunk(inputs)["tokens"])[0]
        assert scores[number] == pytest.approx((state.mean(axis=0) @ kernel + bias)[0], abs=1e-5)
    found = fitted.rerank("a good film", passages, k=5)
    order = np.argsort(-scores, kind="stable")[:5]
    assert [hit.number for hit in found] == order.tolist()
    assert [hit.text for hit in found] == [passages[i] for i in order]
    assert [hit.score for hit in found] == pytest.approx(scores[order])
    assert fitted.scores("a good film", []).shape == (0,)
    fitted.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(loaded.scores("a good film", passages), scores, atol=1e-6)
    with pytest.raises(InputError, match="`passages` must be a list"):
        fitted.scores("a good film", "one text")
    with pytest.raises(InputError, match="`k` must be at least 1"):
        fitted.rerank("a good film", passages, k=0)


def test_a_search_takes_it(fitted, tmp_path):
    import retrieval_index

    texts = [*GOOD, *BAD, "red and blue"]
    index = retrieval_index.build(
        [{"id": str(i), "text": text} for i, text in enumerate(texts)],
        tmp_path / "index",
        encoder=None,
    )
    found = index.search("great movie nice cat dog", k=3, mode="lexical", rerank=fitted.scores)
    expected = fitted.rerank("great movie nice cat dog", [hit.text for hit in found])
    assert [hit.score for hit in found] == pytest.approx([hit.score for hit in expected], abs=1e-5)


def test_one_passage_a_row():
    model = make(k=1)
    rows = [(query, passage) for query, own in ROWS for passage in own]
    labels = [value for own in LABELS for value in own]
    model.fit(rows * 2, labels * 2, epochs=20, batch_size=5, verbose=0)
    outputs = model.predict(rows, verbose=0)
    assert outputs.shape == (10, 1) and model.decode(outputs).shape == (10,)
    found = model.evaluate(rows, labels, verbose=0, return_dict=True)
    assert found["spearman"] == pytest.approx(kzoo.metrics.spearman(labels, outputs[:, 0]))
    split = Split([q for q, _ in rows], [p for _, p in rows], labels=np.asarray(labels, "float32"))
    again = model.evaluate(split, verbose=0, return_dict=True)
    assert again == pytest.approx(found)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([[1, 0, 0], [0, 1], [0, 1], [1, 0]], "row 2 has 2 labels for 3 passages"),
        ([[1, 0, 0], [0, 1, 0], [0, 1, 1], [1, 0]], "row 1 has 3 labels for 2 passages"),
        ([[1, 0, 0, 0], [0, 1], [0, 1, 1], [1, 0]], "row 0 must be a label for each of its 1 to 3"),
        ([[1, 0, 0], [0, -1], [0, 1, 1], [1, 0]], "row 1 must be 0 or more"),
        ([[1, 0, 0], [0, None], [0, 1, 1], [1, 0]], "row 1 must be"),
        ([[1, 0, 0], [0, 1], [0, 1, 2], [1, 0]], "row 2 must be from 0 to 1 for the loss"),
        ([[1, 0, 0], "no", [0, 1, 1], [1, 0]], "row 1 must be numbers"),
        ([[1, 1, 1], [1, 1], [1, 1, 1], [1, 1]], "all passages have the label 1"),
        (Split([""] * 2, labels=[0, 1], label_names=["no", "yes"]), "the classes no, yes"),
    ],
)
def test_labels_that_do_not_fit(labels, words):
    with pytest.raises(InputError, match=words):
        if isinstance(labels, Split):
            make(k=1).fit(Split([""] * 2, [""] * 2, labels.labels, label_names=["no", "yes"]))
        make().fit(ROWS, labels, epochs=1, verbose=0)


def test_losses_that_compare_need_something_to_compare():
    model = make(loss="ranknet")
    with pytest.raises(InputError, match="in no row do two passages have different labels"):
        model.fit(ROWS, [[1, 1, 1], [0, 0], [1, 1, 1], [1, 1]], epochs=1, verbose=0)
    with pytest.raises(InputError, match="`loss` must be one of"):
        kzoo.heads.Rank(loss="lambda")
    with pytest.raises(InputError, match="`margin` is no option of the loss"):
        kzoo.heads.Rank(loss="ranknet", margin=1.0)


def test_distillation_of_lists_and_of_single_scores():
    with pytest.raises(DistillationError, match="of kind rank"):
        kzoo.Distiller(teacher=make(k=1), student=make(k=1))
    distiller = kzoo.Distiller(teacher=make(), student=make())
    losses = distiller.fit(ROWS * 2, LABELS * 2, epochs=2, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
