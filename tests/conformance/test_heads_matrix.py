"""Every kind of head: XLA, half precision, a fusion layer, two adapters, files, the same numbers.

A new kind needs its rows in `ROWS`; one that is registered without any fails here.
"""

from contextlib import contextmanager

import keras
import numpy as np
import pytest
from tiny import NEGATIVE, POSITIVE, make_tiny_trunk

import kzoo
from kzoo.heads import HEADS

TEXTS = POSITIVE + NEGATIVE
PAIRS = list(zip(TEXTS, TEXTS[3:] + TEXTS[:3], strict=True))
SPLIT = [text.split() for text in TEXTS]
#: Kind -> (options, rows, labels); None for what has tests of its own: vectors and generators.
ROWS = {
    "classify": ({}, TEXTS, ["pos"] * 5 + ["neg"] * 5),
    "multilabel": ({}, TEXTS, [["good"], ["good", "b"], [], ["b"], ["good"]] * 2),
    "ordinal": ({}, TEXTS, [1, 2, 3, 2, 1] * 2),
    "regress": ({}, TEXTS, [float(len(text)) for text in TEXTS]),
    "tag": ({"crf": True}, SPLIT, [["B-x", *["O"] * (len(row) - 1)] for row in SPLIT]),
    "span": ({}, [("a", text) for text in TEXTS], [(0, text.split()[0]) for text in TEXTS]),
    "rank": ({"k": 2}, [("a", (text, "a cat")) for text in TEXTS], [[1, 0]] * 5 + [[0, 1]] * 5),
    "choose": ({"k": 2}, [("a", (text, "a cat")) for text in TEXTS], [0] * 5 + [1] * 5),
    "contrast": ({}, PAIRS, None),
    "similarity": ({}, PAIRS, [0.1, 0.9] * 5),
    "masked_lm": ({"share": 0.5}, TEXTS, None),
    "embed": None,
    "causal_lm": None,
    "seq2seq_lm": None,
}
KINDS = [kind for kind, row in ROWS.items() if row is not None]


def make(kind, fusion=False, dtype=None):
    options, rows, labels = ROWS[kind]
    with policy(dtype):
        trunk = kzoo.Trunk(make_tiny_trunk(), max_tokens=32, name="trunk")
        head = HEADS.get(kind)(dropout=0.0, name="out", **options)
        inputs, states = head.on_trunk(trunk)
        given = [inputs]
        if fusion:
            known = kzoo.ArrayInput((None, 4), name="known")
            states = kzoo.fusion.GatedCrossAttention(num_heads=2)(states, known)
            given.append(known)
        model = kzoo.Model(given if fusion else inputs, head(states))
    trunk.adapters.add("a", "lora[r=2]")
    if fusion:
        rows = {"text": rows}
        rows["known"] = [np.ones((n % 3, 4), "float32") for n in range(len(TEXTS))]
    return model, rows, labels


@contextmanager
def policy(name):
    """A global dtype policy for a while."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name or before)
    yield
    keras.config.set_dtype_policy(before)


def losses(model, rows, labels, **compiled):
    model.compile(learning_rate=0.02, **compiled)
    return model.fit(rows, labels, epochs=4, batch_size=5, shuffle=False, verbose=0).history["loss"]


@pytest.fixture(scope="module", params=KINDS)
def plain(request):
    made = make(request.param)
    return request.param, *made, losses(*made)


def test_every_kind_is_tried():
    assert set(HEADS) == set(ROWS)


def test_it_learns_and_is_saved(plain, tmp_path):
    _, model, rows, labels, found = plain
    assert np.isfinite(found).all() and found[-1] < found[0]
    outputs = model.predict(rows, verbose=0)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(loaded.predict(rows, verbose=0), outputs, atol=2e-5)
    before = model.evaluate(rows, labels, verbose=0, return_dict=True)
    after = loaded.evaluate(rows, labels, verbose=0, return_dict=True)
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert after[name] == pytest.approx(value, abs=1e-4), name
    if labels is not None:
        assert len(model.predict_values(rows, verbose=0)) == len(labels)


def test_its_adapter_takes_the_head_along(plain, tmp_path):
    kind, model, rows, labels, _ = plain
    outputs = model.predict(rows, verbose=0)
    model.adapters.save("a", tmp_path / "a")
    other = make(kind)[0]
    other.adapters.delete("a")
    other.adapters.load(tmp_path / "a", "b")
    np.testing.assert_allclose(other.predict(rows, verbose=0), outputs, atol=2e-5)
    # A second adapter has an output layer of its own, and leaves the first one's alone.
    other.adapters.add("c", "lora[r=2]")
    other.fit(rows, labels, epochs=1, verbose=0)
    other.adapters.activate("b")
    np.testing.assert_allclose(other.predict(rows, verbose=0), outputs, atol=2e-5)


def test_xla_gives_the_same_losses(plain):
    kind, *_, found = plain
    np.testing.assert_allclose(losses(*make(kind), jit_compile=True), found, rtol=2e-3)


def test_half_precision_stays_near(plain):
    kind, *_, found = plain
    model, rows, labels = make(kind, dtype="mixed_bfloat16")
    np.testing.assert_allclose(losses(model, rows, labels), found, rtol=0.1)
    assert model.predict(rows, verbose=0).dtype == np.float32


def test_it_stands_behind_a_fusion_layer(plain):
    kind, *_, found = plain
    if kind in ("rank", "choose", "contrast", "similarity"):
        pytest.skip("a fusion layer mixes one sequence; candidates and pairs are several")
    model, rows, labels = make(kind, fusion=True)
    # The gate is closed at first, so that the first epoch begins as without the layer.
    ours = losses(model, rows, labels)
    assert ours[0] == pytest.approx(found[0], rel=0.05) and ours[-1] < ours[0]


def test_the_same_seed_gives_the_same_numbers(plain):
    kind, *_, found = plain
    assert losses(*make(kind)) == pytest.approx(found, rel=1e-6)
