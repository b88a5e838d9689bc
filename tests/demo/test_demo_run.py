"""The pipeline itself, on a further reduced part of the documents, and what it refuses."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from kzoo.demo import needs
from kzoo.demo.questions import QUESTIONS, documents
from kzoo.demo.settings import choose_settings
from kzoo.errors import KzooError


def demo(*arguments, cwd):
    env = {**os.environ, "COLUMNS": "120"}
    command = [sys.executable, "-m", "kzoo.demo", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder / "out", demo("--quick", "--rows", 24, "--out", "out", cwd=folder)


def test_the_quick_run_ends_with_a_report(finished):
    out, run = finished
    assert run.returncode == 0, run.stderr
    facts = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert facts["finished"] and facts["quick"] and facts["counts"]["train"] == 24
    assert [a["question"] for a in facts["answers"]] == list(QUESTIONS)
    assert facts["answers"][0]["hits"][0]["document_id"].startswith("csv")
    teacher, student = facts["models"]
    assert teacher["trainable"] < teacher["parameters"] / 100
    assert student["megabytes"] < teacher["megabytes"] and student["texts_per_second"] > 0
    assert sum(map(sum, facts["confusion"])) == facts["counts"]["test"]
    assert list(facts["seconds"]) == ["load", "fit", "compare", "distil", "index"]
    assert (out / "report.html").stat().st_size > 10_000
    assert (out / "adapter" / "adapter_config.json").is_file()


def test_the_terminal_says_what_happens(finished):
    _, run = finished
    for shown in ("24 of ", "22,830,876 parameters", "epoch 1/3", "TF-IDF", "texts a second",
                  "How do I read a csv file row by row?", "What to try next"):  # fmt: skip
        assert shown in run.stdout, shown
    assert "--quick" in run.stdout
    assert "Traceback" not in run.stderr and "absl" not in run.stderr


def test_what_was_saved_can_be_loaded(finished):
    import kzoo
    import retrieval_index

    out, _ = finished
    facts = json.loads((out / "report.json").read_text(encoding="utf-8"))
    for name in ("classifier", "student"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model = kzoo.load(out / name)
        assert model.labels == facts["labels"]
        assert model.predict_labels(["Open a file."], verbose=0)[0] in facts["labels"]
    with retrieval_index.open(out / "index") as index:
        assert index.search("csv file", k=1)[0].text


def test_documents_of_some_modules():
    found = list(documents(["csv"], 50))
    kinds = {d["metadata"]["kind"] for d in found}
    assert "topic" in kinds and len(kinds) > 1
    assert {d["metadata"]["module"] for d in found if d["metadata"]["kind"] != "topic"} == {"csv"}
    assert max(len(d["text"]) for d in found) == 50


def test_absent_libraries_are_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(needs, "find_spec", lambda name: None)
    with pytest.raises(KzooError, match=r'matplotlib and scikit-learn\. Run: pip install "kzoo\['):
        needs.check_needs(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "student").mkdir()
    (tmp_path / "report.json").write_text("[]")
    run = demo("--quick", "--out", tmp_path, cwd=tmp_path)
    assert run.returncode == 2 and run.stdout == ""
    assert run.stderr.startswith("error: ") and "something else" in run.stderr
    assert len(run.stderr.splitlines()) == 1
    assert (tmp_path / "student").is_dir()


def test_out_must_be_a_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(KzooError, match="is a file; give a folder"):
            needs.check_needs(out)


def test_begin_takes_an_old_report_away(tmp_path):
    needs.begin(tmp_path)
    Path(tmp_path / "report.html").write_text("old")
    needs.check_needs(tmp_path)
    needs.begin(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]


def test_settings_of_the_two_runs():
    full, quick = choose_settings(False, 3), choose_settings(True, 3)
    assert full.rows is None and full.modules is None and full.student_alone
    assert quick.quick and quick.rows < 1000 and quick.epochs <= full.epochs
    assert full.seed == quick.seed == 3


def test_importing_the_command_is_cheap():
    code = (
        "import sys, kzoo.cli.demo, kzoo.demo, kzoo.demo.settings, kzoo.demo.needs;"
        "print([m for m in ('tensorflow', 'keras', 'matplotlib', 'sklearn', 'numpy')"
        " if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
