"""The Distiller: what is added up, what is trained, what is saved."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from distillation_toys import CLASSES, FEATURES, cross_entropy, data, dense, log_softmax, soft_kl

from kzoo.distillation import Distiller, HiddenMSE, LogitsMSE, SoftTargetKL


def logits_of(model, x):
    return model(x, training=False).numpy().astype("float64")


def cross_entropies(logits, y):
    return -log_softmax(logits)[np.arange(len(y)), y]


def evaluate(distiller, *args, **kwargs):
    return distiller.evaluate(*args, verbose=0, return_dict=True, **kwargs)


def test_total_equals_numpy_with_weights_and_sample_weight():
    x, y, w = data(40)  # the last batch of 32 is smaller
    teacher, student = dense(8, "t", 1), dense(4, "s", 2, l2=0.1)
    distiller = Distiller(teacher, student, [SoftTargetKL(3.0), LogitsMSE()], [0.7, 2.0], 0.3)
    distiller.compile("sgd", cross_entropy(), metrics=["accuracy"])
    t, s = logits_of(teacher, x), logits_of(student, x)
    ce, kl, mse = cross_entropies(s, y), soft_kl(t, s, 3.0), ((t - s) ** 2).mean(-1)
    l2 = 0.1 * (student.get_layer("hidden").kernel.numpy() ** 2).sum()
    for weight in (None, w):
        v = np.ones(40) if weight is None else weight
        logs = evaluate(distiller, x, y, sample_weight=weight)
        distilled = (v * (0.7 * kl + 2.0 * mse)).mean()
        assert logs["student_loss"] == pytest.approx((v * ce).mean(), rel=1e-5)
        assert logs["distillation_loss"] == pytest.approx(distilled, rel=1e-5)
        total = 0.3 * (v * ce).mean() + 0.7 * distilled + l2
        assert logs["loss"] == pytest.approx(total, rel=1e-5)
        assert logs["accuracy"] == pytest.approx((s.argmax(-1) == y).mean())
    assert set(logs) == {"loss", "student_loss", "distillation_loss", "accuracy"}


def test_weights_of_zero_train_nothing():
    x, y, _ = data()
    student = dense(4, "s", 2)
    distiller = Distiller(
        dense(8, "t", 1),
        student,
        [
            SoftTargetKL(),
            HiddenMSE("hidden", "hidden"),
            "mse",
            keras.distillation.LogitsDistillation(loss=keras.losses.KLDivergence()),
        ],
    )
    distiller.compile(keras.optimizers.SGD(1.0), cross_entropy())
    before = [v.numpy() for v in distiller.trainable_variables]
    history = distiller.fit(x, y, sample_weight=np.zeros(32), verbose=0)
    assert history.history["loss"] == [0.0]
    for old, new in zip(before, distiller.trainable_variables, strict=True):
        np.testing.assert_array_equal(old, new.numpy())


def test_class_weight_counts_in_both_parts():
    x, y, _ = data()
    teacher, student = dense(8, "t", 1), dense(4, "s", 2)
    s, t = logits_of(student, x), logits_of(teacher, x)
    distiller = Distiller(teacher, student).compile(keras.optimizers.SGD(0.0), cross_entropy())
    weights = {0: 0.0, 1: 1.0, 2: 3.0}
    logs = distiller.fit(x, y, class_weight=weights, verbose=0).history
    v = np.array([weights[label] for label in y])
    assert logs["student_loss"][0] == pytest.approx((v * cross_entropies(s, y)).mean(), rel=1e-5)
    assert logs["distillation_loss"][0] == pytest.approx((v * soft_kl(t, s)).mean(), rel=1e-5)


@pytest.mark.parametrize(
    "loss",
    [
        "mse",
        keras.losses.MeanSquaredError(),
        keras.losses.mean_squared_error,
        keras.distillation.FeatureDistillation(loss="mse"),
        keras.distillation.FeatureDistillation(loss=keras.losses.MeanSquaredError()),
    ],
)
def test_stock_losses_take_weights_too(loss):
    x, y, w = data()
    teacher, student = dense(8, "t", 1), dense(4, "s", 2)
    distiller = Distiller(teacher, student, loss).compile("sgd", cross_entropy())
    mse = ((logits_of(teacher, x) - logits_of(student, x)) ** 2).mean(-1)
    assert evaluate(distiller, x, y)["distillation_loss"] == pytest.approx(mse.mean(), rel=1e-5)
    logs = evaluate(distiller, x, y, sample_weight=w)
    assert logs["distillation_loss"] == pytest.approx((w * mse).mean(), rel=1e-5)


def test_stock_kl_instance_is_right_and_the_default_warns():
    x, y, w = data()
    teacher, student = dense(8, "t", 1), dense(4, "s", 2)
    right = keras.distillation.LogitsDistillation(2.0, loss=keras.losses.KLDivergence())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        distiller = Distiller(teacher, student, right).compile("sgd", cross_entropy())
    kl = soft_kl(logits_of(teacher, x), logits_of(student, x))
    logs = evaluate(distiller, x, y, sample_weight=w)
    assert logs["distillation_loss"] == pytest.approx((w * kl).mean(), rel=1e-4)
    with pytest.warns(UserWarning, match="SoftTargetKL") as caught:
        Distiller(teacher, student, keras.distillation.LogitsDistillation())
    assert len(caught) == 1 and caught[0].filename == __file__


def test_upstream_bug_stock_distiller_ignores_weights_and_regularisers():
    """Documents Keras 3.15: weights of 0 leave its loss as it is, L2 adds nothing."""
    x, y, _ = data()
    student = dense(4, "s", 2, l2=10.0)
    stock = keras.distillation.Distiller(dense(8, "t", 1), student, SoftTargetKL())
    stock.compile("sgd", cross_entropy())
    plain = evaluate(stock, x, y)["loss"]
    assert evaluate(stock, x, y, sample_weight=np.zeros(32))["loss"] == plain > 0.1
    assert plain < float(student.losses[0])


def test_teacher_stays_bit_equal_and_student_learns_its_predictions():
    x, _, _ = data(256)
    teacher, student = dense(8, "t", 1), dense(16, "s", 2)
    teacher.get_layer("logits").kernel.assign(3 * teacher.get_layer("logits").kernel)
    before = [v.numpy() for v in teacher.variables]
    agree = (logits_of(teacher, x).argmax(-1) == logits_of(student, x).argmax(-1)).mean()
    assert agree < 0.8
    distiller = Distiller(teacher, student, student_loss_weight=0)
    distiller.compile(keras.optimizers.Adam(0.03))
    history = distiller.fit(x, epochs=40, verbose=0).history  # no labels at all
    assert history["distillation_loss"][-1] < 0.02 * history["distillation_loss"][0]
    assert (logits_of(teacher, x).argmax(-1) == logits_of(student, x).argmax(-1)).mean() > 0.97
    p, q = (np.exp(log_softmax(logits_of(m, x))) for m in (teacher, student))
    assert np.abs(p - q).mean() < 0.02
    for old, new in zip(before, teacher.variables, strict=True):
        np.testing.assert_array_equal(old, new.numpy())


def test_xla_gives_the_same_losses():
    x, y, w = data(64)
    runs = []
    for jit in (False, True):
        keras.utils.set_random_seed(0)
        distiller = Distiller(
            dense(8, "t", 1), dense(4, "s", 2), [SoftTargetKL(), HiddenMSE("hidden", "hidden")]
        ).compile(keras.optimizers.SGD(0.1), cross_entropy(), jit_compile=jit)
        assert distiller.jit_compile is jit
        runs.append(distiller.fit(x, y, sample_weight=w, epochs=3, verbose=0).history)
    for name in ("loss", "student_loss", "distillation_loss"):
        np.testing.assert_allclose(runs[0][name], runs[1][name], atol=1e-5)
    assert runs[0]["loss"][-1] < runs[0]["loss"][0]


def test_evaluate_is_deterministic_with_dropout():
    x, y, _ = data()
    teacher, student = dense(8, "t", 1, dropout=0.5), dense(8, "s", 2, dropout=0.5)
    distiller = Distiller(teacher, student, [SoftTargetKL(), HiddenMSE("drop", "drop")])
    distiller.compile(keras.optimizers.SGD(0.0), cross_entropy())
    first, second = evaluate(distiller, x, y), evaluate(distiller, x, y)
    assert first == second
    hidden = [keras.Model(m.input, m.get_layer("hidden").output)(x) for m in (teacher, student)]
    expected = soft_kl(logits_of(teacher, x), logits_of(student, x)).mean()
    expected += np.mean((hidden[0] - hidden[1]) ** 2)  # dropout is off in both
    assert first["distillation_loss"] == pytest.approx(expected, rel=1e-5)
    trained = [distiller.fit(x, y, verbose=0).history["loss"][0] for _ in range(2)]
    assert trained[0] != trained[1]  # dropout is on in training


class Counting(keras.layers.Layer):
    calls = 0

    def call(self, x):
        self.calls += 1
        return x * 1.0


def counted(name, seed):
    x = keras.Input((FEATURES,))
    layer = Counting(name="count")
    h = layer(keras.layers.Dense(4, name="hidden", kernel_initializer="ones")(x))
    model = keras.Model(x, keras.layers.Dense(CLASSES)(h), name=name)
    layer.calls = 0
    return model, layer


@pytest.mark.parametrize(
    "losses", [[SoftTargetKL()], [SoftTargetKL(), HiddenMSE("count", "count")]]
)
def test_each_model_runs_once_per_step(losses):
    x, y, _ = data(32)
    (teacher, of_teacher), (student, of_student) = counted("t", 1), counted("s", 2)
    distiller = Distiller(teacher, student, losses)
    distiller.compile("sgd", cross_entropy(), run_eagerly=True)
    of_teacher.calls = of_student.calls = 0
    distiller.fit(x, y, batch_size=8, epochs=1, verbose=0)
    assert (of_teacher.calls, of_student.calls) == (4, 4)
    distiller.evaluate(x, y, batch_size=16, verbose=0)
    assert (of_teacher.calls, of_student.calls) == (6, 6)
    distiller.predict(x, batch_size=32, verbose=0)
    assert of_teacher.calls == 6


def test_upstream_bug_stock_distiller_runs_the_student_twice():
    """Documents Keras 3.15, with the loss that names layers."""
    x, y, _ = data(32)
    (teacher, _), (student, of_student) = counted("t", 1), counted("s", 2)
    feature = keras.distillation.FeatureDistillation(
        teacher_layer_name="count", student_layer_name="count"
    )
    stock = keras.distillation.Distiller(teacher, student, [feature])
    stock.compile("sgd", cross_entropy(), run_eagerly=True)
    of_student.calls = 0
    stock.fit(x, y, batch_size=8, verbose=0)
    assert of_student.calls == 8


def test_compile_takes_what_is_missing_from_the_student():
    x, y, _ = data()
    student = dense(4, "s", 2)
    student.compile(
        keras.optimizers.SGD(0.25, momentum=0.5),
        cross_entropy(),
        metrics=["accuracy"],
        jit_compile=True,
    )
    student.fit(x, y, verbose=0)  # its optimizer is now bound to its variables
    distiller = Distiller(dense(8, "t", 1), student)
    history = distiller.fit(x, y, validation_data=(x, y), verbose=0).history
    assert distiller.optimizer is not student.optimizer
    assert float(distiller.optimizer.learning_rate) == 0.25
    assert distiller.optimizer.momentum == 0.5
    assert distiller.jit_compile is True
    assert {"accuracy", "val_accuracy", "val_distillation_loss"} <= set(history)
    distiller.compile("adam", metrics=[])
    assert "accuracy" not in evaluate(distiller, x, y)


def test_half_precision_student_with_float32_teacher():
    x, y, _ = data()
    teacher, student = dense(8, "t", 1), dense(4, "s", 2, dtype="mixed_bfloat16")
    assert student.output.dtype == "bfloat16"
    distiller = Distiller(teacher, student, [SoftTargetKL(), HiddenMSE("hidden", "hidden")], [1, 0])
    distiller.compile(keras.optimizers.SGD(0.1), cross_entropy())
    expected = soft_kl(logits_of(teacher, x), logits_of(student, x)).mean()
    # The graph may round one bfloat16 differently from eager mode, hence the tolerance.
    assert evaluate(distiller, x, y)["distillation_loss"] == pytest.approx(expected, rel=5e-3)
    assert np.isfinite(distiller.fit(x, y, verbose=0).history["loss"][0])


def test_file_round_trip_evaluates_alike_and_trains_on(tmp_path):
    x, y, w = data()
    losses = [SoftTargetKL(3.0), HiddenMSE("hidden", "hidden", seed=3), "mae"]

    def make():
        d = Distiller(dense(8, "t", 1), dense(4, "s", 2), losses, [1.0, 0.5, 0.1], 0.4, name="d")
        return d.compile(keras.optimizers.Adam(0.01), cross_entropy(), ["accuracy"])

    distiller = make()
    distiller.fit(x, y, epochs=2, verbose=0, shuffle=False)
    distiller.save(tmp_path / "d.keras")
    again = keras.saving.load_model(tmp_path / "d.keras")
    assert type(again) is Distiller and again.name == "d"
    assert evaluate(again, x, y, sample_weight=w) == evaluate(distiller, x, y, sample_weight=w)
    np.testing.assert_array_equal(again.predict(x, verbose=0), distiller.predict(x, verbose=0))
    assert again.get_config()["distillation_loss_weights"] == [1.0, 0.5, 0.1]
    assert int(again.optimizer.iterations) == 2
    a, b = (d.fit(x, y, epochs=2, verbose=0, shuffle=False).history for d in (distiller, again))
    np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-6)


def test_saved_student_stands_alone(tmp_path):
    x, y, _ = data()
    distiller = Distiller(dense(8, "t", 1), dense(4, "s", 2), [HiddenMSE("hidden", "hidden")])
    distiller.compile("sgd", cross_entropy())
    distiller.fit(x, y, verbose=0)
    distiller.save_student(tmp_path / "s.keras")
    student = keras.saving.load_model(tmp_path / "s.keras")
    assert student.count_params() == 6 * 4 + 4 + 4 * 3 + 3
    np.testing.assert_array_equal(student.predict(x, verbose=0), distiller.predict(x, verbose=0))


def test_bad_arguments_are_named():
    teacher, student = dense(8, "t", 1), dense(4, "s", 2)
    x, y, _ = data()
    with pytest.raises(ValueError, match="`student`: received str"):
        Distiller(teacher, "student")
    with pytest.raises(ValueError, match=r"`student_loss_weight`: received 1\.5"):
        Distiller(teacher, student, student_loss_weight=1.5)
    with pytest.raises(ValueError, match="received 2 weights for 1"):
        Distiller(teacher, student, distillation_loss_weights=[1.0, 2.0])
    with pytest.raises(ValueError, match="`distillation_loss_weights`: received -1"):
        Distiller(teacher, student, SoftTargetKL(), -1.0)
    with pytest.raises(ValueError, match="`distillation_losses`: received an empty list"):
        Distiller(teacher, student, [])
    with pytest.raises(ValueError, match="`distillation_losses`: received 3"):
        Distiller(teacher, student, 3)
    with pytest.raises(ValueError, match="`loss`: received None"):
        Distiller(teacher, student).fit(x, y)
    with pytest.raises(ValueError, match="`y`: received no labels"):
        Distiller(teacher, student).compile("sgd", cross_entropy()).fit(x, verbose=0)
    wide = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(CLASSES + 1)])
    with pytest.raises(ValueError, match="same number of classes"):
        Distiller(teacher, wide)
    soft = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, activation="softmax")])
    with pytest.raises(ValueError, match=r"`teacher`: .* ends in a softmax"):
        Distiller(soft, student)
    logits = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    inputs = keras.Input((6,))
    for function in (keras.ops.softmax, lambda z: keras.ops.exp(keras.ops.log_softmax(z))):
        hidden = keras.Model(inputs, keras.layers.Lambda(function)(logits(inputs)))
        nested = keras.Sequential([keras.Input((6,)), keras.Sequential([hidden])])
        for model in (hidden, nested):
            with pytest.raises(ValueError, match=r"`teacher`: .* ends in a softmax"):
                Distiller(model, student)
    sigmoid = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1, activation="sigmoid")])
    with pytest.raises(ValueError, match=r"`student`: .* ends in a softmax or sigmoid"):
        Distiller(keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)]), sigmoid)
    teacher = dense(8, "t", 1)
    with pytest.raises(ValueError, match="shares 4 trainable variables with `teacher`"):
        Distiller(teacher, keras.Model(teacher.inputs, teacher.outputs))


def test_weights_of_a_token_model_and_its_mask():
    """Token logits (B, T, N) of an Embedding with mask_zero: padding counts in neither part."""

    def tagger(name, width, seed):
        ids = keras.Input((None,), dtype="int32")
        init = keras.initializers.RandomNormal(stddev=1.0, seed=seed)
        h = keras.layers.Embedding(9, width, mask_zero=True, embeddings_initializer=init)(ids)
        return keras.Model(ids, keras.layers.Dense(3, kernel_initializer=init)(h), name=name)

    teacher, student = tagger("t", 8, 1), tagger("s", 4, 2)
    x = np.array([[1, 2, 3, 0], [4, 0, 0, 0]], "int32")
    y, w = np.zeros((2, 4), "int32"), np.array([1.0, 0.5], "float32")
    distiller = Distiller(teacher, student).compile("sgd", cross_entropy())
    t, s = logits_of(teacher, x), logits_of(student, x)
    logs = evaluate(distiller, x, y, sample_weight=w)
    keep = (x > 0) * w[:, None]
    assert logs["distillation_loss"] == pytest.approx((soft_kl(t, s) * keep).sum() / 4, rel=1e-4)
    ce = -log_softmax(s)[..., 0]
    assert logs["student_loss"] == pytest.approx((ce * keep).sum() / 4, rel=1e-4)


def test_subclassed_models_are_distilled_on_their_outputs():
    class Plain(keras.Model):
        def __init__(self, seed):
            super().__init__()
            init = keras.initializers.GlorotUniform(seed=seed)
            self.dense = keras.layers.Dense(CLASSES, kernel_initializer=init)

        def call(self, x):
            return self.dense(x)

    x, y, _ = data()
    teacher, student = Plain(1), Plain(2)
    distiller = Distiller(teacher, student).compile("sgd", cross_entropy())
    got = evaluate(distiller, x, y)["distillation_loss"]
    assert got == pytest.approx(
        soft_kl(teacher(tf.constant(x)), student(tf.constant(x))).mean(), rel=1e-5
    )
