"""Sentence vectors learn from pairs that belong together, are cut short, and find documents."""

import numpy as np

import kzoo
import retrieval_index

PAIRS = [
    ("how do I open a file", "open() returns a file object for reading or writing"),
    ("sort a list in reverse", "sorted() takes reverse=True and gives a new list"),
    ("send an email", "smtplib mails a message to a server"),
    ("parse a date", "strptime makes a datetime of a text in a format"),
    ("run a shell command", "subprocess starts other programs and reads their output"),
    ("make random numbers", "the random module draws from many distributions"),
    ("match a pattern", "re finds regular expressions in texts"),
    ("read a zip archive", "zipfile lists and unpacks compressed members"),
]


def main() -> None:
    """Fits, cuts, saves, loads, searches."""
    # Vectors are of use at 64 numbers too; rows with a third text have a mined negative there.
    model = kzoo.load("minilm-trained", sizes=[64, 384], learning_rate=2e-3, batch_size=8)
    before = model.evaluate(PAIRS, verbose=0, return_dict=True)
    model.fit(PAIRS, epochs=4, verbose=0)
    after = model.evaluate(PAIRS, verbose=0, return_dict=True)
    print(f"learned {after['loss'] < before['loss']}, finds {after['mrr']:.2f} of its pairs")

    short = model.encode([question for question, _ in PAIRS], size=64)
    print("short", short.shape, f"of length {np.linalg.norm(short[0]):.2f}")

    model.save("encoder.keras")
    documents = [{"id": question, "text": answer} for question, answer in PAIRS]
    index = retrieval_index.build(documents, "index", "kzoo:encoder.keras")
    print("found", index.search("which module unpacks archives?", k=1)[0].text)
    index.close()


if __name__ == "__main__":
    main()
