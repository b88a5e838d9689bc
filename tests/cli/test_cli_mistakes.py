"""Bad input: one line that names the fix, exit code 2, no stack trace."""

import json

import pytest
from runs_toys import rows, write_jsonl


@pytest.fixture
def mistake(kzoo):
    """Runs a wrong command line and returns its one line."""

    def call(*words):
        answer = kzoo(*words)
        assert answer.code == 2, answer
        assert answer.err.count("\n") == 1, answer.err
        assert answer.err.startswith("error: ")
        assert "Traceback" not in answer.err + answer.out
        return answer.err

    return call


@pytest.fixture
def train(mistake, toys, tmp_path):
    """`kzoo train` with a wrong recipe, dataset or option; nothing may be written."""

    def call(*more, recipe=toys.linear, dataset=toys.data):
        line = mistake("train", recipe, dataset, "--out", tmp_path / "run", *more)
        assert not (tmp_path / "run").exists()
        return line

    return call


def test_recipes(train, tmp_path):
    assert "Did you mean `bert-linear`?" in train(recipe="bert-liner")
    typo = tmp_path / "typo.yaml"
    typo.write_text("version: 2\ntrunk: minilm-l6\nhead: {kind: classify}\nadaptors: lora\n")
    line = train(recipe=typo)
    assert "unknown key `adaptors`. Did you mean `adapters`?" in line
    typo.write_text(
        "version: 2\ntrunk: minilm-l6\nhead: {kind: classify}\ntraining: {learnin_rate: 1}\n"
    )
    assert "Did you mean `learning_rate`?" in train(recipe=typo)
    typo.write_text("task: classification\nbackbone: minilm-l6\n")  # version 1
    assert "has no `version`. Recipes have `version: 2`" in train(recipe=typo)
    typo.write_text("trunk: [minilm-l6\n")
    assert "is not YAML at line 2" in train(recipe=typo)
    assert "there is no such file" in train(recipe=tmp_path / "none.yaml")
    assert "makes embeddings" in train(recipe="minilm-encoder")


def test_options(train, toys):
    assert "unknown key `lerning_rate`. Did you mean `learning_rate`?" in train(
        "--set", "lerning_rate=1"
    )
    assert "--set must be KEY=VALUE" in train("--set", "warmup")
    assert "is not a YAML value" in train("--set", "layers=[0")
    assert "--set warmup was given twice" in train("--set", "warmup=0", "--set", "warmup=0.1")
    assert "--epochs was given twice" in train("--epochs", 1, "--set", "epochs=2")
    assert "--jit must be auto, on or off" in train("--jit", "maybe")
    assert "--metric must be val_accuracy or val_macro_f1" in train("--metric", "loss")
    assert "`method` 'lorra' is not known. Did you mean `lora`?" in train("--adapter", "lorra")
    assert "--overwrite and --resume exclude each other" in train("--overwrite", "--resume")
    assert "holds no run to resume; leave out --resume" in train("--resume")
    assert "Invalid value for '--epochs'" in train("--epochs", "many")
    assert "--take is 1000, but 'data' has 60 rows" in train("--take", 1000)
    assert "No such option: --epoch" in train("--epoch", 1)


def test_command_lines(mistake, toys):
    assert "Missing option '--out'. See: kzoo train --help" in mistake(
        "train", toys.linear, toys.data
    )
    assert "No such command 'trian'" in mistake("trian")


def test_datasets(train, tmp_path):
    assert "does not exist" in train(dataset=tmp_path / "none.jsonl")
    latin = tmp_path / "latin.csv"
    latin.write_bytes("text,label\ncafé,a\nthé,b\n".encode("latin-1"))
    assert "is not utf-8" in (line := train(dataset=latin))
    assert "--encoding latin-1" in line
    (empty := tmp_path / "empty.jsonl").write_text("")
    assert "is empty" in train(dataset=empty)
    one = write_jsonl(tmp_path / "one.jsonl", [r | {"label": "x"} for r in rows(12, 0)])
    assert "one class only: 'x' in all 12 training rows" in train(dataset=one)
    other = write_jsonl(tmp_path / "other.jsonl", [{"a": "x", "b": "y"}] * 4)
    assert "--label-column" in train(dataset=other)
    assert "'nope'" in train("--text-column", "nope", dataset=other)


def test_a_line_that_is_not_json(kzoo, train, toys, tmp_path):
    path = write_jsonl(tmp_path / "some.jsonl", rows(24, 0))
    path.write_text(path.read_text() + "{not json\n[1]\n")
    line = train("--strict", dataset=path)
    assert "some.jsonl:25: line is not JSON" in line
    assert "leave out --strict" in line
    answer = kzoo("train", toys.linear, path, "--out", tmp_path / "run", "--epochs", 1)
    assert answer.code == 0
    warning = next(line for line in answer.err.splitlines() if line.startswith("warning: "))
    assert "2 rows left out" in warning
    assert "some.jsonl:25" in warning
    config = (tmp_path / "run" / "config.yaml").read_text()
    assert "line is not JSON: 1" in config


def test_run_folders(mistake, toys, trained, tmp_path):
    again = mistake("train", toys.linear, toys.data, "--out", trained)
    assert "exists and is not empty; --overwrite replaces it" in again
    (tmp_path / "notes.txt").write_text("mine")
    line = mistake("train", toys.linear, toys.data, "--out", tmp_path, "--overwrite")
    assert "holds no run, so it is not replaced" in line
    file = tmp_path / "notes.txt"
    assert "is a file" in mistake("train", toys.linear, toys.data, "--out", file)


