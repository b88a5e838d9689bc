"""Build an index from a few documents and search it with the zoo's sentence encoder."""

import sys
from pathlib import Path

import retrieval_index

DOCUMENTS = [
    {"id": "csv", "text": "csv.reader returns rows of a comma separated file as lists of strings."},
    {"id": "json", "text": "json.loads turns a JSON document in a string into Python objects."},
    {"id": "glob", "text": "glob.glob lists the paths that match a shell-style pattern."},
    {"id": "time", "text": "time.sleep suspends the calling thread for some seconds."},
]


def main(out: str = "out/search/index") -> None:
    """Prints the best passage for two questions."""
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    index = retrieval_index.build(DOCUMENTS, out, overwrite=True)
    for question in ("how do I wait five seconds?", "find all files ending in .txt"):
        best = index.search(question, k=1)[0]
        print(f"{question}  ->  {best.document_id} ({best.score:.2f}): {best.text}")
    index.close()

    with retrieval_index.open(out) as again:  # finds its encoder by name
        print(again.info()["encoder"]["name"], len(again), "passages")


if __name__ == "__main__":
    main(*sys.argv[1:])
