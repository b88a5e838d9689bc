"""Linear warm-up and decay against the formula, and the rate that is left behind."""

import numpy as np
import pytest

from kzoo.training.schedule import WarmupLinearDecay


def test_rates_over_a_fit(tiny_classifier, reviews):
    import keras

    seen = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            seen.append(float(self.model.optimizer.learning_rate))

    model = tiny_classifier()
    model.compile(learning_rate=0.02)
    model.fit(*reviews, epochs=2, batch_size=4, verbose=0, callbacks=[Watch()])
    assert len(seen) == 20
    rising = 0.06 * 20  # 1.2 steps
    expected = [
        0.02 * (s + 1) / (rising + 1) if s < rising else 0.02 * (20 - s) / (20 - rising)
        for s in range(20)
    ]
    np.testing.assert_allclose(seen, expected, rtol=1e-5)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.02)


def test_own_optimizer_has_no_schedule(tiny_classifier, reviews):
    import keras

    model = tiny_classifier()
    model.compile(optimizer=keras.optimizers.SGD(0.5))
    history = model.fit(*reviews, epochs=1, verbose=0)
    assert float(model.optimizer.learning_rate) == 0.5
    assert "loss" in history.history


def test_bad_warmup():
    with pytest.raises(ValueError, match="`warmup`"):
        WarmupLinearDecay(1.0)
