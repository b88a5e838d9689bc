"""train, evaluate and predict where numbers or texts are learned."""

import json

import pytest
from runs_toys import rows, write_jsonl, write_recipe

import kzoo as library

SCORES = {"food": 0.0, "money": 5.5, "sport": 9.0}


@pytest.fixture(scope="module")
def numbers(toys):
    """Data and a run of a recipe that ends in numbers, trained by the command line."""
    from kzoo.cli.main import main

    data = toys.folder / "numbers"
    for split, count, seed in (("train", 60, 1), ("test", 30, 2)):
        found = [{"text": r["text"], "score": SCORES[r["label"]]} for r in rows(count, seed)]
        write_jsonl(data / f"{split}.jsonl", found)
    recipe = write_recipe(
        toys.folder / "numbers.yaml", toys.folder / "trunk", head={"kind": "regress"}
    )
    out = toys.folder / "runs" / "numbers"
    words = ["train", recipe, data, "--out", out, "--epochs", 3, "--set", "head.dropout=0.0"]
    assert main([str(word) for word in words]) == 0
    return data, out


def test_numbers(kzoo, numbers):
    data, out = numbers
    report = json.loads((out / "report.json").read_text())
    recipe = library.runs.open_run(out).config["recipe"]
    assert recipe["head"] == {"kind": "regress", "dropout": 0.0}
    found = json.loads(kzoo("evaluate", out, data, "--json").out)
    for name in ("rmse", "pearson", "spearman"):
        assert found[name] == pytest.approx(report["scores"]["test"][name])
    shown = kzoo("evaluate", out, data).out
    assert f"rmse {found['rmse']:.4f}, pearson {found['pearson']:.4f}" in shown
    texts = ["the soup and the bread", "the goal and the team"]
    answers = json.loads(kzoo("predict", out, *texts, "--json").out)
    model = library.load(out)
    expected = model.decode(model.predict(texts, verbose=0))
    assert [answer["value"] for answer in answers] == pytest.approx(expected.tolist())
    assert f"{answers[0]['value']:.4g}" in kzoo("predict", out, *texts).out


def test_what_is_of_another_goal_is_refused(kzoo, numbers, toys, trained, tmp_path):
    _, out = numbers
    answer = kzoo("predict", out, "a text", "--top", 2)
    assert answer.code == 2 and "--top is for a classifier" in answer.err
    answer = kzoo("predict", trained, "a text", "--max-new-tokens", 2)
    assert answer.code == 2 and "--max-new-tokens is for a generator" in answer.err
    answer = kzoo("evaluate", out, toys.data)
    assert answer.code == 2 and "'food' in split 'train' is not a finite number" in answer.err
    assert "or take a recipe that ends in classes" in answer.err
    answer = kzoo("distill", out, toys.linear, toys.data, "--out", tmp_path / "run")
    assert answer.code == 2 and "not a trained classifier" in answer.err
    student = toys.folder / "numbers.yaml"
    answer = kzoo("distill", trained, student, toys.data, "--out", tmp_path / "run")
    assert answer.code == 2 and "learns numbers; this command distils classifiers" in answer.err
    assert not (tmp_path / "run").exists()


def test_hidden_tokens(kzoo, toys, tmp_path):
    head = {"kind": "masked_lm", "dropout": 0.0}
    recipe = write_recipe(tmp_path / "m.yaml", toys.folder / "trunk", adapters="lora", head=head)
    data = write_jsonl(tmp_path / "texts.jsonl", [{"text": row["text"]} for row in rows(30, 1)])
    out = tmp_path / "run"
    assert kzoo("train", recipe, data, "--out", out, "--epochs", 1).code == 0
    text = f"[MASK] {rows(1, 1)[0]['text']} [MASK]"
    (answer,) = json.loads(kzoo("predict", out, text, "--top", 2, "--json").out)
    (masks,) = library.load(out).fill([text], k=2)
    assert [[f["token"] for f in own] for own in answer["masks"]] == [
        [filling.token for filling in own] for own in masks
    ]
    shown = kzoo("predict", out, text).out
    assert f"{masks[0][0].token}; {masks[1][0].token}" in shown
    refused = kzoo("predict", out, "no mask")
    assert refused.code == 2 and "has no [MASK]" in refused.err


def test_a_generator(kzoo, tmp_path):
    transformers = pytest.importorskip("transformers")
    from tests.zoo.test_generation import CONFIGS, MODELS, letters

    weights = tmp_path / "weights"
    getattr(transformers, MODELS["gpt2-lora"])(CONFIGS["gpt2-lora"]()).save_pretrained(weights)
    letters(weights)
    data = write_jsonl(tmp_path / "pairs.jsonl", [{"text": "one", "text_pair": " two"}] * 12)
    out = tmp_path / "run"
    answer = kzoo(
        *("train", "gpt2-lora", data, "--out", out, "--epochs", 1, "--max-tokens", 30),
        *("--set", f"trunk.source={weights}"),
    )
    assert answer.code == 0, answer.err
    assert "perplexity" in answer.out
    found = json.loads(kzoo("evaluate", out, data, "--json").out)
    assert found["perplexity"] > 1
    answers = json.loads(kzoo("predict", out, "one", "--max-new-tokens", 3, "--json").out)
    expected = library.load(out).generate(["one"], max_new_tokens=3)
    assert answers == [{"text": "one", "completion": expected[0]}]
    assert kzoo("predict", out, "one").code == 2  # 50 tokens are more than this model has
    answer = kzoo("predict", out, "--file", data)
    assert answer.code == 2 and "--text-column" in answer.err
