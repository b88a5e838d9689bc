"""jit_compile: what "auto" means, and that both steps train to the same loss."""

import numpy as np
import pytest

from kzoo.training.optimizer import resolve_jit


def test_auto_is_off_on_cpu(tiny_classifier):
    import tensorflow as tf

    if tf.config.list_logical_devices("GPU"):
        assert resolve_jit("auto")
        return
    assert not resolve_jit("auto")
    assert resolve_jit(True) and not resolve_jit(False)
    model = tiny_classifier(num_classes=2)
    model.compile(jit_compile="auto")
    assert model.jit_compile is False


@pytest.mark.parametrize("method", ["lora", "pfeiffer", "houlsby", None])
def test_compiled_and_not_train_to_the_same_loss(method, tiny_classifier, reviews):
    losses = []
    for jit_compile in (False, True):
        spec = {"trunk": "frozen" if method else "trainable", "head": {"dropout": 0.0}}
        model = tiny_classifier(method, dropout=0.0, labels=("neg", "pos"), **spec)
        model.compile(jit_compile=jit_compile, learning_rate=0.01)
        # The same batches for both; `fit` on strings pads to fewer lengths for XLA.
        batches = model.prepare(*reviews, batch_size=8, shuffle=True)
        losses.append(model.fit(batches, epochs=4, verbose=0).history["loss"])
    assert losses[0][-1] < losses[0][0]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
