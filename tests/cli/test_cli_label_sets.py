"""train, evaluate and predict where label sets or ratings are learned."""

import json

import pytest
from runs_toys import rows, write_recipe

import kzoo as library

SETS = {"food": ["eat"], "money": ["pay", "think"], "sport": []}
STARS = {"food": 1, "money": 2, "sport": 5}
TEXTS = [row["text"] for row in rows(60, 1)[:3]]  # of training: food, money, sport


def write_csv(folder, label):
    folder.mkdir(parents=True)
    for split, count, seed in (("train", 60, 1), ("test", 30, 2)):
        lines = [f"{row['text']},{label(row['label'])}" for row in rows(count, seed)]
        (folder / f"{split}.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    return folder


def trained(toys, kind, data, *words):
    from kzoo.cli.main import main

    head = {"kind": kind, "dropout": 0.0}
    trunk, path = toys.folder / "trunk", toys.folder / f"{kind}.yaml"
    recipe = write_recipe(path, trunk, adapters="lora[r=4]", head=head)
    out = toys.folder / "runs" / kind
    assert main([str(w) for w in ("train", recipe, data, "--out", out, *words)]) == 0
    return out


@pytest.fixture(scope="module")
def label_sets(toys):
    data = write_csv(toys.folder / "sets", lambda name: "; ".join(SETS[name]))
    words = ("--epochs", 8, "--label-separator", ";", "--tune-thresholds", "micro")
    return data, trained(toys, "multilabel", data, *words)


def test_label_sets(kzoo, label_sets):
    data, out = label_sets
    report = json.loads((out / "report.json").read_text())
    found = json.loads(kzoo("evaluate", out, data, "--label-separator", ";", "--json").out)
    for name in ("micro_f1", "macro_f1", "lrap"):
        assert found[name] == pytest.approx(report["scores"]["test"][name]) and found[name] > 0.7
    shown = kzoo("evaluate", out, data, "--label-separator", ";").out
    assert (
        f"micro-F1 {100 * found['micro_f1']:.1f} %" in shown
        and f"lrap {found['lrap']:.4f}" in shown
    )
    assert "think" in shown and "recall" in shown
    answers = json.loads(kzoo("predict", out, *TEXTS, "--json").out)
    model = library.load(out)
    outputs = model.predict(TEXTS, verbose=0)
    assert [answer["labels"] for answer in answers] == model.decode(outputs)
    assert answers[1]["labels"] == ["pay", "think"] and answers[2]["labels"] == []
    chances = model.head.probabilities(outputs)[0].tolist()
    assert list(answers[0]["probabilities"].values()) == pytest.approx(chances)
    lines = kzoo("predict", out, *TEXTS).out.splitlines()
    assert any("pay, think" in line and TEXTS[1] in line for line in lines)
    assert any(line.strip().startswith("- ") and TEXTS[2] in line for line in lines)


def test_ratings(kzoo, toys):
    data = write_csv(toys.folder / "stars", lambda name: STARS[name])
    out = trained(toys, "ordinal", data, "--metric", "val_mae")
    report = json.loads((out / "report.json").read_text())
    assert report["metric"] == "val_mae"
    found = json.loads(kzoo("evaluate", out, data, "--json").out)
    for name in ("accuracy", "mae", "kappa"):
        assert found[name] == pytest.approx(report["scores"]["test"][name])
    assert f"mae {found['mae']:.4f}, kappa {found['kappa']:.4f}" in kzoo("evaluate", out, data).out
    answers = json.loads(kzoo("predict", out, *TEXTS, "--json").out)
    model = library.load(out)
    assert [a["value"] for a in answers] == model.decode(model.predict(TEXTS, verbose=0))
    assert {a["value"] for a in answers} <= {1, 2, 5}


def test_mistakes(kzoo, label_sets, toys, tmp_path):
    data, out = label_sets
    answer = kzoo("evaluate", out, data)  # the usual separator
    assert answer.code == 2 and "labels that the model does not know: 'pay; think'" in answer.err
    answer = kzoo(
        "train", toys.linear, toys.data, "--out", tmp_path / "x", "--tune-thresholds", "micro"
    )
    assert answer.code == 2 and "--tune-thresholds is for label sets" in answer.err
    answer = kzoo("distill", out, toys.linear, toys.data, "--out", tmp_path / "x")
    assert answer.code == 2 and "not a trained classifier" in answer.err
    lists = tmp_path / "lists.jsonl"
    lists.write_text('{"text": "a", "label": ["x", "y"]}\n')
    answer = kzoo("train", toys.linear, lists, "--out", tmp_path / "x")
    assert answer.code == 2 and "has label sets; classes are needed" in answer.err
    answer = kzoo("predict", out, "a text", "--top", 2)
    assert answer.code == 2 and "--top is for a classifier" in answer.err
