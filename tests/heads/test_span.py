"""Span: windows, offsets into the context, best spans against brute force."""

import itertools

import keras
import numpy as np
import pytest
from tiny import make_model, make_tiny_trunk

import kzoo
from kzoo.errors import InputError
from kzoo.heads.span import SpanCrossentropy, best_spans, both_right

COLOURS, ANIMALS = ("red", "green", "blue"), ("cat", "dog")


def make(max_tokens=32, **head):
    head = {"kind": "span", "dropout": 0.0, **head}
    model = make_model(kzoo.Model, make_tiny_trunk(), max_tokens=max_tokens, head=head)
    model.adapters.add("a", "lora[r=4]")
    return model


def rows(count, seed=0, without=0.0, longest=7):
    """Which colour the animal in a sentence has."""
    rng = np.random.default_rng(seed)
    pairs, answers = [], []
    for _ in range(count):
        colour, animal = rng.choice(COLOURS), rng.choice(ANIMALS)
        before = " ".join(rng.choice(["good", "bad", "movie", "the"], rng.integers(1, longest)))
        known = rng.random() >= without
        middle = f"{colour}  {animal}" if known else "film"
        pairs.append(("the good one ?", f"{before} {middle} is nice"))
        start = len(before) + 1
        own = (
            {"text": [middle], "answer_start": [start]}
            if known
            else {"text": [], "answer_start": []}
        )
        answers.append(own)
    return pairs, answers


@pytest.fixture(scope="module")
def fitted():
    model = make()
    model.compile(learning_rate=0.05)
    pairs, answers = rows(160)
    history = model.fit(pairs, answers, epochs=15, batch_size=16, verbose=0).history
    return model, history


def test_it_learns_and_answers_with_slices(fitted):
    model, history = fitted
    assert history["loss"][-1] < 0.2 and history["exact_span"][-1] > 0.9
    pairs, answers = rows(40, seed=1)
    values = model.predict_values(pairs, verbose=0)
    for (_, context), value in zip(pairs, values, strict=True):
        assert context[value.start : value.end] == value.text
        assert 0 < value.probability <= 1
        assert len({(span.start, span.end) for span in value.candidates}) == len(value.candidates)
        assert 10 <= len(value.candidates) <= 20
        scores = [span.score for span in value.candidates]
        assert scores == sorted(scores, reverse=True) and value.text == value.candidates[0].text
    scores = model.evaluate(pairs, answers, verbose=0, return_dict=True)
    exact = np.mean([v.text == a["text"][0] for v, a in zip(values, answers, strict=True)])
    assert scores["exact"] == pytest.approx(exact) and exact > 0.9
    assert scores["f1"] >= scores["exact"] == scores["HasAns_exact"]


def test_the_loss_is_numpys(fitted):
    model, _ = fitted
    logits = np.random.default_rng(0).normal(size=(3, 5, 2)).astype("float32")
    labels = np.array([[0, 1], [4, 4], [2, 3]])
    shares = np.log(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))
    expected = [-(shares[i, s, 0] + shares[i, e, 1]) / 2 for i, (s, e) in enumerate(labels)]
    found = SpanCrossentropy(reduction=None)(labels, logits)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    right = [
        np.argmax(x[:, 0]) == s and np.argmax(x[:, 1]) == e
        for x, (s, e) in zip(logits, labels, strict=True)
    ]
    np.testing.assert_array_equal(both_right(labels, logits), np.float32(right))
    # Padding gets nothing: the loss of a row does not depend on its batch.
    pairs, answers = rows(2, seed=3)
    alone = [model.evaluate([p], [a], verbose=0)[0] for p, a in zip(pairs, answers, strict=True)]
    both = model.evaluate(pairs, answers, batch_size=2, verbose=0)[0]
    assert both == pytest.approx(np.mean(alone), rel=1e-4)


def test_the_best_spans_are_those_of_a_search():
    rng = np.random.default_rng(0)
    for tokens, longest, count in [(9, 4, 12), (1, 30, 5), (6, 30, 100), (5, 1, 3), (0, 3, 3)]:
        logits = rng.normal(size=(tokens, 2))
        every = [
            (i, j, logits[i, 0] + logits[j, 1])
            for i, j in itertools.product(range(tokens), repeat=2)
            if i <= j < i + longest
        ]
        expected = sorted(every, key=lambda span: -span[2])[:count]
        found = best_spans(logits, longest, count)
        assert [span[:2] for span in found] == [span[:2] for span in expected]
        np.testing.assert_allclose([s[2] for s in found], [s[2] for s in expected])


