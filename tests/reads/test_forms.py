"""Raw columns in every form: the same rows give the same numbers."""

import keras
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tensorflow as tf
from tiny import NEGATIVE, POSITIVE, make_model, make_tiny_trunk

import kzoo
from kzoo.errors import InputError

TEXTS = POSITIVE + NEGATIVE
LABELS = ["pos"] * 5 + ["neg"] * 5
PRICES = np.arange(10.0)


class HubDataset:
    """What kzoo needs of an object of HF's datasets."""

    def __init__(self, **columns):
        self.columns = columns
        self.column_names = list(columns)

    def __getitem__(self, name):
        return self.columns[name]


class Batches(keras.utils.PyDataset):
    def __init__(self, *columns):
        super().__init__()
        self.columns = columns

    def __len__(self):
        return 3

    def __getitem__(self, index):
        rows = slice(4 * index, 4 * index + 4)
        batch = tuple(column[rows] for column in self.columns)
        return batch if len(batch) > 1 else batch[0]


def flowing(*columns):
    yield from (Batches(*columns)[index] for index in range(3))


@pytest.fixture(scope="module")
def model():
    spec = {"labels": ["neg", "pos"], "head": {"dropout": 0.0}}
    return make_model(kzoo.TextClassifier, make_tiny_trunk(), max_tokens=32, **spec)


TEXT_FORMS = {
    "list": lambda: TEXTS,
    "tuple of one list": lambda: {"text": TEXTS},
    "numpy": lambda: np.array(TEXTS),
    "objects": lambda: np.array(TEXTS, dtype=object),
    "series": lambda: pd.Series(TEXTS, index=range(5, 15)),
    "frame": lambda: pd.DataFrame({"text": TEXTS}),
    "frame of another name": lambda: pd.DataFrame({"review": TEXTS, "label": LABELS}),
    "arrow array": lambda: pa.array(TEXTS),
    "arrow table": lambda: pa.table({"text": TEXTS, "price": PRICES}),
    "hub dataset": lambda: HubDataset(text=TEXTS, label=LABELS),
    "tensor": lambda: tf.constant(TEXTS),
    "tf.data": lambda: tf.data.Dataset.from_tensor_slices(TEXTS),
    "tf.data by name": lambda: tf.data.Dataset.from_tensor_slices({"text": TEXTS}),
    "pydataset": lambda: Batches(np.array(TEXTS)),
    "generator": lambda: flowing(np.array(TEXTS)),
}


@pytest.mark.parametrize("form", TEXT_FORMS)
def test_predict(form, model):
    expected = model.predict(TEXTS, verbose=0)
    np.testing.assert_allclose(model.predict(TEXT_FORMS[form](), verbose=0), expected, atol=1e-5)


LABELLED = {
    "two columns": lambda: (TEXTS, LABELS),
    "series": lambda: (pd.Series(TEXTS), pd.Series(LABELS)),
    "frame": lambda: (pd.DataFrame({"text": TEXTS, "head": LABELS}), None),
    "frame with label": lambda: (pd.DataFrame({"text": TEXTS, "label": LABELS}), None),
    "arrow": lambda: (pa.table({"text": TEXTS, "label": LABELS}), None),
    "by name": lambda: ({"text": TEXTS}, {"head": LABELS}),
    "hub dataset": lambda: (HubDataset(text=TEXTS, label=[int(v == "pos") for v in LABELS]), None),
    "tf.data": lambda: (tf.data.Dataset.from_tensor_slices((TEXTS, LABELS)), None),
    "tf.data by name": lambda: (
        tf.data.Dataset.from_tensor_slices({"text": TEXTS, "label": LABELS}).batch(4),
        None,
    ),
    "tf.data of fixed batches": lambda: (
        tf.data.Dataset.from_tensor_slices((TEXTS, LABELS)).batch(2, drop_remainder=True),
        None,
    ),
    "pydataset": lambda: (Batches(np.array(TEXTS), np.array(LABELS)), None),
    "generator": lambda: (flowing(np.array(TEXTS), np.array(LABELS)), None),
}


@pytest.mark.parametrize("form", LABELLED)
def test_evaluate(form, model):
    expected = model.evaluate(TEXTS, LABELS, verbose=0)
    x, y = LABELLED[form]()
    np.testing.assert_allclose(model.evaluate(x, y, verbose=0), expected, atol=1e-5)


@pytest.mark.parametrize("form", ["frame", "tf.data", "pydataset", "generator"])
def test_fit(form):
    spec = {"labels": ["neg", "pos"], "head": {"dropout": 0.0}}
    model = make_model(kzoo.TextClassifier, make_tiny_trunk(), max_tokens=32, **spec)
    x, y = LABELLED[form]()
    options = {"validation_data": LABELLED["tf.data by name"]()[0], "epochs": 1, "verbose": 0}
    if form == "generator":
        options["steps_per_epoch"] = 3
    history = model.fit(x, y, **options).history
    assert np.isfinite(history["loss"]).all() and "val_accuracy" in history


