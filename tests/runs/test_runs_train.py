"""Whole runs on a toy trunk: contents with values, resume, interruption, failure."""

import json

import numpy as np
import pytest
import yaml

import kzoo
from kzoo import runs
from kzoo.errors import InputError, RecipeError


def _stop_after(epoch, error=KeyboardInterrupt):
    import keras

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, number, logs=None):
            if number == epoch:
                raise error

    return Stop()


@pytest.fixture(scope="module")
def run(toys, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "adapter"
    said = []
    report = runs.train(toys.adapter, toys.data, out, say=said.append)
    return runs.open_run(out), report, said


def test_files_of_a_finished_run(run):
    found, report, said = run
    names = sorted(path.name for path in found.path.iterdir())
    assert names == [
        "adapter",
        "config.yaml",
        "curves.png",
        "environment.json",
        "metrics.jsonl",
        "model.keras",
        "report.json",
        "run.json",
    ]
    assert found.status == "finished"
    assert found.report == report
    assert "6 of 60 training rows" in said[0]
    assert (found.path / "curves.png").read_bytes().startswith(b"\x89PNG")
    versions = found.environment["versions"]
    assert versions["kzoo"] == kzoo.__version__
    assert versions["tensorflow"] and found.environment["cores"] >= 1
    assert found.environment["devices"]["CPU"] >= 1


def test_config_holds_everything_that_was_decided(run, toys):
    config = run[0].config
    assert config["recipe"]["head"]["labels"] == ["food", "money", "sport"]
    assert config["recipe"]["training"]["learning_rate"] == 0.02
    assert config["recipe"]["adapters"]["add"] == {"default": "pfeiffer[reduction_factor=4]"}
    assert config["dataset"]["rows"] == {"train": 54, "validation": 6, "test": 30}
    assert config["seed"] == 0
    assert config["options"]["metric"] == "val_accuracy"
    assert config["recipe_from"] == str(toys.adapter)


def test_metrics_have_a_line_for_each_epoch(run):
    rows = run[0].metrics
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    keys = {"epoch", "seconds", "loss", "accuracy", "macro_f1", "learning_rate"}
    assert set(rows[0]) == keys | {"val_loss", "val_accuracy", "val_macro_f1"}
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_the_report_is_what_the_saved_model_does(run, toys):
    found, report, _ = run
    model = found.load()
    test = kzoo.datasets.load(toys.data)["test"]
    answers = model.predict_labels(test.inputs, verbose=0)
    right = [a == b for a, b in zip(answers, test.label_strings, strict=True)]
    assert report["scored_split"] == "test"
    assert report["scores"]["test"]["rows"] == 30
    assert report["scores"]["test"]["accuracy"] == pytest.approx(np.mean(right))
    matrix = np.asarray(report["confusion"]["matrix"])
    assert matrix.sum() == 30
    assert np.trace(matrix) == sum(right)
    assert report["confusion"]["labels"] == model.labels
    assert report["scores"]["test"]["accuracy"] >= 0.6  # it has learnt something


def test_the_model_is_that_of_the_best_epoch(run):
    found, report, _ = run
    rows = found.metrics
    best = max(rows, key=lambda row: (row["val_accuracy"], -row["val_loss"]))
    assert report["best_epoch"] == best["epoch"]
    assert report["metric"] == "val_accuracy"
    assert report["scores"]["validation"]["loss"] == pytest.approx(best["val_loss"], abs=1e-5)
    assert report["scores"]["validation"]["accuracy"] == pytest.approx(best["val_accuracy"])


def test_parameters_and_no_optimizer_in_the_file(run):
    found, report, _ = run
    model = found.load()
    adapter = 2 * (2 * 32 * 8 + 8 + 32)  # two blocks, down and up projection of 32 -> 8
    head = 32 * 3 + 3
    assert report["parameters"]["trainable"] == adapter + head
    assert report["parameters"]["total"] == model.count_params()
    assert not model.compiled
    assert report["model_bytes"] == found.folder.model.stat().st_size


def test_the_adapter_alone_gives_the_same_model(run, toys):
    found, _, _ = run
    model = found.load()
    fresh = kzoo.load(toys.linear)
    fresh.adapters.load(found.path / "adapter")
    texts = ["the soup and the bread", "the bank and the tax"]
    np.testing.assert_allclose(
        fresh.predict_proba(texts, verbose=0), model.predict_proba(texts, verbose=0), atol=1e-6
    )


def test_resume_ends_where_an_uninterrupted_run_ends(run, toys, tmp_path):
    options = runs.TrainOptions(overrides={"head.dropout": 0.0})
    whole = runs.train(toys.linear, toys.data, tmp_path / "whole", options)
    out = tmp_path / "parts"
    with pytest.raises(runs.Interrupted, match="interrupted after epoch 2 of 4") as stop:
        runs.train(toys.linear, toys.data, out, options, callbacks=[_stop_after(2)])
    assert f"kzoo train {toys.linear} {toys.data} --out {out} --resume" in str(stop.value)
    broken = runs.open_run(out)
    assert broken.status == "interrupted"
    assert [row["epoch"] for row in broken.metrics] == [1, 2]
    assert broken.folder.last.is_file()
    assert broken.load().labels == ["food", "money", "sport"]  # usable already
    # as if the process had died between writing the metrics and the checkpoint
    with broken.folder.metrics.open("a") as stream:
        stream.write('{"epoch": 3, "loss": 99.0, "val_accuracy": 1.0, "seconds": 1.0}\n')

    said = []
    resumed = runs.train(
        toys.linear, toys.data, out, runs.TrainOptions(resume=True), say=said.append
    )
    assert any("2 of 4 epochs are done" in line for line in said)
    assert [row["epoch"] for row in broken.metrics] == [1, 2, 3, 4]
    expected = runs.open_run(tmp_path / "whole").metrics
    for a, b in zip(broken.metrics, expected, strict=True):
        for key in ("loss", "accuracy", "val_loss", "val_accuracy"):
            assert a[key] == pytest.approx(b[key], abs=2e-5), (key, a["epoch"])
    assert resumed["best_epoch"] == whole["best_epoch"]
    assert resumed["scores"]["test"]["loss"] == pytest.approx(
        whole["scores"]["test"]["loss"], abs=2e-5
    )
    assert not broken.folder.last.exists()
    assert broken.status == "finished"


def test_resume_keeps_what_the_run_began_with(toys, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(runs.Interrupted, match="in the first epoch"):
        runs.train(toys.linear, toys.data, out, callbacks=[_stop_after(0)])
    again = runs.TrainOptions(resume=True, learning_rate=0.5)
    with pytest.raises(runs.RunError, match=r"`recipe\.training\.learning_rate` was 0\.02"):
        runs.train(toys.linear, toys.data, out, again)
    said = []
    report = runs.train(
        toys.linear, toys.data, out, runs.TrainOptions(resume=True, epochs=1), say=said.append
    )
    assert report["epochs"] == 1  # epochs may change
    assert any("starts from the beginning" in line for line in said)


def test_a_failed_run_says_so(toys, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(ZeroDivisionError):
        runs.train(toys.linear, toys.data, out, callbacks=[_stop_after(1, ZeroDivisionError)])
    assert runs.open_run(out).status == "failed"
    assert "ZeroDivisionError" in json.loads((out / "run.json").read_text())["error"]


def test_early_stopping(toys, tmp_path):
    # A learning rate of nearly nothing: nothing improves by much, and accuracy not at all.
    options = runs.TrainOptions(epochs=6, patience=1, learning_rate=1e-12, metric="val_macro_f1")
    report = runs.train(toys.linear, toys.data, tmp_path / "run", options)
    assert report["stopped_early"]
    assert report["epochs"] < 6
    assert report["metric"] == "val_macro_f1"


def test_overwrite_replaces_the_whole_folder(toys, tmp_path):
    out = tmp_path / "run"
    (out / "adapter").mkdir(parents=True)
    (out / "run.json").write_text('{"status": "failed"}')
    options = runs.TrainOptions(epochs=1, take=30)
    with pytest.raises(runs.RunError, match="`overwrite=True` replaces it"):
        runs.train(toys.linear, toys.data, out, options)
    report = runs.train(
        toys.linear, toys.data, out, runs.TrainOptions(epochs=1, take=30, overwrite=True)
    )
    assert not (out / "adapter").exists()
    assert report["scores"]["train"]["rows"] == 27
    assert yaml.safe_load((out / "config.yaml").read_text())["options"]["take"] == 30


def test_mistakes_show_before_anything_is_written(toys, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(RecipeError, match="makes embeddings"):
        runs.train("minilm-encoder", toys.data, out)
    with pytest.raises(RecipeError, match="`num_classes` 5, but there are 3"):
        runs.train(toys.linear, toys.data, out, runs.TrainOptions(overrides={"num_classes": 5}))
    with pytest.raises(InputError, match="'sport'"):
        options = runs.TrainOptions(overrides={"labels": ["food", "money"]})
        runs.train(toys.linear, toys.data, out, options)
    assert not out.exists()


def test_a_distillation_resumes(run, toys, tmp_path):
    teacher = run[0].path
    out = tmp_path / "student"
    options = runs.DistillOptions(epochs=2, temperature=3.0, student_loss_weight=0.25)
    with pytest.raises(runs.Interrupted, match=f"kzoo distill {teacher} "):
        runs.distill(teacher, toys.linear, toys.data, out, options, callbacks=[_stop_after(1)])
    report = runs.distill(teacher, toys.linear, toys.data, out, runs.DistillOptions(resume=True))
    rows = runs.open_run(out).metrics
    assert [row["epoch"] for row in rows] == [1, 2]
    assert {"student_loss", "distillation_loss", "val_accuracy"} <= set(rows[0])
    found = report["distillation"]
    assert (found["temperature"], found["student_loss_weight"]) == (3.0, 0.25)
    teacher_report = run[1]
    assert found["teacher"]["accuracy"] == teacher_report["scores"]["test"]["accuracy"]
    assert found["teacher"]["parameters"] == teacher_report["parameters"]["total"]
    assert found["student"]["parameters"] == report["parameters"]["total"]
    assert found["student"]["file_bytes"] == (out / "model.keras").stat().st_size
    assert found["speedup"] == pytest.approx(
        found["teacher"]["ms_per_text"] / found["student"]["ms_per_text"], rel=0.1
    )
