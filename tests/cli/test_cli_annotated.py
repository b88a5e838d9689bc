"""train, evaluate and predict where labels stand in the texts: tags, answers."""

import json

import keras
import pytest
from runs_toys import rows, write_jsonl, write_recipe

import kzoo as library
from kzoo import runs

NAMES = {"food": "THING", "money": "SUM", "sport": "GAME"}


def tagged(count, seed):
    """Two words of each sentence are of its type."""
    for row in rows(count, seed):
        tokens = row["text"].split()
        kind = f"B-{NAMES[row['label']]}"
        yield {"tokens": tokens, "tags": [kind if i in (1, 4) else "O" for i in range(len(tokens))]}


def asked(count, seed):
    for number, row in enumerate(rows(count, seed)):
        words = row["text"].split()
        start = row["text"].index(words[0]) if number % 5 else None
        own = {"text": [words[0]], "answer_start": [start]}
        yield {
            "question": "what",
            "context": row["text"],
            "answers": own if number % 5 else {"text": [], "answer_start": []},
        }


def trained(toys, kind, made, *words):
    from kzoo.cli.main import main

    data = toys.folder / f"{kind}-data"
    data.mkdir()
    for split, count, seed in (("train", 60, 1), ("validation", 20, 3), ("test", 30, 2)):
        write_jsonl(data / f"{split}.jsonl", list(made(count, seed)))
    head = {"kind": kind, "dropout": 0.0}
    trunk, path = toys.folder / "trunk", toys.folder / f"{kind}.yaml"
    recipe = write_recipe(path, trunk, adapters="lora[r=4]", head=head)
    out = toys.folder / "runs" / kind
    assert main([str(w) for w in ("train", recipe, data, "--out", out, *words)]) == 0
    return data, out


def test_tags(kzoo, toys):
    data, out = trained(toys, "tag", tagged, "--epochs", 12)
    report = json.loads((out / "report.json").read_text())
    told = kzoo("evaluate", out, data, "--json")
    assert told.code == 0, told.err
    found = json.loads(told.out)
    scores = report["scores"]["test"]
    assert found["entity_f1"] == pytest.approx(scores["entity_f1"]) and found["entity_f1"] > 0.3
    assert set(scores) >= {"rows", "loss", "accuracy", "entity_precision", "entity_recall"}
    text = " ".join(next(tagged(1, 1))["tokens"])
    (answer,) = json.loads(kzoo("predict", out, text, "--json").out)
    (value,) = library.load(out).predict_values([text], verbose=0)
    assert [e["text"] for e in answer["entities"]] == [e.text for e in value.entities]
    assert all(text[e["start"] : e["end"]] == e["text"] for e in answer["entities"])
    kzoo("predict", out, text)


def test_answers(kzoo, toys):
    data, out = trained(toys, "span", asked, "--epochs", 4)
    report = json.loads((out / "report.json").read_text())
    found = json.loads(kzoo("evaluate", out, data, "--json").out)
    for name in ("exact", "f1", "HasAns_f1", "NoAns_exact"):
        assert found[name] == pytest.approx(report["scores"]["test"][name])
    file = toys.folder / "questions.jsonl"
    write_jsonl(file, [{"question": "what", "context": row["context"]} for row in asked(3, 2)])
    columns = ("--text-column", "question", "--pair-column", "context")
    answers = json.loads(kzoo("predict", out, "--file", file, *columns, "--json").out)
    for answer in answers:
        context = answer["text"][1]
        assert context[answer["start"] : answer["end"]] == answer["answer"]
        assert 0 <= answer["probability"] <= 1
    kzoo("predict", out, "--file", file, *columns)


def test_a_run_on_texts_of_several_windows_resumes(toys, tmp_path):
    """Epochs are counted in steps, and a long text is several rows of a step."""
    long = []
    for number in range(12):
        parts = list(tagged(6, number))
        long.append({key: [v for part in parts for v in part[key]] for key in ("tokens", "tags")})
    data = write_jsonl(tmp_path / "train.jsonl", long)
    head = {"kind": "tag", "dropout": 0.0}
    recipe = write_recipe(tmp_path / "t.yaml", toys.folder / "trunk", adapters="lora", head=head)

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    with pytest.raises(runs.Interrupted):
        runs.train(recipe, data, tmp_path / "run", runs.TrainOptions(), callbacks=[Stop()])
    said = []
    runs.train(recipe, data, tmp_path / "run", runs.TrainOptions(resume=True), say=said.append)
    assert any("2 of 4 epochs are done" in line for line in said), said
    runs.train(recipe, data, tmp_path / "whole", runs.TrainOptions())
    rows_ = [runs.open_run(tmp_path / name).metrics for name in ("run", "whole")]
    assert [row["epoch"] for row in rows_[0]] == [1, 2, 3, 4]
    assert [r["loss"] for r in rows_[0]] == pytest.approx([r["loss"] for r in rows_[1]], abs=1e-4)


def test_other_data_is_refused(kzoo, toys, tmp_path):
    head = {"kind": "tag"}
    recipe = write_recipe(tmp_path / "t.yaml", toys.folder / "trunk", adapters="lora", head=head)
    write_jsonl(tmp_path / "train.jsonl", rows(20, 1))
    found = kzoo("train", recipe, tmp_path / "train.jsonl", "--out", tmp_path / "o")
    assert found.code != 0
    assert "tokens" in found.err or "tags" in found.err
