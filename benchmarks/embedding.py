"""Encoders that learn: MiniLM before and after training, kzoo next to sentence-transformers.

- `stsb`: cosines fitted to the scores of STS-B's training pairs; Spearman's correlation on test.
- `scifact`: claims and the abstracts that are judged for them, by in-batch negatives; nDCG@10 of
  dense search on test, one passage a document.

LoRA (r 16, alpha 32, all linear layers) on a frozen trunk, Adam, warm-up and linear decay. The rate
is the best of `--rates` on validation rows: STS-B's dev split; a fifth of SciFact's training
queries (mean reciprocal rank among their own abstracts). Test is looked at once, with that model.

The peer has no trainer of its own without HF `datasets`; its model, losses and PEFT's LoRA run in a
plain torch loop with the same optimizer, rates and batches at random (kzoo's are by length).

Usage: python benchmarks/embedding.py stsb --data DIR       (DIR/stsb/sts-train.csv, ...)
       python benchmarks/embedding.py scifact --data DIR    (DIR/scifact/corpus.jsonl, ...)
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from _compare import Result, interleave, machine, run_worker, serve, write_json

FROZEN = {"stsb": 0.8203, "scifact": 0.6451}  # MTEB's, which kzoo's frozen encoder reaches
Rows = list[tuple[Any, ...]]


def sts(folder: Path, split: str) -> Rows:
    """(sentence, sentence, score from 0 to 5)."""
    lines = (folder / "stsb" / f"sts-{split}.csv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if line.strip()]
    return [(row[5], row[6], float(row[4])) for row in rows]


def scifact(folder: Path) -> tuple[Rows, Rows]:
    """(claim, abstract) of four fifths of the training queries, and of the others."""
    import retrieval_index

    folder = folder / "scifact"
    lines = (folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines()
    texts = {row["_id"]: f"{row['title']} {row['text']}" for row in map(json.loads, lines)}
    queries = retrieval_index.read_queries(folder / "queries.jsonl")
    judged = retrieval_index.read_qrels(folder / "qrels" / "train.tsv")
    found: tuple[Rows, Rows] = ([], [])
    for number, (query, documents) in enumerate(sorted(judged.items())):
        own = [(queries[query], texts[d]) for d, level in documents.items() if level > 0]
        found[number % 5 == 0].extend(own)
    return found


class Data:
    """Training rows of a task, and how an encoder does on others."""

    def __init__(self, task: str, folder: Path, take: int | None, seed: int) -> None:
        self.task, self.folder = task, folder
        train, self.dev = (
            scifact(folder) if task == "scifact" else (sts(folder, "train"), sts(folder, "dev"))
        )
        order = np.random.default_rng(seed).permutation(len(train))[:take]
        self.train = [train[row] for row in order]

    def validate(self, encode: Any) -> float:
        """What decides between rates."""
        from kzoo.metrics import reciprocal_rank

        if self.task == "stsb":
            return self._spearman(encode, self.dev)
        vectors = [encode([row[side] for row in self.dev]) for side in (0, 1)]
        return float(np.mean(reciprocal_rank(np.stack(vectors, axis=1))))

    def test(self, encode: Any) -> float:
        """The figure that is reported."""
        if self.task == "stsb":
            return self._spearman(encode, sts(self.folder, "test"))
        import retrieval_index

        class Encoder:
            name, fingerprint, dimension, max_tokens = "trained", "trained", 384, 256

            def encode(self, texts: Any) -> Any:
                return encode(list(texts))

        folder = self.folder / "scifact"
        queries = retrieval_index.read_queries(folder / "queries.jsonl")
        qrels = retrieval_index.read_qrels(folder / "qrels" / "test.tsv")
        with (
            tempfile.TemporaryDirectory() as out,
            retrieval_index.build(
                folder / "corpus.jsonl", Path(out) / "i", Encoder(), chunking="none", progress=False
            ) as index,
        ):
            found = retrieval_index.evaluate(
                index, queries, qrels, metrics=("nDCG@10",), mode="dense", progress=False
            )
        return float(found.metrics["nDCG@10"])

    def _spearman(self, encode: Any, rows: Rows) -> float:
        from kzoo.metrics import spearman

        a, b = (encode([row[side] for row in rows]) for side in (0, 1))
        return spearman(np.sum(a * b, axis=1), [row[2] for row in rows])


def train_kzoo(data: Data, rate: float, request: dict[str, Any]) -> Any:
    """A trained encoder's `encode`."""
    import kzoo

    head = {"kind": "contrast"}
    if data.task == "stsb":
        head = {"kind": "similarity", "highest": 5}
    training = {key: request[key] for key in ("epochs", "batch_size", "seed")}
    model = kzoo.load(
        "minilm-trained", head=head, learning_rate=rate, max_tokens=request["tokens"], **training
    )
    if data.task == "stsb":
        rows = {f"sentence{n + 1}": [row[n] for row in data.train] for n in (0, 1)}
        model.fit(rows, [row[2] for row in data.train], verbose=0)
    else:
        model.fit(data.train, verbose=0)
    return model.encode


