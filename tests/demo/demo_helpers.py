"""A finished run with made-up numbers."""

import dataclasses

import numpy as np

from kzoo.datasets import Card, Dataset, Split
from kzoo.demo.results import Answer, Hit, ModelFacts, Results, Score, Verdict

LABELS = ["Files & <Folders>", "Numbers", "Networking and Interprocess Communication"]
NASTY = "<script>alert(\"x\")</script> & 'quotes'"


def finished_run(**changes):
    results = Results(
        quick=True,
        notes=["Only a part of the documents."],
        environment={"Python": "3.11.9", "processor": "Made <Up>"},
        settings={"seed": 0, "quick": True, "epochs": 3, "modules": ("csv", "os")},
        labels=LABELS,
        counts={"train": 1234, "validation": 56, "test": 78},
        history={
            "loss": [2.0, 1.0, 0.5],
            "val_loss": [1.9, 1.2, 1.3],
            "accuracy": [0.3, 0.6, 0.8],
            "val_accuracy": [0.4, 0.7, 0.65],
        },
        best_epoch=2,
        scores=[
            Score("adapter", 0.8125, 0.7987, "epoch 2 of 3"),
            Score("TF-IDF + logistic regression", 0.7534, 0.7411, "5,555 words"),
            Score("the majority class", 0.1611, 0.0231, "always “Numbers”"),
        ],
        verdicts=[
            Verdict("TF-IDF + logistic regression", 0.0591, 0.0123),
            Verdict("the majority class", 0.6514, 0.02),
        ],
        confusion=[[20, 1, 2], [3, 24, 0], [0, 4, 24]],
        models=[
            ModelFacts("teacher", 22_830_876, 117_660, 93.14, 40.0, 0.8, 0.7987),
            ModelFacts("student", 15_619_980, 15_619_979, 63.1, 100.0, 0.76, 0.7501),
            ModelFacts("alone", 15_619_980, 15_619_980, 63.1, None, 0.72, 0.7002),
        ],
        index={"documents": 4321, "chunks": 6040, "encoder": "kzoo:minilm", "megabytes": 12.34},
        answers=[
            Answer(
                "How do I <read> a file?",
                [
                    Hit(0.712, "io.open", 17, 420, f"Open a file.\n{NASTY}"),
                    Hit(0.655, "topic:<files>", 0, 99, "second passage"),
                ],
            ),
            Answer("A question without an answer?", []),
        ],
        seconds={"load": 12.3, "fit": 187.6},
        cpu_seconds={"load": 13.1, "fit": 360.2},
        next_commands=['kzoo predict out/demo/classifier "a & b"'],
    )
    return dataclasses.replace(results, **changes)


def tiny_dataset():
    """Words that give the class away, but for one test row."""
    split = lambda texts, labels: Split(  # noqa: E731
        texts=texts, labels=np.array(labels), label_names=["file", "number"]
    )
    train = split(
        ["open the file", "close the file", "read a file", "add a number", "divide a number"],
        [0, 0, 0, 1, 1],
    )
    validation = split(["write the file", "one number"], [0, 1])
    test = split(["rename the file", "a number", "a number of the file"], [0, 1, 1])
    splits = {"train": train, "validation": validation, "test": test}
    return Dataset("tiny", splits, ["file", "number"], Card("made up"))
