"""Composed models on real data: what opening the middle is for.

- `stsb`: a bi-encoder, one trunk called twice, whose cosine is fitted to the scores of STS-B
  (Cer et al. 2017); Spearman's correlation on the test split, before and after.
- `snips`: one trunk, a text and a numeric column in, two heads out: the intent of SNIPS (Coucke et
  al. 2018), and how many slots the sentence has.

Usage: python benchmarks/composed.py stsb --data DIR     (DIR/stsb/sts-train.csv, ...)
       python benchmarks/composed.py snips --data DIR    (DIR/snips/train/seq.in, label, seq.out)
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import kzoo
from kzoo.metrics import accuracy, pearson, spearman


def sts(folder: Path, split: str) -> tuple[dict[str, list[str]], np.ndarray[Any, Any]]:
    """The pairs of a split, and their scores from 0 to 1."""
    lines = (folder / f"sts-{split}.csv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if line.strip()]
    pairs = {"first": [row[5] for row in rows], "second": [row[6] for row in rows]}
    return pairs, np.asarray([float(row[4]) / 5 for row in rows], "float32")


def bi_encoder(adapter: str, rate: float, epochs: int) -> Any:
    """One trunk called twice; the cosine of its sentence vectors."""
    trunk = kzoo.Trunk("minilm-l6", max_tokens=64)
    trunk.adapters.add("sts", adapter)
    first, second = (kzoo.TextInput(trunk, name=name) for name in ("first", "second"))
    vectors = [
        kzoo.heads.Embed(name=f"{side}_vector")(trunk(text))
        for side, text in (("first", first), ("second", second))
    ]
    cosine = keras.layers.Dot(axes=-1, normalize=True, name="cosine", dtype="float32")(vectors)
    training = {"learning_rate": rate, "epochs": epochs, "batch_size": 32}
    return kzoo.Model([first, second], cosine, training=training)


def run_stsb(folder: Path, take: int | None, epochs: int) -> None:
    """Prints the correlations."""
    model = bi_encoder("lora[r=8,alpha=16]", 1e-3, epochs)
    train, scores = sts(folder, "train")
    rows = np.random.default_rng(0).permutation(len(scores))[:take]
    train = {name: [column[row] for row in rows] for name, column in train.items()}
    for split in ("dev", "test"):
        pairs, gold = sts(folder, split)
        found = model.predict(pairs, verbose=0)[:, 0]
        print(f"{split} before: Spearman {spearman(found, gold):.4f}", flush=True)
    model.compile(loss="mse")
    model.fit(train, scores[rows], validation_data=sts(folder, "dev"), verbose=2)
    for split in ("dev", "test"):
        pairs, gold = sts(folder, split)
        found = model.predict(pairs, verbose=0)[:, 0]
        print(f"{split} after:  Spearman {spearman(found, gold):.4f}", flush=True)


def snips(folder: Path, split: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sentences and their numbers of words; intents and numbers of slots."""
    read = lambda name: (folder / split / name).read_text(encoding="utf-8").splitlines()  # noqa: E731
    texts = [line.strip() for line in read("seq.in")]
    slots = [float(sum(tag.startswith("B-") for tag in line.split())) for line in read("seq.out")]
    columns = {"text": texts, "words": [float(len(text.split())) for text in texts]}
    return columns, {"intent": [line.strip() for line in read("label")], "slots": slots}


def two_heads(epochs: int) -> Any:
    """A text and a number in, a class and a number out."""
    trunk = kzoo.Trunk("minilm-l6", max_tokens=48)
    trunk.adapters.add("snips", "lora[r=8,alpha=16]")
    text, words = kzoo.TextInput(trunk, name="text"), keras.Input((1,), name="words")
    vector = kzoo.heads.Embed(name="vector", normalize=False)(trunk(text))
    both = keras.layers.Concatenate()([vector, keras.layers.Rescaling(0.1)(words)])
    outputs = {
        "intent": kzoo.heads.Classify(name="intent")(both),
        "slots": kzoo.heads.Regress(name="slots", loss_weight=0.3)(both),
    }
    training = {"learning_rate": 2e-3, "epochs": epochs, "batch_size": 32}
    return kzoo.Model([text, words], outputs, training=training)


def run_snips(folder: Path, take: int | None, epochs: int) -> None:
    """Prints accuracy and correlation on the test split."""
    model = two_heads(epochs)
    columns, labels = snips(folder, "train")
    rows = np.random.default_rng(0).permutation(len(columns["text"]))[:take]
    picked = [{k: [c[r] for r in rows] for k, c in part.items()} for part in (columns, labels)]
    model.fit(*picked, verbose=2)
    columns, labels = snips(folder, "test")
    decoded = model.decode(model.predict(columns, verbose=0))
    names = sorted(set(labels["intent"]))
    ids = [
        [names.index(name) for name in column] for column in (labels["intent"], decoded["intent"])
    ]
    print(f"test intent: accuracy {accuracy(*ids):.4f}")
    print(f"test slots:  Pearson {pearson(labels['slots'], decoded['slots']):.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=["stsb", "snips"])
    parser.add_argument("--data", type=Path, required=True, help="folder with the data sets")
    parser.add_argument("--take", type=int, help="train on so many rows")
    parser.add_argument("--epochs", type=int, default=1)
    arguments = parser.parse_args()
    run = {"stsb": run_stsb, "snips": run_snips}[arguments.task]
    run(arguments.data / arguments.task, arguments.take, arguments.epochs)