def test_trained_models(mistake, toys, trained, tmp_path):
    assert "there is nothing there" in mistake("evaluate", tmp_path / "none", toys.data)
    assert "Train it first: kzoo train bert-lora" in mistake("predict", "bert-lora", "a text")
    (tmp_path / "bad.keras").write_bytes(b"no zip")
    assert "no complete .keras file" in mistake("evaluate", tmp_path / "bad.keras", toys.data)
    assert "no complete .keras file" in mistake("predict", tmp_path / "bad.keras", "a text")
    assert "it has 'train', 'test'" in mistake("evaluate", trained, toys.data, "--split", "tset")


def test_labels_that_the_model_does_not_know(mistake, toys, trained, tmp_path):
    path = write_jsonl(tmp_path / "more.jsonl", [*rows(6, 0), {"text": "x", "label": "weather"}])
    line = mistake("evaluate", trained, path)
    assert "`train` of 'more.jsonl' has labels that the model does not know: 'weather'" in line
    line = mistake("distill", trained, toys.linear, path, "--out", tmp_path / "run")
    assert "'weather'" in line
    assert not (tmp_path / "run").exists()
    line = mistake(
        "distill", trained, toys.linear, toys.data, "--out", tmp_path / "run", "--alpha", 2
    )
    assert "`student_loss_weight` must be from 0 to 1" in line


def test_texts(mistake, trained, tmp_path, monkeypatch):
    import io

    assert "No such file" in mistake("predict", trained, "--file", tmp_path / "none.txt")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    assert "is not utf-8" in mistake("predict", trained, "--file", tmp_path / "latin.txt")
    assert "give one of them" in mistake("predict", trained, "x", "--file", "y.txt")
    monkeypatch.setattr("sys.stdin", io.StringIO("\n \n"))
    assert "standard input holds no text" in mistake("predict", trained)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    assert "there is no text" in mistake("predict", trained)


def test_indexes(kzoo, mistake, tmp_path):
    corpus = write_jsonl(
        tmp_path / "c.jsonl", [{"_id": str(i), "text": f"text {i}"} for i in range(9)]
    )
    out = tmp_path / "index"
    line = mistake("index", "build", corpus, out, "--encoder", "kzoo:minilm-encodr")
    assert "Did you mean `minilm-encoder`?" in line
    assert "unknown provider 'foo'" in mistake("index", "build", corpus, out, "--encoder", "foo:x")
    (tmp_path / "empty.jsonl").write_text("")
    assert "at least one document" in mistake(
        "index", "build", tmp_path / "empty.jsonl", out, "--encoder", "hashing"
    )
    assert "none.jsonl" in mistake(
        "index", "build", tmp_path / "none.jsonl", out, "--encoder", "hashing"
    )
    assert "manifest.json" in mistake("index", "info", tmp_path)
    assert kzoo("index", "build", corpus, out, "--encoder", "hashing").code == 0
    assert "--overwrite" in mistake("index", "build", corpus, out, "--encoder", "hashing")
    manifest = json.loads((out / "manifest.json").read_text())
    damaged = out / next(iter(manifest["segments"][0]["files"].values()))["path"]
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 0xFF
    damaged.write_bytes(content)
    for words in (["search", out, "text"], ["info", out], ["info", out, "--verify"]):
        assert damaged.name in mistake("index", *words)


def test_debug_shows_the_trace(kzoo, tmp_path, monkeypatch):
    answer = kzoo("info", "bert-liner", "--debug")
    assert answer.code == 2
    assert "Traceback (most recent call last)" in answer.err
    assert answer.err.splitlines()[-1].startswith("error: 'bert-liner' is no zoo entry")
    assert "Traceback" in kzoo("--debug", "info", "bert-liner").err
    monkeypatch.setenv("KZOO_DEBUG", "1")
    assert "Traceback" in kzoo("info", "bert-liner").err
    monkeypatch.setenv("KZOO_DEBUG", "0")
    assert "Traceback" not in kzoo("info", "bert-liner").err


def test_what_nobody_expected(kzoo, monkeypatch):
    def broken(name):
        raise KeyError("oops")

    monkeypatch.setattr("kzoo.zoo.catalogue.info", broken)
    answer = kzoo("info", "bert-lora")
    assert answer.code == 1
    assert answer.err.startswith("error: KeyError: 'oops'. Run again with --debug")
    assert answer.err.count("\n") == 1


def test_ctrl_c(kzoo, monkeypatch, toys, tmp_path):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("kzoo.zoo.catalogue.info", stop)
    answer = kzoo("info", "bert-lora")
    assert (answer.code, answer.err) == (130, "interrupted: nothing kept\n")

    monkeypatch.setattr("kzoo.runs.metrics_log.append", stop)
    out = tmp_path / "run"
    answer = kzoo("train", toys.linear, toys.data, "--out", out)
    assert answer.code == 130
    last = answer.err.splitlines()[-1]
    assert last == f"interrupted: in the first epoch; '{out}' holds the configuration only"
    assert json.loads((out / "run.json").read_text())["status"] == "interrupted"
