"""Runs that learn vectors from pairs, and similarities from scored pairs."""

import json

import numpy as np
import pytest
from runs_toys import rows, write_jsonl, write_recipe

import kzoo
from kzoo import runs
from kzoo.cli.evaluate import evaluate
from kzoo.cli.predict import predict
from kzoo.errors import InputError, RecipeError
from kzoo.metrics import reciprocal_rank, spearman
from kzoo.runs.goals import goal_of_kind
from kzoo.runs.reader import trained_facts

TRAINING = {"learning_rate": 0.01, "epochs": 2, "batch_size": 16}


def pairs(count, seed):
    """Texts of one class belong together."""
    found = rows(2 * count, seed)
    return [{"anchor": found[i]["text"], "positive": found[i + 3]["text"]} for i in range(count)]


def scored(count, seed):
    found = rows(count, seed)
    others = rows(count + 1, seed + 10)[1:]
    return [
        {
            "sentence1": a["text"],
            "sentence2": (a if i % 2 else b)["text"],
            "score": 5.0 if i % 2 else 1.0,
        }
        for i, (a, b) in enumerate(zip(found, others, strict=True))
    ]


def test_vectors_of_pairs(toys, tmp_path, capsys):
    data = tmp_path / "pairs"
    write_jsonl(data / "train.jsonl", pairs(40, 1))
    write_jsonl(data / "test.jsonl", pairs(20, 2))
    recipe = write_recipe(
        tmp_path / "vectors.yaml",
        toys.folder / "trunk",
        adapters="lora[r=4]",
        head={"kind": "contrast"},
        training=TRAINING,
    )
    report = runs.train(recipe, data, tmp_path / "run")
    run = runs.open_run(tmp_path / "run")
    model, test = run.load(), kzoo.datasets.load(data, split="test", labelled=False)
    found = report["scores"]["test"]
    vectors = np.stack([model.encode(test.texts), model.encode(test.text_pairs)], axis=1)
    assert found["mrr"] == pytest.approx(np.mean(reciprocal_rank(vectors)), abs=1e-3)
    assert set(found) == {"rows", "loss", "batch_accuracy", "mrr"}
    best = max(run.metrics, key=lambda line: (line["val_mrr"], -line["val_loss"]))
    assert (report["metric"], report["best_epoch"]) == ("val_mrr", best["epoch"])
    assert trained_facts(tmp_path / "run" / "model.keras").goal is goal_of_kind("contrast")
    evaluate(str(tmp_path / "run"), str(data), as_json=True)
    assert json.loads(capsys.readouterr().out)["mrr"] == pytest.approx(found["mrr"])
    predict(str(tmp_path / "run"), test.texts[:2], as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert [row["text"] for row in said] == test.texts[:2]
    np.testing.assert_allclose([row["vector"] for row in said], vectors[:2, 0], atol=1e-5)
    predict(str(tmp_path / "run"), test.texts[:1])
    assert "... (32)" in capsys.readouterr().out


def test_similarities_of_pairs(toys, tmp_path):
    data = tmp_path / "scored"
    write_jsonl(data / "train.jsonl", scored(40, 1))
    write_jsonl(data / "test.jsonl", scored(20, 2))
    recipe = write_recipe(
        tmp_path / "scores.yaml",
        toys.folder / "trunk",
        adapters="lora[r=4]",
        head={"kind": "similarity", "highest": 5},
        training=TRAINING,
    )
    report = runs.train(recipe, data, tmp_path / "run")
    model = runs.open_run(tmp_path / "run").load()
    test = kzoo.datasets.load(data, split="test", task="regression")
    a, b = model.encode(test.texts), model.encode(test.text_pairs)
    cosines = np.sum(a * b, axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    found = report["scores"]["test"]
    assert found["rmse"] == pytest.approx(
        np.sqrt(np.mean((5 * cosines - test.labels) ** 2)), rel=1e-3
    )
    assert found["spearman"] == pytest.approx(spearman(cosines, test.labels), abs=0.02)


def test_what_such_runs_refuse(toys, tmp_path):
    def recipe(**head):
        path, trunk = tmp_path / "x.yaml", toys.folder / "trunk"
        return write_recipe(path, trunk, head={"kind": "contrast", **head})

    out = tmp_path / "run"
    with pytest.raises(InputError, match="single texts, but vectors are learned from two texts"):
        runs.train(recipe(), toys.data, out)
    for head in ({"loss": "triplet"}, {"columns": ["text"]}, {"columns": ["a", "b", "c"]}):
        with pytest.raises(RecipeError, match="rows of one text or of three and more"):
            runs.train(recipe(**head), toys.data, out)
    singles = [{"text": row["text"], "score": 1.0} for row in rows(20, 1)]
    data = write_jsonl(tmp_path / "singles" / "train.jsonl", singles).parent
    with pytest.raises(InputError, match="single texts, but two texts are compared"):
        runs.train(recipe(kind="similarity"), data, out)
    assert not out.exists()
