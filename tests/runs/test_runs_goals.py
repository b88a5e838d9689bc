"""Runs that learn numbers or texts, and compositions whose adapters are all kept."""

import json

import numpy as np
import pytest
from runs_toys import rows, write_jsonl, write_recipe
from scipy import stats

import kzoo
from kzoo import runs
from kzoo.datasets import Card, Dataset, Split
from kzoo.errors import InputError, RecipeError
from kzoo.runs.goals import GOALS, goal_of_kind
from kzoo.runs.reader import trained_facts
from kzoo.runs.recording import BestEpoch

SCORES = {"food": 0.0, "money": 5.5, "sport": 9.0}


def scored(count, seed):
    return [{"text": row["text"], "score": SCORES[row["label"]]} for row in rows(count, seed)]


@pytest.fixture(scope="module")
def numbers(toys, tmp_path_factory):
    """A run of a recipe that ends in numbers."""
    folder = tmp_path_factory.mktemp("numbers")
    write_jsonl(folder / "data" / "train.jsonl", scored(60, 1))
    write_jsonl(folder / "data" / "test.jsonl", scored(30, 2))
    recipe = write_recipe(
        folder / "numbers.yaml",
        toys.folder / "trunk",
        adapters="lora[r=4]",
        head={"kind": "regress"},
    )
    said = []
    report = runs.train(recipe, folder / "data", folder / "run", say=said.append)
    return folder, report, said


def test_numbers_are_scored_as_numpy_and_scipy_do(numbers):
    folder, report, said = numbers
    run = runs.open_run(folder / "run")
    model, test = run.load(), kzoo.datasets.load(folder / "data", split="test")
    answers = model.decode(model.predict(test.inputs, verbose=0))
    found = report["scores"]["test"]
    assert set(found) == {"rows", "rmse", "pearson", "spearman"}
    assert found["rmse"] == pytest.approx(float(np.sqrt(np.mean((answers - test.labels) ** 2))))
    assert found["pearson"] == pytest.approx(stats.pearsonr(answers, test.labels)[0], abs=1e-6)
    assert found["spearman"] == pytest.approx(stats.spearmanr(answers, test.labels)[0], abs=1e-6)
    assert found["pearson"] > 0.6  # it has learnt something
    assert "confusion" not in report
    assert "10 %, at random, seed 0" in said[0]


def test_the_epoch_with_the_best_correlation_is_kept(numbers):
    folder, report, _ = numbers
    lines = runs.open_run(folder / "run").metrics
    best = max(lines, key=lambda line: (line["val_pearson"], -line["val_loss"]))
    assert (report["metric"], report["best_epoch"]) == ("val_pearson", best["epoch"])
    assert report["scores"]["validation"]["rmse"] == pytest.approx(best["val_rmse"], rel=1e-4)
    assert report["scores"]["validation"]["spearman"] == pytest.approx(best["val_spearman"])


def test_the_adapter_brings_the_scale_of_its_numbers(numbers, toys):
    folder, _, _ = numbers
    run = runs.open_run(folder / "run")
    bare = write_recipe(folder / "bare.yaml", toys.folder / "trunk", head={"kind": "regress"})
    fresh = kzoo.load(bare)
    run.load_adapters(fresh)
    texts = ["the soup and the bread", "the bank and the tax"]
    np.testing.assert_allclose(
        fresh.predict(texts, verbose=0), run.load().predict(texts, verbose=0), atol=1e-5
    )


def test_what_a_file_says_of_its_head(numbers):
    facts = trained_facts(numbers[0] / "run" / "model.keras")
    assert facts.goal is goal_of_kind("regress")
    assert facts.labels is None


def test_a_metric_of_which_less_is_better():
    best = BestEpoch("val_rmse", direction="min")
    for epoch, value in enumerate((3.0, 2.0, 2.5), 1):
        best.see(epoch, {"val_rmse": value})
    assert best.epoch == 2
    best = BestEpoch("val_spearman")
    seen = [best.see(n, {"val_spearman": v}) for n, v in enumerate((np.nan, 0.1, np.nan), 1)]
    assert seen == [True, True, False]


COMPOSITIONS = {
    "fuse": {"type": "Fuse", "children": ["first", "second"], "freeze": False},
    "stack": {"type": "Stack", "children": ["second", "first"]},
}


@pytest.mark.parametrize("kind", COMPOSITIONS)
def test_every_adapter_of_a_composition_is_kept(kind, toys, tmp_path):
    adapters = {
        "add": {"first": "pfeiffer[reduction_factor=4]", "second": "pfeiffer[reduction_factor=8]"},
        "composition": COMPOSITIONS[kind],
    }
    trunk = toys.folder / "trunk"
    recipe = write_recipe(tmp_path / "several.yaml", trunk, adapters=adapters)
    out = tmp_path / "run"
    runs.train(recipe, toys.data, out, runs.TrainOptions(epochs=2))
    names = ["first", "second", *(["first-second"] if kind == "fuse" else [])]
    folders = sorted(path.name for path in (out / "adapters").iterdir() if path.is_dir())
    assert folders == sorted(names)
    assert not (out / "adapter").exists()
    # The head is that of who answers: the fusion, or the outermost of a stack.
    headed = [n for n in names if (out / "adapters" / n / "head.safetensors").is_file()]
    assert headed == [names[-1] if kind == "fuse" else "first"]

    run = runs.open_run(out)
    model, fresh = run.load(), kzoo.load(toys.linear)
    run.load_adapters(fresh)
    assert fresh.adapters.composition == model.adapters.composition
    texts = ["the soup and the bread", "the bank and the tax", "the goal"]
    expected = model.predict_proba(texts, verbose=0)
    np.testing.assert_allclose(fresh.predict_proba(texts, verbose=0), expected, atol=1e-6)
    fresh.adapters.deactivate()
    assert np.abs(fresh.predict_proba(texts, verbose=0) - expected).max() > 1e-3


