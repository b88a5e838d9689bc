"""Runs that learn label sets or ratings."""

import json

import numpy as np
import pytest
from runs_toys import rows, write_jsonl, write_recipe
from sklearn.metrics import (
    cohen_kappa_score,
    f1_score,
    label_ranking_average_precision_score,
    precision_recall_fscore_support,
)

import kzoo
from kzoo import runs
from kzoo.datasets import Card, Dataset, Split
from kzoo.errors import InputError
from kzoo.runs.data import aligned
from kzoo.runs.goals import goal_of_kind
from kzoo.runs.reader import trained_facts

SETS = {"food": ["eat"], "money": ["pay", "think"], "sport": []}
STARS = {"food": 1, "money": 2, "sport": 5}


def write_sets(folder):
    for split, count, seed in (("train", 60, 1), ("test", 30, 2)):
        found = [{"text": r["text"], "labels": SETS[r["label"]]} for r in rows(count, seed)]
        write_jsonl(folder / f"{split}.jsonl", found)
    return folder


@pytest.fixture(scope="module")
def label_sets(toys, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    data = write_sets(folder / "data")
    recipe = write_recipe(
        folder / "sets.yaml",
        toys.folder / "trunk",
        adapters="lora[r=4]",
        head={"kind": "multilabel", "dropout": 0.0},
    )
    options = runs.TrainOptions(tune_thresholds="macro", epochs=2)
    return folder, recipe, runs.train(recipe, data, folder / "run", options)


def test_label_sets_are_scored_as_sklearn_does(label_sets):
    folder, _, report = label_sets
    model = runs.open_run(folder / "run").load()
    test = kzoo.datasets.load(folder / "data", split="test")
    outputs = model.predict(test.inputs, verbose=0)
    marks = np.asarray([[n in own for n in test.label_names] for own in model.decode(outputs)])
    found = report["scores"]["test"]
    assert set(found) == {"rows", "loss", "micro_f1", "macro_f1", "lrap"}
    for average in ("micro", "macro"):
        expected = f1_score(test.labels, marks, average=average, zero_division=0)
        assert found[f"{average}_f1"] == pytest.approx(expected, abs=1e-6)
    lrap = label_ranking_average_precision_score(test.labels, outputs)
    assert found["lrap"] == pytest.approx(lrap, abs=1e-6)
    p, r, f, n = precision_recall_fscore_support(test.labels, marks, zero_division=0)
    for i, item in enumerate(report["per_class"]):
        assert item["label"] == test.label_names[i] and item["rows"] == n[i]
        for key, value in (("precision", p[i]), ("recall", r[i]), ("f1", f[i])):
            assert (item[key] or 0.0) == pytest.approx(value)
    assert report["metric"] == "val_micro_f1"


def test_thresholds_are_tuned_and_kept(label_sets, toys):
    """In the model, in its adapter's folder, and as the best of the validation rows."""
    folder, recipe, report = label_sets
    run = runs.open_run(folder / "run")
    model = run.load()
    thresholds = model.head.thresholds
    assert thresholds != [0.5] * 3
    fresh = kzoo.load(recipe, adapter=None)
    run.load_adapters(fresh)
    assert fresh.head.thresholds == thresholds
    data = kzoo.datasets.load(folder / "data").with_validation(0.1, 0)["validation"]
    outputs = model.predict(data.inputs, verbose=0)
    found = f1_score(data.labels, model.head.marks(outputs), average="macro", zero_division=0)
    assert report["scores"]["validation"]["macro_f1"] == pytest.approx(found, abs=1e-6)
    plain = f1_score(data.labels, outputs >= 0, average="macro", zero_division=0)
    assert found >= plain
    facts = trained_facts(folder / "run" / "model.keras")
    assert facts.goal is goal_of_kind("multilabel") and facts.labels == ["eat", "pay", "think"]


def test_labels_are_aligned_by_name():
    split = Split(["p", "q"], labels=[[1, 0, 0], [1, 1, 0]], label_names=["c", "a", "never"])
    found = aligned(split, ["a", "b", "c"], "here")
    assert found.labels.tolist() == [[0, 0, 1], [1, 0, 1]]
    assert found.label_names == ["a", "b", "c"]
    with pytest.raises(InputError, match="here has labels that the model does not know: 'c'"):
        aligned(split, ["a", "b"], "here")


def write_stars(folder, names=None):
    for split, count, seed in (("train", 60, 1), ("test", 30, 2)):
        found = []
        for row in rows(count, seed):
            star = STARS[row["label"]]
            found.append({"text": row["text"], "label": star if names is None else names[star]})
        write_jsonl(folder / f"{split}.jsonl", found)
    return folder


@pytest.fixture(scope="module")
def ratings(toys, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ratings")
    recipe = write_recipe(
        folder / "ratings.yaml",
        toys.folder / "trunk",
        adapters="lora[r=4]",
        head={"kind": "ordinal", "dropout": 0.0},
    )
    return folder, recipe, runs.train(recipe, write_stars(folder / "data"), folder / "run")


def test_ratings_are_scored_as_sklearn_does(ratings):
    folder, _, report = ratings
    model = runs.open_run(folder / "run").load()
    assert model.head.labels == [1, 2, 5]
    test = kzoo.datasets.load(folder / "data", split="test")
    true = [int(label) for label in test.label_strings]
    answers = model.decode(model.predict(test.inputs, verbose=0))
    found = report["scores"]["test"]
    assert found["accuracy"] == pytest.approx(np.mean(np.equal(true, answers)))
    assert found["mae"] == pytest.approx(np.abs(np.subtract(true, answers)).mean())
    kappa = cohen_kappa_score(true, answers, labels=[1, 2, 5], weights="quadratic")
    assert found["kappa"] == pytest.approx(kappa, abs=1e-6) and kappa > 0.5
    assert report["metric"] == "val_kappa"
    lines = runs.open_run(folder / "run").metrics
    best = max(lines, key=lambda line: (line["val_kappa"], -line["val_loss"]))
    assert report["best_epoch"] == best["epoch"]
    assert report["scores"]["validation"]["kappa"] == pytest.approx(best["val_kappa"], abs=1e-5)


def test_ratings_that_are_words_need_their_order(ratings, tmp_path):
    _, recipe, _ = ratings
    data = write_stars(tmp_path / "data", {1: "bad", 2: "fair", 5: "excellent"})
    with pytest.raises(InputError, match="bad, excellent, fair have no order of their own"):
        runs.train(recipe, data, tmp_path / "run")
    options = runs.TrainOptions(epochs=1, overrides={"head.labels": ["bad", "fair", "excellent"]})
    report = runs.train(recipe, data, tmp_path / "run", options)
    model = runs.open_run(tmp_path / "run").load()
    assert model.head.labels == ["bad", "fair", "excellent"]
    test = kzoo.datasets.load(data, split="test")
    ranks = [model.head.labels.index(label) for label in test.label_strings]
    answers = model.decode(model.predict(test.inputs, verbose=0))
    off = np.abs(np.subtract(ranks, [model.head.labels.index(label) for label in answers]))
    assert report["scores"]["test"]["mae"] == pytest.approx(off.mean())


def test_refusals_say_the_true_reason(label_sets, ratings, toys, tmp_path):
    _, sets, _ = label_sets
    _, stars, _ = ratings
    out = tmp_path / "run"
    tune = runs.TrainOptions(tune_thresholds="micro")
    with pytest.raises(runs.RunError, match="for label sets; the recipe learns ratings"):
        runs.train(stars, write_stars(tmp_path / "stars"), out, tune)
    with pytest.raises(runs.RunError, match=r"macro or micro\. Received: 'best'"):
        runs.TrainOptions(tune_thresholds="best")
    few = Dataset(
        "few", {"train": Split(["p", "q"], labels=[[1], [0]], label_names=["a"])}, ["a"], Card("")
    )
    with pytest.raises(runs.RunError, match="`tune_thresholds` needs validation rows"):
        runs.train(sets, few, out, tune)
    classes = Dataset(
        "one", {"train": Split(["p"], labels=[0], label_names=["a"])}, ["a"], Card("")
    )
    with pytest.raises(InputError, match="'one' has classes; label sets are needed"):
        runs.train(sets, classes, out)
    with pytest.raises(InputError, match="'few' has label sets; ratings are needed"):
        runs.train(stars, few, out)
    with pytest.raises(InputError, match="'few' has label sets; classes are needed"):
        runs.train(toys.linear, few, out)
    with pytest.raises(runs.RunError, match="val_lrap for a recipe that learns label sets"):
        runs.train(sets, few, out, runs.TrainOptions(metric="val_kappa"))
    assert not out.exists()


def test_the_report_is_plain_json(label_sets):
    folder, _, report = label_sets
    assert json.loads((folder / "run" / "report.json").read_text()) == report
