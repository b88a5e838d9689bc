"""A small corpus with queries and judgements, for the tests of `kzoo index`."""

from __future__ import annotations

import json
import random

TOPICS = {
    "files": "open close read write path folder stream",
    "lists": "sort order key compare stable reverse list",
    "times": "clock sleep second minute date zone hour",
}


def documents(count=60):
    """Documents whose words belong to one topic, with `topic`, `year` and `lang`."""
    rng = random.Random(0)
    made = []
    for number in range(count):
        topic = list(TOPICS)[number % 3]
        words = [*TOPICS[topic].split(), "the", "value", "of", "a"]
        made.append(
            {
                "_id": f"d{number}",
                "title": f"About {topic}",
                "text": " ".join(rng.choice(words) for _ in range(30)) + f" number{number}.",
                "topic": topic,
                "year": 2000 + number % 10,
                "lang": "en" if number % 2 else "de",
            }
        )
    return made


def write_corpus(path, count=60):
    """Writes `documents` as JSON lines and returns the path."""
    path.write_text("".join(json.dumps(item) + "\n" for item in documents(count)))
    return path


def write_judgements(folder):
    """Writes queries.tsv and qrels.tsv and returns both paths; each query asks for one document."""
    queries, qrels = folder / "queries.tsv", folder / "qrels.tsv"
    numbers = range(0, 60, 6)
    queries.write_text("".join(f"q{n}\tthe number{n} of a value\n" for n in numbers))
    qrels.write_text("".join(f"q{n} 0 d{n} 1\n" for n in numbers) + "unasked 0 d1 1\n")
    return queries, qrels