def test_classes_are_counted_in_a_stream():
    model = make_model(kzoo.TextClassifier, make_tiny_trunk(), max_tokens=32)
    model.fit(Batches(np.array(TEXTS), np.array(LABELS)), epochs=1, verbose=0)
    assert model.labels == ["neg", "pos"]
    other = make_model(kzoo.TextClassifier, make_tiny_trunk(), max_tokens=32)
    with pytest.raises(InputError, match="read once only"):
        other.fit(flowing(np.array(TEXTS), np.array(LABELS)), epochs=1, verbose=0)


@pytest.fixture(scope="module")
def two_columns():
    trunk = kzoo.Trunk(make_tiny_trunk(), max_tokens=32)
    text, price = kzoo.TextInput(trunk, name="text"), keras.Input((1,), name="price")
    vector = kzoo.heads.Embed()(trunk(text))
    joined = keras.layers.Concatenate()([vector, price])
    return kzoo.Model([text, price], kzoo.heads.Classify(num_classes=2, name="y")(joined))


def test_several_columns(two_columns):
    expected = two_columns.predict({"text": TEXTS, "price": PRICES}, verbose=0)
    forms = [
        pd.DataFrame({"price": PRICES, "text": TEXTS, "other": PRICES}),
        pa.table({"text": TEXTS, "price": PRICES}),
        (TEXTS, PRICES),
        tf.data.Dataset.from_tensor_slices({"text": TEXTS, "price": PRICES}),
    ]
    for x in forms:
        np.testing.assert_allclose(two_columns.predict(x, verbose=0), expected, atol=1e-5)


BAD = {
    "a column is missing": ({"text": TEXTS}, "no column `price`"),
    "lengths differ": ({"text": TEXTS, "price": PRICES[:4]}, "different lengths"),
    "no number": ({"text": TEXTS, "price": ["much"] * 10}, "`price` row 0 must be numbers"),
    "not finite": ({"text": TEXTS, "price": [1.0] * 9 + [np.nan]}, "`price` row 9 is not finite"),
    "no text": ({"text": [*TEXTS[:9], None], "price": PRICES}, "`text` row 9 must be a string"),
    "another shape": ({"text": TEXTS, "price": np.ones((10, 2))}, "must have shape"),
    "empty": ({"text": [], "price": []}, "is empty"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_columns_are_named(case, two_columns):
    x, said = BAD[case]
    with pytest.raises(InputError, match=said):
        two_columns.predict(x, verbose=0)


def test_what_keras_takes_goes_to_keras(two_columns, model):
    encoded = two_columns.reads["text"].text.encode(TEXTS)
    ready = {f"text_{key}": value for key, value in encoded.items()} | {"price": PRICES[:, None]}
    expected = two_columns.predict({"text": TEXTS, "price": PRICES}, verbose=0)
    np.testing.assert_allclose(two_columns.predict(ready, verbose=0), expected, atol=1e-5)
    found = model.predict(model.text.encode(TEXTS), verbose=0)
    np.testing.assert_allclose(found, model.predict(TEXTS, verbose=0), atol=1e-5)


def test_images(tmp_path):
    """ViT from paths, bytes and arrays; trained, saved, loaded."""
    from families import make_tiny_backbone

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 8, 8, 3)).astype("uint8")
    paths = [tmp_path / f"{number}.png" for number in range(6)]
    for path, image in zip(paths, images, strict=True):
        keras.utils.save_img(path, image, scale=False)
    trunk = kzoo.Trunk(make_tiny_backbone("vit"))
    trunk.adapters.add("a", "lora[r=2]")
    image = kzoo.ImageInput(trunk)
    model = kzoo.Model(image, kzoo.heads.Classify(name="kind", pooling="cls")(trunk(image)))
    labels = ["cat", "dog"] * 3
    model.fit(images, labels, epochs=1, verbose=0)
    expected = model.predict(images, verbose=0)
    direct = model({"images": images.astype("float32") / 127.5 - 1})
    np.testing.assert_allclose(expected, direct, atol=1e-5)
    forms = (paths, [p.read_bytes() for p in paths], list(images / 255.0), {"image": paths})
    for form in forms:
        np.testing.assert_allclose(model.predict(form, verbose=0), expected, atol=1e-5)
    larger = [np.kron(image, np.ones((3, 3, 1))).astype("uint8") for image in images]
    assert np.abs(model.predict(larger, verbose=0) - expected).max() < 0.2
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(again.predict(paths, verbose=0), expected, atol=1e-5)
    assert set(again.decode(expected)) <= {"cat", "dog"}
    with pytest.raises(InputError, match="row 1: there is no file"):
        model.predict([paths[0], tmp_path / "none.png"], verbose=0)
    with pytest.raises(InputError, match="takes images, not texts"):
        kzoo.TextInput(trunk)
    with pytest.raises(InputError, match="row 0 must have 3 channels"):
        model.predict([images[0].astype("float32")], verbose=0)
