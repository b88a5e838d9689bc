"""Heads on several vectors: losses as numpy has them, rows without labels, what is refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import logsumexp
from tiny import NEGATIVE, POSITIVE, make_model, make_tiny_trunk

import kzoo
from kzoo.errors import InputError
from kzoo.heads.contrast import ContrastLoss, nearest_in_batch

RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(6, 3, 8)).astype("float32")  # anchor, positive, one mined negative
INFONCE = {"scale": 20.0, "symmetric": False}
TRIPLES = list(zip(POSITIVE, POSITIVE[1:] + POSITIVE[:1], NEGATIVE, strict=True))


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def infonce(vectors, scale, symmetric=False):
    """Row by row: -log of the softmax of the anchor's own positive, as the paper has it."""
    v = unit(vectors.astype("float64"))
    every = [row[n] for row in v for n in range(1, v.shape[1])]
    found = []
    for row in v:
        own = scale * (row[0] @ row[1])
        loss = logsumexp([scale * (row[0] @ c) for c in every]) - own
        if symmetric:
            back = logsumexp([scale * (row[1] @ other[0]) for other in v]) - own
            loss = (loss + back) / 2
        found.append(loss)
    return np.array(found)


def triplet(vectors, margin, distance):
    v = vectors.astype("float64")
    if distance == "cosine":
        v = unit(v)
        d = lambda a, b: 1 - a @ b  # noqa: E731
    else:
        d = lambda a, b: np.linalg.norm(a - b)  # noqa: E731
    return np.array(
        [np.mean([max(d(row[0], row[1]) - d(row[0], n) + margin, 0) for n in row[2:]]) for row in v]
    )


@pytest.mark.parametrize("texts", [2, 3])
@pytest.mark.parametrize("scale", [1.0, 20.0])
@pytest.mark.parametrize("symmetric", [False, True])
def test_infonce_is_its_formula(texts, scale, symmetric):
    vectors = VECTORS[:, :texts]
    loss = ContrastLoss("infonce", None, {"scale": scale, "symmetric": symmetric})
    found = np.asarray(loss.call(None, vectors))
    np.testing.assert_allclose(found, infonce(vectors, scale, symmetric), rtol=1e-4, atol=1e-5)
    weights = np.arange(1.0, 7.0)
    weighted = float(loss(np.zeros(6), vectors, weights))
    assert weighted == pytest.approx(np.mean(found * weights), rel=1e-5)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert float(again(np.zeros(6), vectors)) == float(loss(np.zeros(6), vectors))


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_triplet_is_its_formula(distance):
    vectors = RNG.normal(size=(6, 4, 8)).astype("float32")
    loss = ContrastLoss("triplet", None, {"margin": 0.3, "distance": distance})
    expected = triplet(vectors, 0.3, distance)
    assert 0 < (expected == 0).mean() < 1 or expected.min() > 0  # both sides of the hinge
    np.testing.assert_allclose(loss.call(None, vectors), expected, rtol=1e-5, atol=1e-5)


def test_matryoshka_is_the_sum_over_cut_vectors():
    loss = ContrastLoss("infonce", [2, 4, 8], INFONCE)
    expected = sum(infonce(VECTORS[..., :size], 20.0) for size in (2, 4, 8))
    np.testing.assert_allclose(loss.call(None, VECTORS), expected, rtol=1e-4)
    # Not only of cosines: the cut vectors are brought to length 1.
    loss = ContrastLoss("triplet", [2, 8], {"margin": 0.3, "distance": "euclidean"})
    expected = sum(triplet(unit(VECTORS[..., :size]), 0.3, "euclidean") for size in (2, 8))
    np.testing.assert_allclose(loss.call(None, VECTORS), expected, rtol=1e-4, atol=1e-5)


def test_a_text_at_distance_0_has_a_gradient():
    same = tf.Variable(np.ones((2, 3, 4), "float32"))
    loss = ContrastLoss("triplet", None, {"margin": 1.0, "distance": "euclidean"})
    with tf.GradientTape() as tape:
        value = loss(np.zeros(2), same)
    assert np.isfinite(np.asarray(tape.gradient(value, same))).all()


