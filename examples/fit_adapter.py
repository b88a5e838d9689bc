"""Fit an adapter on raw strings, look at it, save the few hundred kilobytes that were trained."""

import sys
from pathlib import Path

import kzoo

TEXTS = {
    "card_lost": ["I lost my card", "my card is gone", "someone stole my card", "card missing"],
    "balance": ["how much money do I have", "show my balance", "what is in my account", "balance?"],
    "transfer": ["send 20 euros to Ann", "make a transfer", "wire money to my landlord", "pay Bob"],
}


def main(out: str = "out/fit_adapter") -> None:
    """Trains on twelve sentences; enough to see the parts, too few to judge them."""
    texts = [text for rows in TEXTS.values() for text in rows]
    labels = [label for label, rows in TEXTS.items() for _ in rows]

    model = kzoo.load("bert-adapter", learning_rate=5e-3)
    model.fit(texts, labels, epochs=12, batch_size=4, verbose=2)
    model.adapters.summary()
    print(model.predict_labels(["my credit card was stolen", "transfer 5 pounds"], verbose=0))

    folder = Path(out) / "banking"
    model.adapters.save("default", folder)
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"saved {size / 1024:.0f} KiB in {folder}")

    # Another process, another day: the same trunk, the saved adapter and its head.
    again = kzoo.load("bert-linear")
    again.adapters.load(folder)
    print(again.predict_labels(["what is my balance"], verbose=0))


if __name__ == "__main__":
    main(*sys.argv[1:])
