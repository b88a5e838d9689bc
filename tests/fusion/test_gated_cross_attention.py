"""GatedCrossAttention against numpy, and the convention of all fusion layers."""

import keras
import numpy as np
import pytest

import kzoo
from kzoo.errors import InputError
from kzoo.fusion import FUSIONS

RNG = np.random.default_rng(0)
TOKENS = RNG.normal(size=(3, 4, 8)).astype("float32")
ITEMS = RNG.normal(size=(3, 5, 6)).astype("float32")
MASK = np.array([[1, 1, 0, 0, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], bool)
SCORES = RNG.normal(size=(3, 5)).astype("float32")


def make(**options):
    layer = kzoo.fusion.GatedCrossAttention(2, **options)
    layer(TOKENS, ITEMS)
    layer.attention_gate.assign(0.7)
    if layer.ffn_factor:
        layer.ffn_gate.assign(-0.4)
    return layer


def norm(x, layer):
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(var + layer.epsilon) * np.asarray(layer.gamma) + np.asarray(
        layer.beta
    )


def dense(x, layer):
    return x @ np.asarray(layer.kernel) + np.asarray(layer.bias)


def by_numpy(layer, x, items, mask, scores):
    heads = lambda z: z.reshape(*z.shape[:2], 2, -1)  # noqa: E731
    q, k, v = (
        heads(dense(norm(x, layer.norm), layer.query)),
        *(heads(dense(items, part)) for part in (layer.key, layer.value)),
    )
    logits = np.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(q.shape[-1]) + scores[:, None, None]
    logits = np.where(mask[:, None, None], logits, -np.inf)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    seen = np.einsum("bhqk,bkhd->bqhd", weights, v).reshape(*x.shape[:2], -1)
    h = x + np.tanh(0.7) * dense(seen, layer.output_dense)
    hidden = dense(norm(h, layer.ffn_norm), layer.ffn_hidden)
    hidden = np.asarray(keras.activations.gelu(hidden))
    return h + np.tanh(-0.4) * dense(hidden, layer.ffn_output)


def test_equals_numpy():
    layer = make()
    found = layer(TOKENS, ITEMS, knowledge_mask=MASK, scores=SCORES)
    rows = [0, 2]
    expected = by_numpy(layer, TOKENS[rows], ITEMS[rows], MASK[rows], SCORES[rows])
    np.testing.assert_allclose(np.asarray(found)[rows], expected, atol=2e-5)


def test_identity_at_the_start():
    layer = kzoo.fusion.GatedCrossAttention(4)
    np.testing.assert_array_equal(layer(TOKENS, ITEMS), TOKENS)


@pytest.mark.parametrize("name", FUSIONS.names())
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_the_convention(name, dtype):
    """What holds for every fusion layer that is registered."""
    cls = FUSIONS.get(name)
    layer = cls(num_heads=2, dtype=dtype)
    layer(TOKENS, ITEMS)
    for variable in layer.trainable_variables:
        variable.assign(variable + RNG.normal(0, 0.3, variable.shape))
    tokens = np.asarray(keras.ops.cast(keras.ops.cast(TOKENS, layer.compute_dtype), "float32"))

    def run(*args, **kwargs):
        out = layer(*args, **kwargs)
        plain = out["tokens"] if isinstance(out, dict) else out
        return np.asarray(keras.ops.cast(plain, "float32"))

    found = run(TOKENS, ITEMS, knowledge_mask=MASK)
    # A row without knowledge comes out bit-equal, the others do not.
    np.testing.assert_array_equal(found[1], tokens[1])
    assert all(np.abs(found[row] - tokens[row]).max() > 1e-3 for row in (0, 2))
    # What is masked does not count, whatever stands there; zeros are no item by themselves.
    noise = np.where(MASK[..., None], ITEMS, 1e3 * RNG.normal(size=ITEMS.shape)).astype("float32")
    np.testing.assert_allclose(run(TOKENS, noise, knowledge_mask=MASK), found, atol=1e-5)
    zeros = np.where(MASK[..., None], ITEMS, 0).astype("float32")
    np.testing.assert_array_equal(run(TOKENS, zeros), found)
    # A dict goes in, a dict comes out, with the mask and without what is stale.
    states = {"tokens": TOKENS, "mask": np.ones((3, 4), bool), "pooled": TOKENS[:, 0]}
    out = layer(states, {"vectors": ITEMS, "mask": MASK, "scores": SCORES})
    assert set(out) == {"tokens", "mask"}
    expected = run(TOKENS, ITEMS, knowledge_mask=MASK, scores=SCORES)
    np.testing.assert_array_equal(np.asarray(keras.ops.cast(out["tokens"], "float32")), expected)
    # Items that are token vectors themselves.
    deep = np.repeat(ITEMS[:, :, None], 2, axis=2)
    np.testing.assert_allclose(run(TOKENS, deep, knowledge_mask=MASK), found, atol=2e-2)
    with pytest.raises(InputError, match="`knowledge` must be"):
        layer(TOKENS, ITEMS[0])


def test_a_file_keeps_it(tmp_path):
    x, k = keras.Input((None, 8), name="x"), keras.Input((None, 6), name="k")
    layer = kzoo.fusion.GatedCrossAttention(2, ffn_factor=2)
    model = keras.Model([x, k], layer(x, k))
    for variable in model.weights:
        variable.assign(variable + RNG.normal(0, 0.3, variable.shape))
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again([TOKENS, ITEMS]), model([TOKENS, ITEMS]))
    with pytest.raises(InputError, match="does not divide"):
        kzoo.fusion.GatedCrossAttention(3)(TOKENS, ITEMS)