def test_losses_equal_sentence_transformers():
    pytest.importorskip("sentence_transformers")
    import torch
    from sentence_transformers.sentence_transformer import losses

    bare = torch.nn.Identity()
    columns = [torch.tensor(VECTORS[:, n]) for n in range(3)]
    zeros = np.zeros(len(VECTORS))
    theirs = losses.MultipleNegativesRankingLoss(bare)
    ours = ContrastLoss("infonce", None, INFONCE)
    for texts in (2, 3):
        expected = float(theirs.compute_loss_from_embeddings(columns[:texts], None))
        assert float(ours(zeros, VECTORS[:, :texts])) == pytest.approx(expected, rel=1e-5)
    metric = losses.TripletDistanceMetric
    for distance, name in ((metric.COSINE, "cosine"), (metric.EUCLIDEAN, "euclidean")):
        d = [distance(columns[0], other) for other in columns[1:]]
        expected = float(torch.relu(d[0] - d[1] + 0.4).mean())
        ours = ContrastLoss("triplet", None, {"margin": 0.4, "distance": name})
        assert float(ours(zeros, VECTORS)) == pytest.approx(expected, rel=1e-4)


def test_nearest_in_batch():
    v = unit(VECTORS)
    scores = v[:, 0] @ v[:, 1:].reshape(-1, 8).T
    expected = scores.argmax(axis=1) == 2 * np.arange(6)
    np.testing.assert_array_equal(np.asarray(nearest_in_batch(None, VECTORS)) == 1, expected)
    right = np.concatenate([v[:, :1], v[:, :1], -v[:, :1]], axis=1)
    assert np.asarray(nearest_in_batch(None, right)).all()


# --- Models ----------------------------------------------------------------------------------


def make(kind="contrast", adapter="lora[r=4]", **head):
    training = head.pop("training", {"learning_rate": 0.02})
    trunk = head.pop("trunk", "frozen")
    spec = {"head": {"kind": kind, **head}, "training": training, "max_tokens": 16, "trunk": trunk}
    model = make_model(kzoo.TextEncoder, make_tiny_trunk(num_layers=1), **spec)
    if adapter:
        model.adapters.add("a", adapter)
    return model


HALF = "mixed_bfloat16"
MINED = ["anchor", "positive", "negative"]


@pytest.mark.parametrize(
    ("head", "columns"),
    [
        ({}, 2),
        ({"symmetric": True, "columns": MINED, "sizes": [4, 16]}, 3),
        ({"loss": "triplet", "distance": "euclidean", "margin": 1.0}, 3),
    ],
    ids=["infonce", "negatives, matryoshka", "triplet"],
)
def test_training_lowers_the_loss_and_moves_the_vectors(head, columns, tmp_path):
    model = make(**head)
    rows = [row[:columns] for row in TRIPLES]
    before = model.encode(POSITIVE)
    history = model.fit(rows, epochs=12, batch_size=5, verbose=0, validation_data=rows).history
    assert history["val_loss"][-1] < 0.95 * history["val_loss"][0]
    after = model.encode(POSITIVE)
    assert np.abs(after - before).max() > 0.01
    # The loss that Keras reports is the formula on the vectors that `predict` gives.
    vectors = model.predict(rows, verbose=0)
    assert vectors.shape == (5, columns, 16)
    np.testing.assert_allclose(vectors[:, 0], after, atol=1e-6)
    own = float(model.head.default_loss()(np.zeros(5), vectors))
    assert model.evaluate(rows, verbose=0, return_dict=True)["loss"] == pytest.approx(own, rel=1e-4)
    if head:
        return
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(again.encode(POSITIVE), after, atol=1e-6)
    assert again.head.get_config() == model.head.get_config()
    again.fit(rows, epochs=1, verbose=0)  # with the optimizer's state
    assert int(again.optimizer.iterations) == 13


