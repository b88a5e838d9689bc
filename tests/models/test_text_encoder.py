"""The encoder that learns: MiniLM on real weights, as people have their rows."""

import keras
import numpy as np

import kzoo
from kzoo.backbones.text import check_rows

ANCHORS = ["how do I open a file", "sort a list", "send an email", "parse a date"]
POSITIVES = [
    "open() returns a file object",
    "sorted() gives a new list",
    "smtplib mails a message",
    "strptime makes a datetime of a text",
]


def test_minilm_trained_encodes_before_and_after(minilm_folder, tmp_path):
    model = kzoo.load("minilm-trained", learning_rate=5e-3, layers=[0])
    plain = kzoo.load("minilm-encoder", layers=[0])
    texts = [*ANCHORS, *POSITIVES]
    before = plain.encode(texts)
    np.testing.assert_allclose(model.encode(texts), before, atol=2e-6)  # LoRA starts at zero
    rows = list(zip(ANCHORS, POSITIVES, strict=True))
    losses = model.fit(rows, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    after = model.encode(texts)
    assert np.abs(after - before).max() > 1e-3
    assert (model.dimension, model.max_tokens) == (384, 128)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(again.encode(texts), after, atol=1e-6)
    assert again.fingerprint == model.fingerprint
    model.adapters.deactivate()
    np.testing.assert_allclose(model.encode(texts), before, atol=2e-6)
    model.adapters.activate("default")
    # The adapter alone makes of a plain encoder the same.
    model.adapters.save("default", tmp_path / "adapter")
    plain.adapters.load(tmp_path / "adapter")
    np.testing.assert_allclose(plain.encode(texts), after, atol=2e-6)


def test_an_index_finds_it_by_its_file(minilm_folder, tmp_path):
    import retrieval_index

    model = kzoo.load("minilm-trained", layers=[0])
    model.save(tmp_path / "m.keras")
    encoder = retrieval_index.resolve_encoder(f"kzoo:{tmp_path / 'm.keras'}")
    np.testing.assert_allclose(encoder.encode(ANCHORS), model.encode(ANCHORS), atol=1e-6)
    assert encoder.fingerprint == model.fingerprint


def test_bits_do_not_depend_on_the_neighbours_of_a_batch(minilm_encoder):
    """Padded to one length, in batches of one size; of another size only to rounding.

    Measured on one processor (oneDNN): of other sizes the bits are equal too from 32 tokens in a
    batch on; one text of 16 tokens alone differs by 9e-8.
    """
    read = minilm_encoder.feeds[0].read

    def first(rows, length):
        part = read.part(read.text.tokenize(check_rows(rows, "x")))
        batch = part.pad(np.arange(len(rows)), length)
        return np.asarray(minilm_encoder.predict_on_batch(batch))[0]

    text, short = ANCHORS[0], ["a b c"]
    for length in (16, 32):
        alone = first([text], length)
        for size in (2, 7, 16):
            found = first([text, *(ANCHORS * 8)[: size - 1]], length)
            np.testing.assert_array_equal(found, first([text, *(short * (size - 1))], length))
            np.testing.assert_allclose(found, alone, atol=5e-7)
