"""A bi-encoder: one trunk called twice, its cosine fitted to how alike two sentences are."""

import keras
import numpy as np

import kzoo
from kzoo.metrics import spearman

PAIRS = {
    "first": [
        "how do I open a file",
        "sort a list in reverse",
        "the cat sleeps",
        "send an email",
        "read a line of text",
        "parse a date",
    ],
    "second": [
        "reading from a file object",
        "order the items from the end",
        "stock prices fell",
        "mail a message to somebody",
        "bake a cake",
        "turn text into a datetime",
    ],
}
ALIKE = [0.7, 0.8, 0.0, 0.9, 0.1, 0.8]


def main() -> None:
    """Fits raw pairs, saves, loads by plain Keras."""
    trunk = kzoo.Trunk("minilm-l6", max_tokens=32)
    trunk.adapters.add("alike", "lora[r=4]")
    first, second = (kzoo.TextInput(trunk, name=name) for name in PAIRS)
    vectors = [
        kzoo.heads.Embed(name=f"{side}_vector")(trunk(text))
        for side, text in (("first", first), ("second", second))
    ]
    cosine = keras.layers.Dot(axes=-1, name="cosine")(vectors)  # vectors have length 1
    model = kzoo.Model([first, second], cosine, training={"learning_rate": 3e-3})
    before = model.predict(PAIRS, verbose=0)[:, 0]

    model.compile(loss="mse")
    losses = model.fit(PAIRS, ALIKE, epochs=6, batch_size=3, verbose=0).history["loss"]
    after = model.predict(PAIRS, verbose=0)[:, 0]
    print(f"Spearman {spearman(before, ALIKE):.2f} before, {spearman(after, ALIKE):.2f} after")
    print(f"learned {losses[-1] < losses[0]}")

    model.save("bi_encoder.keras")
    again = keras.models.load_model("bi_encoder.keras")
    print(f"loaded equal {np.allclose(again.predict(PAIRS, verbose=0)[:, 0], after, atol=1e-5)}")


if __name__ == "__main__":
    main()