def test_rows_in_every_form_are_the_same_rows():
    model = make()
    pairs = [row[:2] for row in TRIPLES]
    anchors, positives = (list(column) for column in zip(*pairs, strict=True))
    expected = model.predict(pairs, verbose=0)
    dataset = tf.data.Dataset.from_tensor_slices({"anchor": anchors, "positive": positives})
    forms = {
        "columns": (anchors, positives),
        "dict": {"anchor": anchors, "positive": positives, "label": [1] * 5},
        "split": kzoo.datasets.Split(anchors, positives, labels=[0.0] * 5),
        "two rows": pairs[:2],
        "stream": dataset.batch(5),
    }
    for name, form in forms.items():
        found = model.predict(form, verbose=0)
        np.testing.assert_allclose(found, expected[: len(found)], atol=1e-6, err_msg=name)
    loss = model.evaluate(pairs, batch_size=5, verbose=0, return_dict=True)["loss"]
    assert model.evaluate(dataset.batch(5), verbose=0, return_dict=True)["loss"] == pytest.approx(
        loss
    )
    batches = ({"anchor": anchors, "positive": positives} for _ in range(2))
    assert np.isfinite(model.fit(batches, epochs=1, verbose=0).history["loss"]).all()
    held = model.fit(pairs, epochs=1, validation_split=0.4, verbose=0).history
    assert {"val_loss", "val_mrr", "val_batch_accuracy"} <= set(held)


def test_weights_of_rows_count():
    model = make(scale=2.0)
    pairs, weights = [row[:2] for row in TRIPLES], np.array([1.0, 0, 0, 2, 0])
    vectors = model.predict(pairs, verbose=0)
    expected = np.mean(infonce(vectors, 2.0) * weights)
    found = model.evaluate(pairs, sample_weight=weights, verbose=0, return_dict=True)["loss"]
    assert found == pytest.approx(expected, rel=1e-4)


def test_xla_and_half_precision_stay_near():
    rows = [row[:2] for row in TRIPLES]
    found = {}
    for way, policy, jit in (("plain", None, False), ("xla", None, True), ("half", HALF, False)):
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy or before)
        model = make()
        keras.config.set_dtype_policy(before)
        model.compile(jit_compile=jit)
        found[way] = model.fit(rows, epochs=3, shuffle=False, verbose=0).history["loss"]
    assert model.predict(rows, verbose=0).dtype == np.float32
    np.testing.assert_allclose(found["xla"], found["plain"], rtol=2e-3)
    np.testing.assert_allclose(found["half"], found["plain"], rtol=0.1)


def test_two_trunks_and_a_second_head():
    queries = kzoo.Trunk(make_tiny_trunk(1), max_tokens=16, name="queries")
    passages = kzoo.Trunk(make_tiny_trunk(2, num_layers=1), max_tokens=32, name="passages")
    for trunk in (queries, passages):
        trunk.adapters.add("a", "lora[r=4]")
    query, passage = kzoo.TextInput(queries, "query"), kzoo.TextInput(passages, "passage")
    first = kzoo.heads.Embed(name="q")(queries(query))
    second = kzoo.heads.Embed(name="p")(passages(passage))
    outputs = [
        kzoo.heads.Contrast(name="found", loss_weight=0.5)([first, second]),
        kzoo.heads.Classify(name="topic")(first),
    ]
    model = kzoo.Model([query, passage], outputs, training={"learning_rate": 0.02})
    columns = {"query": POSITIVE + NEGATIVE, "passage": POSITIVE[::-1] + NEGATIVE[::-1]}
    columns["topic"] = ["good"] * 5 + ["bad"] * 5
    before = {trunk.name: _adapter(trunk) for trunk in (queries, passages)}
    history = model.fit(columns, epochs=4, batch_size=10, verbose=0).history
    assert history["found_loss"][-1] < history["found_loss"][0]
    total = 0.5 * history["found_loss"][0] + history["topic_loss"][0]
    assert history["loss"][0] == pytest.approx(total, rel=1e-4)
    for trunk in (queries, passages):
        assert np.abs(_adapter(trunk) - before[trunk.name]).max() > 0


