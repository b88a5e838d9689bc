"""Small models and data for the distillation tests."""

import hashlib

import keras
import numpy as np

import kzoo
from kzoo.backbones.text import check_rows
from kzoo.reads.read import Part, Read
from kzoo.reads.text import TextRead

FEATURES, CLASSES = 6, 3


def dense(width, name, seed, dropout=0.0, l2=None, dtype=None):
    """Input(6) -> [hidden "<name>_hidden"] -> logits(3)."""
    init = keras.initializers.GlorotUniform(seed=seed)
    x = keras.Input((FEATURES,), name="x")
    h = keras.layers.Dense(
        width,
        activation="tanh",
        name="hidden",
        kernel_initializer=init,
        kernel_regularizer=keras.regularizers.L2(l2) if l2 else None,
        dtype=dtype,
    )(x)
    h = keras.layers.Dropout(dropout, seed=seed, dtype=dtype, name="drop")(h)
    logits = keras.layers.Dense(CLASSES, name="logits", kernel_initializer=init, dtype=dtype)(h)
    return keras.Model(x, logits, name=name)


def data(n=32, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, FEATURES)).astype("float32")
    y = rng.integers(0, CLASSES, n)
    w = rng.uniform(0.1, 2.0, n).astype("float32")
    return x, y, w


def cross_entropy():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def log_softmax(z):
    z = np.asarray(z, "float64")
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def soft_kl(t, s, temperature=2.0):
    p, q = log_softmax(np.asarray(t) / temperature), log_softmax(np.asarray(s) / temperature)
    return temperature**2 * (np.exp(p) * (p - q)).sum(-1)


class FakeText:
    """Whitespace words hashed into `size` ids; `salt` makes another tokeniser."""

    def __init__(self, salt="a", size=64, keys=("token_ids", "padding_mask")):
        self.salt, self.size, self.keys = salt, size, keys
        self.fingerprint = f"fake-{salt}-{size}"
        self.encoded = []

    def _id(self, word):
        digest = hashlib.sha256(f"{self.salt}{word}".encode()).digest()
        return 1 + int.from_bytes(digest[:4], "big") % (self.size - 1)

    def encode(self, texts):
        self.encoded.extend(texts)
        joined = [" ".join(t) if isinstance(t, tuple) else t for t in texts]
        ids = np.zeros((len(joined), 8), "int32")
        for row, text in enumerate(joined):
            for column, word in enumerate(text.split()[:8]):
                ids[row, column] = self._id(word)
        table = {"token_ids": ids, "padding_mask": ids > 0, "segment_ids": np.zeros_like(ids)}
        return {key: table[key] for key in self.keys}


class FakeRead(TextRead):
    """Reads texts with a `FakeText`, where kzoo's reads with a trunk's tokenizer."""

    def __init__(self, inputs, text):
        Read.__init__(self, "text", inputs)
        self.prefix, self.fake = "", text

    @property
    def fingerprint(self):
        return self.fake.fingerprint

    def encode(self, column, by_row=None):
        made = self.fake.encode(check_rows(column))
        return [Part(lambda rows, length: {key: made[key][rows] for key in self.keys})]


class ToyModel(kzoo.Model):
    """A kzoo.Model with other training defaults, and its text as the tests encode with it."""

    @property
    def text(self):
        return self.reads["text"].fake


def text_model(width, name, text, classes=2, seed=0, labels=None):
    inputs = {key: keras.Input((None,), dtype="int32", name=key) for key in text.keys}
    FakeRead(inputs, text)
    init = keras.initializers.RandomNormal(stddev=0.3, seed=seed)
    h = keras.layers.Embedding(text.size, width, name="embed", embeddings_initializer=init)(
        inputs["token_ids"]
    )
    if "segment_ids" in inputs:
        h = h + keras.layers.Embedding(2, width, embeddings_initializer="zeros")(
            inputs["segment_ids"]
        )
    keep = keras.ops.cast(keras.ops.expand_dims(inputs["padding_mask"], -1), "float32")
    pooled = keras.ops.sum(h * keep, 1) / keras.ops.maximum(keras.ops.sum(keep, 1), 1.0)
    head = kzoo.heads.Classify(classes, labels, dropout=0.0, seed=seed, name="logits")
    logits = head(pooled)
    kernel = head.of(None).kernel
    kernel.assign(keras.initializers.GlorotUniform(seed=seed)(kernel.shape))
    training = {"learning_rate": 0.125, "epochs": 1}
    return ToyModel(inputs, logits, name=name, training=training)
