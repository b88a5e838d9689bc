"""Hidden states: found at any depth, projected, masked; inputs of two different models."""

import keras
import numpy as np
import pytest
from distillation_toys import CLASSES, FEATURES, cross_entropy, data, dense

from kzoo.distillation import Distiller, HiddenMSE, SoftTargetKL
from kzoo.distillation.features import find_layer, single
from kzoo.trunk.capture import Spot, watched


def capture(layers):
    return watched({name: Spot(layer) for name, layer in layers.items()})


def nested(width, name, seed, depth=2):
    """A head on `backbone(inputs)`, as KerasHub's tasks are built."""
    init = keras.initializers.GlorotUniform(seed=seed)
    inner = keras.Input((FEATURES,))
    h = inner
    for i in range(depth):
        h = keras.layers.Dense(
            width, activation="tanh", name=f"block_{i}", kernel_initializer=init
        )(h)
    backbone = keras.Model(inner, h, name="backbone")
    x = keras.Input((FEATURES,))
    logits = keras.layers.Dense(CLASSES, name="head", kernel_initializer=init)(backbone(x))
    return keras.Model(x, logits, name=name)


def hidden_of(model, name, x):
    layer = find_layer(model, name)
    with capture({name: layer}) as calls:
        model(x, training=False)
    return single(calls, name, "model").numpy()


def test_projection_bridges_widths_and_is_trained_but_not_exported():
    x, y, _ = data(64)
    teacher, student = nested(12, "t", 1, depth=4), nested(4, "s", 2)
    loss = HiddenMSE("block_3", "block_1", seed=5)
    distiller = Distiller(teacher, student, [SoftTargetKL(), loss], [0.0, 1.0], 0.0)
    distiller.compile(keras.optimizers.Adam(0.02), cross_entropy())
    (projection,) = distiller.projections
    assert projection.kernel.shape == (4, 12)
    before = projection.kernel.numpy()
    states, wanted = hidden_of(student, "block_1", x), hidden_of(teacher, "block_3", x)
    expected = ((states @ before - wanted) ** 2).mean()
    logs = distiller.evaluate(x, y, verbose=0, return_dict=True)
    assert logs["distillation_loss"] == pytest.approx(expected, rel=1e-5)
    history = distiller.fit(x, y, epochs=30, verbose=0).history["distillation_loss"]
    assert history[-1] < 0.3 * history[0]
    assert np.abs(projection.kernel.numpy() - before).max() > 0.05
    assert len(student.variables) == 6
    assert not {id(v) for v in student.variables} & {id(v) for v in projection.variables}


def test_same_width_has_no_projection_unless_asked():
    models = [nested(4, "t", 1), nested(4, "s", 2)]
    assert not Distiller(*models, HiddenMSE("block_0", "block_0")).projections
    assert len(Distiller(*models, HiddenMSE("block_0", "block_0", project=True)).projections) == 1


def test_different_widths_without_projection_are_an_error():
    x, y, _ = data()
    distiller = Distiller(
        nested(8, "t", 1), nested(4, "s", 2), HiddenMSE("block_0", "block_0", project=False)
    ).compile("sgd", cross_entropy())
    with pytest.raises(ValueError, match="4 wide, the teacher's 8"):
        distiller.fit(x, y, verbose=0)


def test_stock_feature_loss_finds_nested_layers():
    x, y, w = data()
    teacher, student = nested(4, "t", 1), nested(4, "s", 2)
    stock = keras.distillation.FeatureDistillation(
        teacher_layer_name="backbone.block_1", student_layer_name="block_0"
    )
    distiller = Distiller(teacher, student, stock).compile("sgd", cross_entropy())
    logs = distiller.evaluate(x, y, sample_weight=w, verbose=0, return_dict=True)
    mse = ((hidden_of(teacher, "block_1", x) - hidden_of(student, "block_0", x)) ** 2).mean(-1)
    assert logs["distillation_loss"] == pytest.approx((w * mse).mean(), rel=1e-5)


def test_models_may_have_other_outputs_when_only_states_are_distilled():
    x, y, _ = data()
    wide = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(99, name="only")])
    distiller = Distiller(wide, nested(4, "s", 2), HiddenMSE("only", "block_0"))
    distiller.compile("sgd", cross_entropy()).fit(x, y, verbose=0)


def test_layers_are_found_inside_layers_and_by_path():
    model = nested(4, "m", 1)
    assert find_layer(model, "block_1") is find_layer(model, "backbone.block_1")
    x = keras.Input((5, 8))
    attention = keras.layers.MultiHeadAttention(2, 4, name="attention")
    deep = keras.Model(x, attention(x, x))
    assert find_layer(deep, "attention.query") is attention.query_dense
    assert find_layer(deep, "query") is attention.query_dense