def _adapter(trunk):
    values = [np.ravel(np.asarray(v)) for v in trunk.adapters.variables("a").values()]
    return np.concatenate(values)


@pytest.mark.parametrize("noise", ["adapter", "head"])
def test_simcse_learns_by_dropout(noise):
    model = make(
        adapter="lora[r=4,dropout=0.3]" if noise == "adapter" else "lora[r=4]",
        columns=["text"],
        dropout=0.3 if noise == "head" else 0.0,
    )
    texts = POSITIVE + NEGATIVE
    inputs = model.text.encode(texts)
    inputs = {f"text_{key}": value for key, value in inputs.items()}
    if noise != "adapter":  # LoRA's second factor is zero before training
        vectors = np.asarray(model(inputs, training=True))
        assert np.abs(vectors[:, 0] - vectors[:, 1]).max() > 1e-3
    before = model.encode(texts)
    model.fit(texts, epochs=1, batch_size=5, verbose=0)
    vectors = np.asarray(model(inputs, training=True))
    assert np.abs(vectors[:, 0] - vectors[:, 1]).max() > 1e-4
    assert np.abs(model.encode(texts) - before).max() > 1e-4


def test_simcse_without_noise_is_refused():
    model = make(columns=["text"])
    with pytest.raises(InputError, match=r"dropout of a frozen trunk is off.*dropout=0.1"):
        model.fit(POSITIVE, epochs=1, verbose=0)
    model.adapters.add("noisy", "lora[r=2,dropout=0.2]")
    model.adapters.activate("a")  # its dropout does not act
    with pytest.raises(InputError, match="they are equal"):
        model.fit(POSITIVE, epochs=1, verbose=0)
    model.adapters.activate("noisy")
    model.head.note_fit()
    model.adapters.activate("a")
    model.unfreeze_trunk()
    model.head.note_fit()


def test_vectors_of_a_teacher_are_learned():
    teacher = make_model(kzoo.TextEncoder, make_tiny_trunk(3, num_layers=1), max_tokens=16)
    texts = POSITIVE + NEGATIVE
    wanted = teacher.encode(texts)
    for loss in ("mse", "cosine"):
        model = make("embed", adapter="lora[r=8,targets=all-linear]", loss=loss)
        found = model.encode(texts)
        expected = {
            "mse": np.mean((found - wanted) ** 2),
            "cosine": np.mean(1 - np.sum(found * wanted, axis=1)),
        }[loss]
        score = model.evaluate(texts, wanted, verbose=0, return_dict=True)["loss"]
        assert score == pytest.approx(float(expected), rel=1e-4)
        history = model.fit(texts, wanted, epochs=8, batch_size=5, verbose=0).history
        assert history["loss"][-1] < 0.8 * history["loss"][0]
    with pytest.raises(InputError, match="row 0 must be 16 finite numbers"):
        model.fit(texts, wanted[:, :8], epochs=1, verbose=0)


