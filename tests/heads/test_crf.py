"""The CRF against sums over all chains."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from kzoo.errors import InputError
from kzoo.heads.crf import CRF, allowed_transitions
from kzoo.metrics.entities import entities

TAGS = {
    "bio": ["O", "B-X", "I-X", "B-Y", "I-Y"],
    "iobes": ["O", "B-X", "I-X", "E-X", "S-X", "B-Y", "E-Y"],
    "plain": ["O", "X", "Y"],
}


def make(num_tags, allowed=None, seed=0, scale=1.0):
    crf = CRF(num_tags, allowed)
    rng = np.random.default_rng(seed)
    crf.set_weights([rng.normal(scale=scale, size=w.shape) for w in crf.get_weights()])
    return crf


def draw(num_tags, batch=4, length=5, seed=1):
    rng = np.random.default_rng(seed)
    emissions = rng.normal(scale=2.0, size=(batch, length, num_tags)).astype("float32")
    return emissions, rng.integers(0, num_tags, (batch, length)), rng.random((batch, length)) < 0.6


def allows(allowed, chain):
    return (
        not len(chain)
        or allowed is None
        or bool(
            allowed.start[chain[0]]
            and allowed.end[chain[-1]]
            and all(allowed.between[a, b] for a, b in itertools.pairwise(chain))
        )
    )


def by_hand(crf, emissions, allowed=None):
    """All chains over the rows of `emissions` (length, num_tags) with their scores, in float64."""
    transitions, start, end = (w.astype("float64") for w in crf.get_weights())
    scores = {}
    for chain in itertools.product(range(crf.num_tags), repeat=len(emissions)):
        if allows(allowed, chain):
            score = sum(emissions[i, tag] for i, tag in enumerate(chain))
            score += sum(transitions[a, b] for a, b in itertools.pairwise(chain))
            scores[chain] = score + (start[chain[0]] + end[chain[-1]] if chain else 0.0)
    return scores


def run(function, jit):
    """As it is called, and as XLA compiles it for a batch of unknown size."""
    if not jit:
        return function
    signature = [tf.TensorSpec((None, None, *s), d) for s, d in (((), "int32"), ((), "bool"))]

    def compiled(emissions, *others):
        specs = [tf.TensorSpec((None, None, emissions.shape[-1])), *signature[-len(others) :]]
        return tf.function(function, jit_compile=True, input_signature=specs)(emissions, *others)

    return compiled


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("scheme", [None, "bio", "iobes"])
def test_likelihood_and_best_chain_equal_brute_force(scheme, jit):
    tags = TAGS[scheme or "bio"]
    allowed = None if scheme is None else allowed_transitions(tags, scheme)
    crf = make(len(tags), allowed)
    emissions, drawn, mask = draw(len(tags))
    mask[0], mask[1] = True, False  # a whole row, and a row without positions
    wanted, best = [], np.full(drawn.shape, -1)
    for row, real in enumerate(mask):
        scores = by_hand(crf, emissions[row, real], allowed)
        chain = tuple(drawn[row, real])
        if chain not in scores:
            chain = list(scores)[row]
            drawn[row, real] = chain
        values = np.array(list(scores.values()))
        wanted.append(scores[chain] - np.log(np.exp(values - values.max()).sum()) - values.max())
        best[row, real] = max(scores, key=scores.get)
    assert wanted[1] == 0
    emissions[~mask] = np.nan  # what is masked counts for nothing, whatever it is
    drawn[~mask] = -100
    drawn = drawn.astype("int32")
    found = run(crf.log_likelihood, jit)(emissions, drawn, mask)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5)
    assert found.dtype == "float32"
    np.testing.assert_array_equal(run(crf.viterbi, jit)(emissions, mask), best)


def test_one_position_and_no_mask():
    crf = make(3)
    emissions, drawn, _ = draw(3, length=1)
    shifted = emissions[:, 0] + crf.get_weights()[1] + crf.get_weights()[2]
    expected = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    found = crf.log_likelihood(emissions, drawn)
    np.testing.assert_allclose(found, expected[range(4), drawn[:, 0]], atol=1e-6)
    np.testing.assert_array_equal(crf(emissions)[:, 0], shifted.argmax(-1))


def test_untrained_it_is_a_softmax_of_each_position():
    emissions, drawn, mask = draw(4)
    log_p = np.log(np.exp(emissions) / np.exp(emissions).sum(-1, keepdims=True))
    expected = (np.take_along_axis(log_p, drawn[..., None], -1)[..., 0] * mask).sum(1)
    np.testing.assert_allclose(CRF(4).log_likelihood(emissions, drawn, mask), expected, atol=1e-5)


@pytest.mark.parametrize("jit", [False, True])
def test_gradient_is_what_occurs_less_what_is_expected(jit):
    tags = TAGS["bio"]
    allowed = allowed_transitions(tags, "bio")
    crf = make(len(tags), allowed)
    emissions, _, mask = draw(len(tags), batch=2)
    mask[:, 0], mask[:, 2] = True, False
    drawn = np.zeros(mask.shape, "int32")
    inputs = np.where(mask[..., None], emissions, np.nan)

    def gradients(emissions, drawn, mask):
        with tf.GradientTape() as tape:
            tape.watch(emissions)
            total = tf.reduce_sum(crf.log_likelihood(emissions, drawn, mask))
        return tape.gradient(total, [emissions, *(v.value for v in crf.trainable_variables)])

    on_emissions, on_transitions, on_start, on_end = run(gradients, jit)(
        tf.constant(inputs), tf.constant(drawn), tf.constant(mask)
    )
    wanted = [np.zeros(emissions.shape), np.zeros((5, 5)), np.zeros(5), np.zeros(5)]
    for row, real in enumerate(mask):
        scores = by_hand(crf, emissions[row, real], allowed)
        total = sum(np.exp(score) for score in scores.values())
        places = np.flatnonzero(real)
        for chain, score in scores.items():
            weight = (not any(chain)) - np.exp(score) / total
            wanted[0][row, places, list(chain)] += weight
            np.add.at(wanted[1], (chain[:-1], chain[1:]), weight)
            wanted[2][chain[0]] += weight
            wanted[3][chain[-1]] += weight
    found = [on_emissions, tf.convert_to_tensor(on_transitions), on_start, on_end]
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("scheme", ["bio", "iobes", "plain"])
def test_allowed_are_the_chains_whose_every_tag_is_in_an_entity(scheme):
    tags = TAGS[scheme]
    allowed = allowed_transitions(tags, scheme)
    for length in range(1, 5):
        for chain in itertools.product(range(len(tags)), repeat=length):
            words = [tags[i] for i in chain]
            inside = sum(end - first for _, first, end in entities(words, scheme))
            assert allows(allowed, chain) == (inside == length - words.count("O")), words


def test_what_is_forbidden_is_never_decoded():
    tags = TAGS["bio"]
    allowed = allowed_transitions(tags, "bio")
    crf = make(len(tags), allowed, scale=1e4)
    rng = np.random.default_rng(2)
    emissions = rng.normal(size=(64, 12, 5)).astype("float32")
    emissions[..., [2, 4]] += 1e8  # every position wants to be inside
    mask = rng.random((64, 12)) < 0.7
    found = crf.viterbi(emissions, mask).numpy()
    assert all(allows(allowed, row[row >= 0]) for row in found)
    # Without the restriction none of them would be well formed.
    free = make(len(tags), scale=1e4).viterbi(emissions, mask).numpy()
    assert not any(allows(allowed, row[row >= 0]) for row in free if (row >= 0).any())
    bad = np.full((64, 12), 2, "int32")
    values = crf.log_likelihood(emissions, bad, mask).numpy()[mask.any(1)]
    assert np.isfinite(values).all() and (values < -1e8).all()


def test_a_tag_that_does_not_exist_is_not_a_number():
    crf = make(3)
    emissions, drawn, _ = draw(3, batch=3)
    drawn[0, 2], drawn[1, 4] = 3, -1
    mask = np.ones(drawn.shape, bool)
    mask[1, 4] = False
    found = crf.log_likelihood(emissions, drawn, mask).numpy()
    assert np.isnan(found).tolist() == [True, False, False]


class Tagger(keras.Model):
    def __init__(self, tags, **kwargs):
        super().__init__(**kwargs)
        self.crf = CRF(len(tags), allowed_transitions(tags))
        self.dense = keras.layers.Dense(len(tags))

    def call(self, x):
        # Inside the other layer's scope, where Keras would cast the variables to bfloat16.
        self.seen = self.crf.log_likelihood(self.dense(x), np.zeros((1, 1), "int32")).dtype
        return self.dense(x)


def test_float32_in_mixed_precision_and_training_under_xla():
    tags = TAGS["bio"]
    model = Tagger(tags, dtype="mixed_bfloat16")
    crf = model.crf
    # The type can only be told from what stands before: I after B of its own type.
    rng = np.random.default_rng(0)
    y = np.array([[0, 1, 2, 0, 3, 4], [3, 4, 0, 1, 2, 2]])[rng.integers(0, 2, 64)]
    signals = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1], [0, 0, 1]], "float32")
    y[:, -1] = np.where(rng.random(64) < 0.5, -1, y[:, -1])
    x = signals[y]

    def loss(true, emissions):
        return -crf.log_likelihood(emissions, true, true >= 0)

    model(x[:1, :1])
    assert model.seen == "float32" and {v.dtype for v in crf.variables} == {"float32"}
    model.compile(keras.optimizers.Adam(0.1), loss, jit_compile=True)
    history = model.fit(x, y, epochs=12, batch_size=32, verbose=0).history["loss"]
    assert history[-1] < 0.1 * history[0]
    found = crf.viterbi(model.predict(x, verbose=0), y >= 0)
    np.testing.assert_array_equal(found, y)
    assert not np.array_equal(np.argmax(model.predict(x, verbose=0), -1)[y >= 0], y[y >= 0])


def test_saved_and_loaded(tmp_path):
    emissions = keras.Input((None, 5))
    mask = keras.Input((None,), dtype="bool")
    crf = make(5, allowed_transitions(TAGS["bio"]))
    model = keras.Model([emissions, mask], crf(emissions, mask=mask))
    assert model.output_shape == (None, None) and model.output.dtype == "int32"
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    x, _, real = draw(5, batch=16)
    expected = model.predict([x, real], verbose=0)
    np.testing.assert_array_equal(loaded.predict([x, real], verbose=0), expected)
    assert (expected == crf.viterbi(x, real).numpy()).all() and (expected[~real] == -1).all()


def test_bad_input_is_named():
    with pytest.raises(InputError, match=r"`allowed`.*\(3, 3\), \(3,\) and \(3,\) for 3 tags"):
        CRF(3, allowed_transitions(TAGS["bio"]))
    with pytest.raises(InputError, match="`allowed` leaves no chain of 1 tags"):
        CRF(2, allowed_transitions(["B-X", "E-X"], "iobes"))
    with pytest.raises(ValueError, match="'Q-X'"):
        allowed_transitions(["O", "Q-X"])