def train_peer(data: Data, rate: float, request: dict[str, Any]) -> Any:
    """The same with sentence-transformers and PEFT."""
    import torch
    from _tasks import trunk_folder
    from peft import LoraConfig
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import losses

    torch.set_num_threads(request["threads"])
    torch.manual_seed(request["seed"])
    model = SentenceTransformer(str(trunk_folder()), device="cpu")
    model.max_seq_length = request["tokens"]
    targets = r".*(query|key|value|encoder.*dense)"
    model.add_adapter(LoraConfig(r=16, lora_alpha=32, target_modules=targets))
    loss: Any = losses.MultipleNegativesRankingLoss(model)
    if data.task == "stsb":
        loss = losses.CosineSimilarityLoss(model)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=rate, eps=1e-7)
    size = request["batch_size"]
    steps = request["epochs"] * -(-len(data.train) // size)
    warm = max(1, round(0.06 * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda n: min((n + 1) / warm, (steps - n) / max(1, steps - warm))
    )
    rng = np.random.default_rng(request["seed"])
    model.eval()  # kzoo's frozen trunk runs without dropout
    for _ in range(request["epochs"]):
        order = rng.permutation(len(data.train))
        for start in range(0, len(order), size):
            rows = [data.train[i] for i in order[start : start + size]]
            features = [model.preprocess([row[side] for row in rows]) for side in (0, 1)]
            labels = torch.tensor([row[2] / 5 if len(row) > 2 else 0.0 for row in rows])
            optimizer.zero_grad()
            loss(features, labels).backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            schedule.step()
    return lambda texts: model.encode(
        texts, batch_size=32, show_progress_bar=False, normalize_embeddings=True
    )


def work(request: dict[str, Any]) -> Result:
    """One side: trains with each rate, and tests the best."""
    data = Data(request["task"], Path(request["data"]), request["take"], request["seed"])
    train = {"kzoo": train_kzoo, "sentence-transformers": train_peer}[request["side"]]
    dev, best, seconds = {}, None, []
    for rate in request["rates"]:
        began = time.perf_counter()
        encode = train(data, rate, copy.deepcopy(request))
        seconds.append(round(time.perf_counter() - began, 1))
        dev[rate] = data.validate(encode)
        if dev[rate] == max(dev.values()):
            best = encode
    test = data.test(best)
    return {"dev": dev, "rows": len(data.train), "train_seconds": seconds, "test": test}


def main() -> None:
    """Runs both sides in turns and prints what came of them."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = made.add_argument
    add("task", choices=list(FROZEN))
    add("--data", required=True, help="folder with the data set")
    add("--take", type=int, help="train on so many rows")
    add("--epochs", type=int, default=1)
    add("--batch-size", type=int, default=32)
    add("--rates", type=float, nargs="+", default=[2e-4, 5e-4, 1e-3])
    add("--repeats", type=int, default=1, help="rounds, each with a seed of its own")
    add("--skip-peer", action="store_true")
    add("--json", help="keep everything in this file")
    options = made.parse_args()
    request = {**vars(options), "tokens": 256 if options.task == "scifact" else 64}
    sides = ["kzoo"]
    if all(find_spec(name) for name in ("sentence_transformers", "peft")):
        sides += [] if options.skip_peer else ["sentence-transformers"]
    else:
        print("No peer: sentence-transformers and peft are not installed (make bench)")
    seeds = dict.fromkeys(sides, 0)

    def run(side: str) -> Result:
        seeds[side] += 1
        one = run_worker("embedding.py", {**request, "side": side, "seed": seeds[side]})
        print(f"{side}: dev {one['dev']}, {one['rows']} rows, {one['train_seconds']} s a rate")
        print(f"{side}: test {one['test']:.4f}", flush=True)
        return one

    facts = machine("tensorflow", "keras", "torch", "sentence-transformers", "peft")
    runs = {side: (lambda side=side: run(side)) for side in sides}
    results = interleave(runs, options.repeats, print)
    for side, found in results.items():
        tests = [one["test"] for one in found]
        print(f"{side}: test {np.mean(tests):.4f} ({min(tests):.4f} to {max(tests):.4f}); ", end="")
        print(f"frozen {FROZEN[options.task]}")
    write_json(options.json, {"options": vars(options), "machine": facts, "results": results})


if __name__ == "__main__":
    import sys

    main() if len(sys.argv) > 1 else serve(work)