def test_similarity_is_a_cosine_that_learns_scores(tmp_path):
    model = make("similarity", highest=5.0)
    pairs = {"sentence1": POSITIVE + NEGATIVE, "sentence2": NEGATIVE + NEGATIVE[::-1]}
    scores = [0.0, 1, 0, 1, 0, 4, 5, 5, 5, 4]
    vectors = [model.encode(column) for column in pairs.values()]
    cosines = np.sum(unit(vectors[0]) * unit(vectors[1]), axis=1)
    found = model.predict_values(pairs, verbose=0)
    np.testing.assert_allclose(found, 5 * cosines, atol=1e-4)
    first = model.evaluate({**pairs, "score": scores}, verbose=0, return_dict=True)
    errors = 5 * cosines - scores
    assert first["loss"] == pytest.approx(np.mean((errors / 5) ** 2), rel=1e-3)
    assert first["rmse"] == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-3)
    # Two of the cosines are 1 but for rounding.
    assert first["spearman"] == pytest.approx(kzoo.metrics.spearman(cosines, scores), abs=0.01)
    model.fit({**pairs, "score": scores}, epochs=10, batch_size=5, verbose=0)
    after = model.evaluate(pairs, scores, verbose=0, return_dict=True)
    assert after["loss"] < 0.8 * first["loss"] and after["pearson"] > first["pearson"]
    model.save(tmp_path / "m.keras")
    again = kzoo.load(tmp_path / "m.keras")
    assert again.predict(pairs, verbose=0) == pytest.approx(
        model.predict(pairs, verbose=0), abs=1e-5
    )
    assert again.encode(POSITIVE) == pytest.approx(model.encode(POSITIVE), abs=1e-6)


# --- What is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ({"loss": "nce"}, "`loss` must be one of infonce, triplet"),
        ({"loss": "triplet", "symmetric": True}, "`symmetric` means nothing to the loss 'triplet'"),
        ({"margin": 0.2}, "`margin` means nothing to the loss 'infonce'"),
        ({"scale": 0.0}, "`scale` must be more than 0"),
        ({"loss": "triplet", "distance": "dot"}, "`distance` must be one of cosine, euclidean"),
        ({"loss": "triplet", "columns": ["a", "b"]}, "needs negatives"),
        ({"sizes": [4, 32]}, "`sizes` must be numbers from 1 to 16"),
        ({"sizes": []}, "`sizes` must be numbers from 1 to 16"),
        ({"columns": ["a", "a"]}, "`columns` must be different names"),
        ({"kind": "similarity", "highest": 0}, "`highest` must be more than 0"),
        ({"kind": "similarity", "columns": ["a", "b", "c"]}, "compares two vectors"),
        ({"kind": "embed", "loss": "kl"}, "`loss` must be 'mse', 'cosine' or None"),
    ],
)
def test_what_does_not_fit_is_named(head, said):
    options = dict(head)
    kind, columns = options.pop("kind", "contrast"), options.get("columns", ["a", "b", "c"][:2])
    with pytest.raises(InputError, match=said):
        kzoo.heads.HEADS.get(kind)(**options)([keras.Input((16,)) for _ in columns])


def test_what_is_no_list_of_vectors_is_refused():
    trunk = kzoo.Trunk(make_tiny_trunk(), max_tokens=16)
    states = trunk(kzoo.TextInput(trunk))
    with pytest.raises(InputError, match="list of two or more vectors"):
        kzoo.heads.Contrast()(states)
    with pytest.raises(InputError, match="list of two or more vectors"):
        kzoo.heads.Contrast()([states, states])
    with pytest.raises(InputError, match="of one width"):
        kzoo.heads.Contrast()([keras.Input((4,)), keras.Input((5,))])


def test_labels_nobody_asked_for_and_missing_columns():
    model = make()
    with pytest.raises(InputError, match="takes no labels"):
        model.fit([row[:2] for row in TRIPLES], [1] * 5, epochs=1, verbose=0)
    with pytest.raises(InputError, match="no column `positive`"):
        model.fit({"anchor": POSITIVE}, epochs=1, verbose=0)
    with pytest.raises(InputError, match=r"row 1 is 3.*Pass `highest=`"):
        pairs = {"sentence1": POSITIVE, "sentence2": NEGATIVE}
        make("similarity").fit(pairs, [0.5, 3.0, 1, 1, 1], epochs=1, verbose=0)
    with pytest.raises(InputError, match="`size` must be from 1 to 16"):
        model.encode(POSITIVE, size=17)
    assert model.encode([], size=4).shape == (0, 4)
    cut = model.encode(POSITIVE, size=4)
    np.testing.assert_allclose(cut, unit(model.encode(POSITIVE)[:, :4]), atol=1e-6)
