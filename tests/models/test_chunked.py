"""A step chunk by chunk is the step of the whole batch."""

import numpy as np
import pytest
from tiny import NEGATIVE, POSITIVE, make_model, make_tiny_trunk

import kzoo
from kzoo.errors import InputError

ROWS = list(zip(POSITIVE + NEGATIVE, POSITIVE[::-1] + NEGATIVE[::-1], strict=True))[:9]


def stepped(chunk_size, dropout=0.0, batch_size=9, **training):
    head = {"kind": "contrast", "dropout": dropout}
    settings = {"learning_rate": 0.1, "chunk_size": chunk_size, **training}
    model = make_model(
        kzoo.TextEncoder, make_tiny_trunk(), head=head, training=settings, max_tokens=16
    )
    model.adapters.add("a", "pfeiffer[reduction_factor=4]")
    model.compile("sgd", jit_compile=False)
    history = model.fit(ROWS, batch_size=batch_size, epochs=1, shuffle=False, verbose=0).history
    values = {v.path: np.asarray(v) for v in model.trainable_variables}
    return values, history


def test_weights_after_a_step_are_those_of_the_whole_batch():
    whole, history = stepped(None)
    parts, same = stepped(4)  # the last chunk has one row
    for path, value in whole.items():
        np.testing.assert_allclose(parts[path], value, atol=1e-6, err_msg=path)
    assert same["loss"] == pytest.approx(history["loss"], rel=1e-5)
    assert same["batch_accuracy"] == history["batch_accuracy"]
    # Small batches, whose anchors see less, are another thing.
    small, _ = stepped(None, batch_size=3)
    assert max(np.abs(small[path] - whole[path]).max() for path in whole) > 1e-4


def test_dropout_draws_the_same_numbers_both_times():
    whole, _ = stepped(None, dropout=0.5)
    parts, _ = stepped(9, dropout=0.5)  # one chunk: the same numbers as without
    for path, value in whole.items():
        np.testing.assert_allclose(parts[path], value, atol=1e-6, err_msg=path)


def test_xla_is_refused():
    model = make_model(
        kzoo.TextEncoder,
        make_tiny_trunk(),
        head={"kind": "contrast"},
        training={"chunk_size": 2},
        max_tokens=16,
    )
    model.adapters.add("a", "lora[r=2]")
    model.compile(jit_compile=True)
    with pytest.raises(InputError, match="`chunk_size` needs a step without XLA"):
        model.fit(ROWS, epochs=1, verbose=0)