def test_missing_and_ambiguous_names_list_what_there_is():
    teacher = nested(4, "t", 1)
    with pytest.raises(ValueError, match=r"`teacher_layer_name`: no layer 'blok_1'.*block_1'"):
        Distiller(teacher, nested(4, "s", 2), HiddenMSE("blok_1", "block_0"))
    with pytest.raises(ValueError, match=r"`student_layer_name`: no layer 'zzz'.*'head'"):
        Distiller(teacher, nested(4, "s", 2), HiddenMSE("block_1", "zzz"))
    x = keras.Input((FEATURES,))
    towers = []
    for name in ("a", "b"):
        inner = keras.Input((FEATURES,))
        towers.append(keras.Model(inner, keras.layers.Dense(4, name="same")(inner), name=name))
    both = keras.Model(x, keras.layers.Dense(CLASSES)(towers[0](x) + towers[1](x)), name="both")
    with pytest.raises(ValueError, match=r"name of 2 layers of 'both'.*'a\.same', 'b\.same'"):
        find_layer(both, "same", "student")
    assert find_layer(both, "b.same") is towers[1].get_layer("same")


def test_capture_leaves_nothing_behind():
    model = nested(4, "m", 1)
    layer = find_layer(model, "block_0")
    x, _, _ = data(4)
    with capture({"outer": layer}) as outer:
        with capture({"one": layer, "two": layer}) as inner:
            model(x)
        model(x)
    assert (len(inner["one"]), len(inner["two"]), len(outer["outer"])) == (1, 1, 2)
    assert "call" not in vars(layer)
    with pytest.raises(RuntimeError), capture({"one": layer}):
        raise RuntimeError
    assert "call" not in vars(layer)
    with pytest.raises(ValueError, match="called 2 times in one pass of the teacher"):
        single(outer, "outer", "teacher")


def sequence_model(width, name, keys, seed, vocabulary=11):
    """Three or two inputs by name, states (B, T, width), logits from the first token."""
    inputs = {key: keras.Input((None,), dtype="int32", name=key) for key in keys}
    init = keras.initializers.RandomNormal(stddev=0.5, seed=seed)
    h = keras.layers.Embedding(vocabulary, width, name="embed", embeddings_initializer=init)(
        inputs["token_ids"]
    )
    if "segment_ids" in keys:
        h = h + keras.layers.Embedding(2, width, embeddings_initializer=init)(inputs["segment_ids"])
    h = keras.layers.Dense(width, name="states", kernel_initializer=init)(h)
    keep = keras.ops.cast(inputs["padding_mask"], "float32")[..., None]
    pooled = keras.ops.sum(h * keep, axis=1)
    logits = keras.layers.Dense(CLASSES, kernel_initializer=init)(pooled)
    return keras.Model(inputs, logits, name=name)


THREE, TWO = ("token_ids", "segment_ids", "padding_mask"), ("token_ids", "padding_mask")


def test_three_input_teacher_and_two_input_student_share_a_batch():
    teacher, student = sequence_model(8, "t", THREE, 1), sequence_model(4, "s", TWO, 2)
    rng = np.random.default_rng(0)
    mask = np.arange(6) < rng.integers(2, 7, (16, 1))
    x = {
        "token_ids": rng.integers(1, 11, (16, 6)).astype("int32"),
        "segment_ids": rng.integers(0, 2, (16, 6)).astype("int32"),
        "padding_mask": mask.astype("int32"),
    }
    y, w = rng.integers(0, CLASSES, 16), rng.uniform(0.1, 2, 16).astype("float32")
    distiller = Distiller(teacher, student, HiddenMSE("states", "states"), student_loss_weight=0.2)
    distiller.compile("sgd", cross_entropy())
    logs = distiller.evaluate(x, y, sample_weight=w, verbose=0, return_dict=True)
    kernel = distiller.projections[0].kernel.numpy()
    t = hidden_of(teacher, "states", x)
    s = hidden_of(student, "states", {key: x[key] for key in TWO})
    values = ((s @ kernel - t) ** 2).mean(-1)
    expected = (values * mask * w[:, None]).sum() / mask.sum()  # padding does not count
    assert logs["distillation_loss"] == pytest.approx(expected, rel=1e-5)
    history = distiller.fit(x, y, epochs=3, verbose=0).history["loss"]
    assert history[-1] < history[0]
    assert distiller.predict(x, verbose=0).shape == (16, CLASSES)
    del x["segment_ids"]
    with pytest.raises(ValueError, match=r"the teacher needs the inputs \['segment_ids'\]"):
        distiller.fit(x, y, verbose=0)


def test_dict_batches_reach_models_with_one_plain_input():
    x, y, _ = data()
    teacher, student = dense(8, "t", 1), dense(4, "s", 2)
    distiller = Distiller(teacher, student).compile("sgd", cross_entropy())
    plain = distiller.evaluate(x, y, verbose=0, return_dict=True)
    assert distiller.evaluate({"x": x}, y, verbose=0, return_dict=True) == plain
    prefixed = {"teacher/x": x, "student/x": x}
    assert distiller.evaluate(prefixed, y, verbose=0, return_dict=True) == plain
