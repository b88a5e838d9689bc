"""Any number of labels a text, or none; thresholds for a better F1; ratings that have an order."""

import kzoo

MAILS = {
    "my card was stolen and I need a new one": ["card", "urgent"],
    "where do I see what is in my account": ["account"],
    "someone is taking money out of my account right now": ["account", "urgent"],
    "I would like a second card for my daughter": ["card"],
    "thank you, all is well": [],
    "please close my account and block the card today": ["account", "card", "urgent"],
    "have a nice weekend": [],
    "which cards do you offer": ["card"],
}
NEW = ["help, I lost my card", "what was the balance of my account in May", "good morning"]
STARS = {"awful, never again": 1, "not good": 2, "it was fine": 3, "really good": 4, "perfect": 5}


def main() -> None:
    """Fits eight mails; enough to see the parts, too few to judge them."""
    texts, labels = list(MAILS), list(MAILS.values())
    model = kzoo.load("bert-multilabel", learning_rate=5e-3)
    model.fit(texts, labels, epochs=15, batch_size=4, verbose=0)
    print(f"labels {model.head.labels}")
    for text, found in zip(NEW, model.decode(model.predict(NEW, verbose=0)), strict=True):
        print(f"{found!s:20} {text}")

    # Thresholds are best tuned on rows that were not trained on; they are saved with the adapter.
    before = model.evaluate(texts, labels, verbose=0, return_dict=True)["macro_f1"]
    thresholds = model.head.tune_thresholds(labels, model.predict(texts, verbose=0), "macro")
    after = model.evaluate(texts, labels, verbose=0, return_dict=True)["macro_f1"]
    print(f"thresholds {len(thresholds)}, macro-F1 not worse {after >= before}")
    model.adapters.save("default", "out/mails")
    again = kzoo.load("bert-multilabel", adapter=None)
    again.adapters.load("out/mails")
    print(f"loaded equal {again.head.thresholds == thresholds}")

    # Ratings: being two stars off is worse than one, which a classifier does not know.
    stars = kzoo.load("bert-ordinal", learning_rate=5e-3)
    stars.fit(list(STARS), list(STARS.values()), epochs=20, batch_size=5, verbose=0)
    print(f"ratings {stars.head.labels}")
    print(stars.decode(stars.predict(["what a perfect evening", "awful food"], verbose=0)))


if __name__ == "__main__":
    main()