def test_windows_answer_as_one_long_window_does(fitted):
    """Labels stand in each window that holds the answer, and the best of all windows is taken."""
    model = make(max_tokens=20)
    pairs, answers = rows(8, seed=2, longest=40)
    dataset = model.prepare(pairs, answers)
    (part,) = model.reads["text"].encode(pairs)
    windows = part.windows
    assert len(windows.encoded) > 12
    labels = np.concatenate([labels for _, labels, _ in dataset.as_numpy_iterator()])
    whole = 0
    for window, (first, last) in enumerate(labels):
        row = windows.places.rows[window]
        own = windows.tokens(window)
        start, text = answers[row]["answer_start"][0], answers[row]["text"][0]
        inside = np.flatnonzero(windows.places.sides[own] == 1)
        held = windows.places.starts[own][inside[0]] <= start
        held &= windows.places.ends[own][inside[-1]] >= start + len(text)
        assert (first > 0) == held
        if held:
            whole += 1
            cut = windows.places.starts[own][first], windows.places.ends[own][last]
            assert pairs[row][1][slice(*cut)] == text
    assert whole >= 8
    # Read off: by a search over all windows, written out.
    outputs = model.predict(pairs, verbose=0)
    assert len(outputs) == len(windows.encoded)
    values = model.head.read_off(outputs, windows)
    for row, value in enumerate(values):
        best = (-np.inf, 0, 0)
        for window in np.flatnonzero(windows.places.rows == row):
            own = windows.tokens(window)
            at = windows.places
            for i, j in itertools.product(range(own.stop - own.start), repeat=2):
                if at.sides[own][i] == at.sides[own][j] == 1 and i <= j < i + 30:
                    score = float(outputs[window, i, 0]) + float(outputs[window, j, 1])
                    best = max(best, (score, at.starts[own][i], at.ends[own][j]))
        assert (value.start, value.end) == best[1:]


def test_a_long_window_and_short_ones_hold_the_same_tokens():
    """Each token of the context stands in some window, in its order, with its place."""
    trunk = kzoo.Trunk(make_tiny_trunk(), max_tokens=64, name="trunk")
    context = "The café is  blue, 北京 and naïve zebras " * 3
    rows = {}
    for limit in (64, 24):
        inputs = kzoo.WindowsInput(trunk, max_tokens=limit)
        read = kzoo.Model(inputs, trunk(inputs)["tokens"]).reads["text"]
        windows = read.encode([("the ?", context[:60])])[0].windows
        at = windows.places
        kept = at.sides == 1
        rows[limit] = {
            (int(s), int(e), int(i))
            for s, e, i in zip(
                at.starts[kept], at.ends[kept], windows.encoded.ids[kept], strict=True
            )
        }
    assert rows[64] == rows[24] and len(rows[64]) > 20


def test_questions_without_an_answer():
    model = make()
    model.compile(learning_rate=0.05)
    pairs, answers = rows(160, without=0.4)
    model.fit(pairs, answers, epochs=15, batch_size=16, verbose=0)
    assert model.head.facts["null_threshold"] == 0.0
    pairs, answers = rows(60, seed=1, without=0.4)
    values = model.predict_values(pairs, verbose=0)
    scores = model.evaluate(pairs, answers, verbose=0, return_dict=True)
    assert scores["NoAns_exact"] > 0.8 and scores["HasAns_exact"] > 0.8
    none = [not v.text for v in values]
    assert none == [v.null_score > 0 for v in values] and any(none) and not all(none)
    threshold = model.head.tune_threshold(answers, values)
    tuned = model.predict_values(pairs, verbose=0)
    best = max(
        np.mean(
            [
                (a["text"] == []) if v.null_score > t else (a["text"] != [] and _f1(v, a))
                for v, a in zip(values, answers, strict=True)
            ]
        )
        for t in [-1e9, *(v.null_score for v in values)]
    )
    assert model.evaluate(pairs, answers, verbose=0, return_dict=True)["f1"] == pytest.approx(best)
    assert [not v.text for v in tuned] == [v.null_score > threshold for v in values]


def _f1(value, answer):
    span = next(span.text for span in value.candidates if span.text)
    return kzoo.metrics.answer_f1(span, answer["text"][0])


def test_it_is_saved(fitted, tmp_path):
    model, _ = fitted
    pairs, _ = rows(5, seed=4)
    expected = model.predict(pairs, verbose=0)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(loaded.predict(pairs, verbose=0), expected, atol=1e-5)
    found = [[v.text for v in m.predict_values(pairs, verbose=0)] for m in (loaded, model)]
    assert found[0] == found[1]
    model.adapters.save("a", tmp_path / "a")
    other = make()
    other.adapters.delete("a")
    other.adapters.load(tmp_path / "a", "a")
    np.testing.assert_allclose(other.predict(pairs, verbose=0), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        ([("q", "a red cat")], [(3, "red")], "does not stand at character 3.*It stands at 2"),
        ([("q", "a red cat")], [{"text": "red", "answer_start": 2}], "row 0 must be"),
        ([("q", "a red cat")], [{"text": ["red"], "answer_start": []}], "row 0 must be"),
        (["a red cat"], [(2, "red")], "must be .question, context. pairs"),
    ],
)
def test_bad_rows_are_named(fitted, x, y, said):
    model, _ = fitted
    with pytest.raises(InputError, match=said):
        model.evaluate(x, y, verbose=0)


def test_a_stride_that_leaves_no_room():
    trunk = kzoo.Trunk(make_tiny_trunk(), max_tokens=20, name="trunk")
    inputs = kzoo.WindowsInput(trunk, stride=9)
    model = kzoo.Model(inputs, kzoo.heads.Span()(trunk(inputs)))
    with pytest.raises(InputError, match="`stride` must be from 0 to 7"):
        model.predict([("q", "a red cat")], verbose=0)