def test_a_run_without_adapters(toys, tmp_path):
    runs.train(toys.linear, toys.data, tmp_path / "run", runs.TrainOptions(epochs=1))
    with pytest.raises(runs.RunError, match="holds no adapters"):
        runs.open_run(tmp_path / "run").load_adapters(kzoo.load(toys.linear))


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    """A random GPT-2 of one block that reads letters, as an HF-format folder."""
    transformers = pytest.importorskip("transformers")
    from tests.zoo.test_generation import CONFIGS, MODELS, letters

    folder = tmp_path_factory.mktemp("gpt2") / "weights"
    getattr(transformers, MODELS["gpt2-lora"])(CONFIGS["gpt2-lora"]()).save_pretrained(folder)
    letters(folder)
    return folder


PROMPTS = [{"prompt": "one", "completion": " two"}, {"prompt": "red", "completion": " blue"}]


def test_a_generator_learns_completions(gpt2, tmp_path):
    """The issue's `kzoo train gpt2-lora`, which spoke of embeddings."""
    data = write_jsonl(tmp_path / "pairs.jsonl", PROMPTS * 10)
    out = tmp_path / "run"
    options = runs.TrainOptions(
        epochs=2,
        learning_rate=0.02,
        max_tokens=30,
        overrides={"backbone": str(gpt2)},
        data=runs.DataOptions(text_column="prompt", pair_column="completion"),
    )
    report = runs.train("gpt2-lora", data, out, options)
    lines = runs.open_run(out).metrics
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert report["metric"] == "val_perplexity"
    found = report["scores"]["validation"]
    assert set(found) == {"rows", "loss", "accuracy", "perplexity"}
    best = min(lines, key=lambda line: line["val_perplexity"])
    assert report["best_epoch"] == best["epoch"]
    assert found["perplexity"] == pytest.approx(best["val_perplexity"], rel=1e-3)
    assert found["perplexity"] == pytest.approx(np.exp(found["loss"]), rel=1e-3)
    model = kzoo.load("gpt2-lora", backbone=str(gpt2), max_tokens=30, adapter=None)
    runs.open_run(out).load_adapters(model)
    written = runs.open_run(out).load().generate(["one", "red"], max_new_tokens=4)
    assert model.generate(["one", "red"], max_new_tokens=4) == written


def test_a_generator_learns_texts_and_no_labels(gpt2, toys, tmp_path):
    options = runs.TrainOptions(epochs=1, max_tokens=30, overrides={"backbone": str(gpt2)})
    report = runs.train("gpt2-lora", toys.data, tmp_path / "run", options)
    assert report["scores"]["test"]["rows"] == 30
    text = json.loads((toys.data / "test.jsonl").read_text().splitlines()[0])["text"]
    assert runs.open_run(tmp_path / "run").load().generate([text[:10]], max_new_tokens=2)


def test_refusals_say_the_true_reason(toys, tmp_path):
    out, trunk = tmp_path / "run", toys.folder / "trunk"

    def recipe(**more):
        return write_recipe(tmp_path / "x.yaml", trunk, **more)

    with pytest.raises(RecipeError, match=r"makes embeddings.*model\.compile\(loss="):
        runs.train("minilm-encoder", toys.data, out)
    with pytest.raises(RecipeError, match=r"has 2 heads \(a, b\)"):
        heads = {"a": {"kind": "classify"}, "b": {"kind": "regress"}}
        runs.train(recipe(head=None, heads=heads), toys.data, out)
    regress = recipe(head={"kind": "regress"})
    with pytest.raises(runs.RunError, match=r"val_rmse for a recipe that learns numbers"):
        runs.train(regress, toys.data, out, runs.TrainOptions(metric="val_macro_f1"))
    with pytest.raises(InputError, match="single texts, but an encoder-decoder"):
        runs.train("t5-adapter", toys.data, out)
    with pytest.raises(InputError, match="`label_column` 'label'"):
        data = runs.DataOptions(label_column="label")
        runs.train("gpt2-lora", toys.data, out, runs.TrainOptions(data=data))
    classes = Dataset("classes", {"train": Split(["x"], labels=[0])}, ["a"], Card("toy"))
    with pytest.raises(InputError, match="has classes; numbers are needed"):
        runs.train(regress, classes, out)
    same = np.full(12, 2.5, "float32")
    flat = Dataset("flat", {"train": Split(["x"] * 12, labels=same)}, None, Card("toy"))
    with pytest.raises(InputError, match=r"one number only: 2\.5 in all 12"):
        runs.train(regress, flat, out)
    assert not out.exists()


def test_every_goal_has_a_head():
    for goal in GOALS:
        for kind, name in zip(goal.kinds, goal.classes, strict=True):
            assert kzoo.heads.HEADS.get(kind).__name__ == name
