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


def ranked(count, seed):
    """The passage that repeats the query's first word is relevant."""
    for number, row in enumerate(rows(count, seed)):
        words = row["text"].split()
        passages = ["we rest at home", row["text"]]
        relevance = [0, 1]
        if number % 2:
            passages, relevance = passages[::-1], relevance[::-1]
        yield {"query": words[0], "passages": passages, "relevance": relevance}


def test_relevance(kzoo, toys):
    data, out = trained(toys, "rank", ranked, "--epochs", 4, "--set", "head.k=2")
    report = json.loads((out / "report.json").read_text())
    assert report["metric"] == "val_ndcg@10"
    found = json.loads(kzoo("evaluate", out, data, "--json").out)
    for name in ("loss", "ndcg@10", "mrr@10"):
        assert found[name] == pytest.approx(report["scores"]["test"][name])
    assert found["mrr@10"] > 0.9
    answers = json.loads(kzoo("predict", out, "--file", data / "test.jsonl", "--json").out)
    rows_ = list(ranked(30, 2))
    model = library.load(out)
    for row, answer in zip(rows_[:3], answers, strict=False):
        expected = model.rerank(row["query"], row["passages"])
        assert answer["text"] == row["query"]
        assert [p["number"] for p in answer["passages"]] == [e.number for e in expected]
        scores = [e.score for e in expected]
        assert [p["score"] for p in answer["passages"]] == pytest.approx(scores, abs=1e-5)
    shown = kzoo("predict", out, "--file", data / "test.jsonl").out
    assert "we rest at home (" in shown
    refused = kzoo("predict", out, "a query")
    assert refused.code != 0 and "columns query, passages" in refused.err


def test_choices(kzoo, toys):
    def made(count, seed):
        for row in ranked(count, seed):
            right = row["relevance"].index(1)
            yield {"context": row["query"], "choices": row["passages"], "label": right}

    data, out = trained(toys, "choose", made, "--epochs", 4, "--set", "head.k=2")
    report = json.loads((out / "report.json").read_text())
    found = json.loads(kzoo("evaluate", out, data, "--json").out)
    assert found["accuracy"] == pytest.approx(report["scores"]["test"]["accuracy"])
    assert found["accuracy"] > 0.9
    answers = json.loads(kzoo("predict", out, "--file", data / "test.jsonl", "--json").out)
    rows_ = list(made(30, 2))
    right = [a["choice"] == r["choices"][r["label"]] for a, r in zip(answers, rows_, strict=True)]
    assert sum(right) / len(right) == pytest.approx(found["accuracy"])
    assert "race" in kzoo("predict", out, "--file", data / "test.jsonl").out


def test_a_passage_a_row(toys, tmp_path):
    """With k = 1 rows are single passages, and the correlation of all scores decides."""
    parts = [
        {"query": row["query"], "passage": passage, "relevance": relevance}
        for row in ranked(30, 1)
        for passage, relevance in zip(row["passages"], row["relevance"], strict=True)
    ]
    data = write_jsonl(tmp_path / "train.jsonl", parts)
    head = {"kind": "rank", "k": 1, "dropout": 0.0}
    recipe = write_recipe(tmp_path / "r.yaml", toys.folder / "trunk", adapters="lora", head=head)
    runs.train(recipe, data, tmp_path / "run", runs.TrainOptions())
    report = runs.open_run(tmp_path / "run").report
    assert report["metric"] == "val_spearman" and report["scores"]["validation"]["spearman"] > 0.2
