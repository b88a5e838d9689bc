"""A cross-encoder that puts the passages of a search into a better order; multiple choice."""

from pathlib import Path

import kzoo
import retrieval_index
from kzoo.metrics import ranking_scores

QUESTIONS = {
    "how do I read a file": ["open() and read() give its text", "a list keeps its order"],
    "how do I sort a list": ["sorted() makes a new list in order", "open() makes a file object"],
    "how do I join texts": ["join() puts texts together", "sort() changes a list in place"],
    "how do I copy a list": ["list.copy() gives a new one", "split() cuts a text into words"],
}
EXAM = [
    ("To repeat something, write", ["a loop", "a comment", "a file"], "A"),
    ("To give something a name, write", ["a loop", "an assignment"], "B"),
]


def main() -> None:
    """Fits four questions; enough to see the parts, too few to judge them."""
    rows = list(QUESTIONS.items())
    labels = [[1, 0]] * len(rows)
    model = kzoo.load("bert-ranker", k=2, loss="ranknet", learning_rate=5e-3)
    model.fit(rows, labels, epochs=10, batch_size=4, verbose=0)
    scores = [model.scores(query, passages) for query, passages in rows]
    print({name: round(value, 2) for name, value in ranking_scores(labels, scores).items()})

    # Any number of passages, here those that a search has found.
    texts = [passage for passages in QUESTIONS.values() for passage in passages]
    documents = [{"id": str(number), "text": text} for number, text in enumerate(texts)]
    Path("out").mkdir(exist_ok=True)
    index = retrieval_index.build(documents, "out/passages", encoder=None)
    for hit in index.search("sort a list", k=3, mode="lexical", rerank=model.scores):
        print(f"{hit.score:6.2f} {hit.text}")

    exam = kzoo.load("bert-choice", k=3, labels=["A", "B", "C"], learning_rate=5e-3)
    asked = [(context, choices) for context, choices, _ in EXAM]
    exam.fit(asked, [right for *_, right in EXAM], epochs=15, verbose=0)
    print(exam.predict_values(asked, verbose=0))


if __name__ == "__main__":
    main()
