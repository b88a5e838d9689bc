"""Search by meaning, by words and by both; filter; and let judged queries choose the weights."""

import sys
from pathlib import Path

import retrieval_index

DOCUMENTS = [
    {"_id": "e17", "text": "Error E17 means that the disk is full.", "product": "server"},
    {
        "_id": "e18",
        "text": "Error E18 means that the printer is out of paper.",
        "product": "office",
    },
    {"_id": "e71", "text": "Error E71 means that the network cable is loose.", "product": "server"},
    {"_id": "room", "text": "Remove old logs to free storage space.", "product": "server"},
    {"_id": "ink", "text": "Cartridges last for about two thousand pages.", "product": "office"},
    {"_id": "wifi", "text": "Wireless connections drop behind thick walls.", "product": "office"},
]
QUERIES = {
    "code": "E71",
    "storage": "there is no room left on my hard drive",
    "other code": "what is E18",
    "radio": "my laptop keeps losing internet",
    "sheets": "how often do I replace the toner?",
}
QRELS = {
    "code": {"e71": 1},
    "storage": {"room": 1, "e17": 1},
    "other code": {"e18": 1},
    "radio": {"wifi": 1},
    "sheets": {"ink": 1},
}


def main(out: str = "out/hybrid/index", encoder: str = "kzoo:minilm-encoder") -> None:
    """Prints the best passages of each mode, and what each is worth."""
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    with retrieval_index.build(DOCUMENTS, out, encoder, overwrite=True) as index:
        for query in ("E71", QUERIES["storage"]):
            for mode in ("dense", "lexical", "hybrid"):
                found = [hit.document_id for hit in index.search(query, k=2, mode=mode)]
                print(f"{query:40} {mode:8} {found}")

        office = index.search(QUERIES["storage"], k=10, mode="hybrid", where={"product": "office"})
        print("office only:", sorted({hit.document_id for hit in office}))

        for mode in ("dense", "lexical", "hybrid"):
            score = retrieval_index.evaluate(index, QUERIES, QRELS, metrics="nDCG@10", mode=mode)
            print(f"nDCG@10 {mode:8} {score.metrics['nDCG@10']:.3f}")

    rule = retrieval_index.tune_fusion(out, QUERIES, QRELS)  # stored; `mode="hybrid"` uses it
    print("tuned:", rule["method"], rule["weights"], f"held out {rule['held_out']:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
