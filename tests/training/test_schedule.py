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


def rates(model, data, callbacks=(), **options):
    """The rate of each call of the training function."""
    import keras

    seen = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(float(self.model.optimizer.learning_rate))

    options = {"epochs": 2, "batch_size": 4, "verbose": 0, **options}
    return seen, model.fit(*data, callbacks=[*callbacks, Watch()], **options).history


def test_batches_count_and_not_calls(tiny_classifier, reviews):
    model = tiny_classifier()
    model.compile(learning_rate=0.02, steps_per_execution=4)
    schedule = WarmupLinearDecay()
    schedule.peak, schedule.total = 0.02, 20
    # Ten batches an epoch: the last of each execution.
    expected = [schedule.rate(step) for step in (3, 7, 9, 13, 17, 19)]
    found, history = rates(model, reviews)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(history["learning_rate"], [expected[2], expected[5]], rtol=1e-5)


@pytest.mark.parametrize("kind", ["scheduler", "plateau", "own", "own_at_begin", "schedule"])
def test_whoever_brings_a_rate_rules(kind, tiny_classifier, reviews):
    import keras

    class Own(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.optimizer.learning_rate = 1e-4

    class AtBegin(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.model.optimizer.learning_rate = 1e-4

    callbacks = {
        "scheduler": keras.callbacks.LearningRateScheduler(lambda epoch, rate: 1e-4),
        "plateau": keras.callbacks.ReduceLROnPlateau("loss", factor=0.1, patience=1, min_delta=10),
        "own": Own(),
        "own_at_begin": AtBegin(),
    }
    model = tiny_classifier()
    rate = keras.optimizers.schedules.PiecewiseConstantDecay([9], [0.01, 0.001])
    model.compile(learning_rate=rate if kind == "schedule" else 0.01)
    found, _ = rates(model, reviews, [callbacks[kind]] if kind in callbacks else [])
    expected = [1e-4] * 20
    if kind == "plateau":
        # After the second epoch it has not got better by 10.
        expected = [0.01] * 20
        assert float(model.optimizer.learning_rate) == pytest.approx(0.001)
    elif kind == "schedule":
        expected = [0.01] * 9 + [0.001] * 11
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_peak_is_kept(tiny_classifier, reviews, tmp_path):
    """Of an interrupted `fit`, and in what is saved between epochs."""
    import keras

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 5:
                raise KeyboardInterrupt

    model = tiny_classifier()
    model.compile(learning_rate=0.02)
    with pytest.raises(KeyboardInterrupt):
        model.fit(*reviews, epochs=1, batch_size=4, verbose=0, callbacks=[Stop()])
    assert float(model.optimizer.learning_rate) == pytest.approx(0.02)
    keep = keras.callbacks.ModelCheckpoint(tmp_path / "m.keras")
    model.fit(*reviews, epochs=2, batch_size=4, verbose=0, callbacks=keep)
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert float(loaded.optimizer.learning_rate) == pytest.approx(0.02)


def test_zero_is_a_rate(tiny_classifier):
    model = tiny_classifier()
    model.compile(learning_rate=0.0)
    assert float(model.optimizer.learning_rate) == 0.0


def test_a_restored_training_goes_on_as_if_nothing_had_been(tiny_classifier, reviews, tmp_path):
    """Data orders, rates, dropout and the optimizer's state are those of the epochs to come."""
    import keras

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    def fit(*callbacks):
        model = tiny_classifier("lora")
        model.compile(learning_rate=0.02)
        options = {"epochs": 4, "batch_size": 4, "verbose": 0}
        return model.fit(*reviews, callbacks=list(callbacks), **options).history["loss"]

    whole = fit()
    backup = keras.callbacks.BackupAndRestore(tmp_path / "b")
    with pytest.raises(KeyboardInterrupt):
        fit(backup, Stop())
    assert fit(keras.callbacks.BackupAndRestore(tmp_path / "b")) == pytest.approx(whole[2:])
