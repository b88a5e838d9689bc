"""train, evaluate, predict, distill, index: from files to answers."""

import io
import json

import pytest
from runs_toys import rows, write_jsonl

import kzoo as library


def test_train_wrote_a_run(trained):
    report = json.loads((trained / "report.json").read_text())
    assert json.loads((trained / "run.json").read_text())["status"] == "finished"
    assert len((trained / "metrics.jsonl").read_text().splitlines()) == 3
    assert report["seed"] == 1
    assert (trained / "adapter" / "adapter_config.json").is_file()


def test_train_says_what_it_does(kzoo, toys, tmp_path):
    answer = kzoo(
        *("train", toys.linear, toys.data, "--out", tmp_path / "run", "--epochs", 2),
        *(
            "--take",
            30,
            "--set",
            "warmup=0.5",
            "--set",
            "head.pooling=max",
            "--adapter",
            "lora[r=2]",
        ),
    )
    assert answer.code == 0
    assert "no validation split: 3 of 30 training rows" in answer.err
    assert "epoch 2/2  loss " in answer.err
    assert "test" in answer.out
    assert f"kzoo predict {tmp_path / 'run'}" in answer.out
    recipe = library.runs.open_run(tmp_path / "run").config["recipe"]
    assert recipe["adapters"]["add"] == {"default": "lora[r=2]"}
    assert recipe["training"]["warmup"] == 0.5
    assert recipe["head"]["pooling"] == "max"


def test_evaluate(kzoo, toys, trained, tmp_path):
    report = json.loads((trained / "report.json").read_text())
    out = tmp_path / "scores.json"
    answer = kzoo("evaluate", trained, toys.data, "--json", "--out", out)
    found = json.loads(answer.out)
    assert found["accuracy"] == report["scores"]["test"]["accuracy"]
    assert found["macro_f1"] == report["scores"]["test"]["macro_f1"]
    assert json.loads(out.read_text()) == found
    shown = kzoo("evaluate", trained / "model.keras", toys.data, "--split", "train").out
    for words in ("food", "money", "sport", "precision", "60 rows"):
        assert words in shown


def test_evaluate_one_file_with_few_of_the_labels(kzoo, trained, tmp_path):
    few = [row for row in rows(30, 5) if row["label"] != "food"]
    path = write_jsonl(tmp_path / "few.jsonl", few)
    found = json.loads(kzoo("evaluate", trained, path, "--json").out)
    model = library.load(trained)
    answers = model.predict_labels([row["text"] for row in few], verbose=0)
    right = sum(a == row["label"] for a, row in zip(answers, few, strict=True))
    assert found["split"] == "train"
    assert found["accuracy"] == pytest.approx(right / len(few))


def test_predict(kzoo, trained, tmp_path, monkeypatch):
    texts = ["the soup and the bread", "the bank [red] and the tax", "the goal and the team"]
    model = library.load(trained)
    chances = model.predict_proba(texts, verbose=0)
    found = json.loads(kzoo("predict", trained, *texts, "--top", 2, "--json").out)
    assert [item["text"] for item in found] == texts
    assert [item["label"] for item in found] == model.predict_labels(texts, verbose=0)
    for item, chance in zip(found, chances, strict=True):
        assert item["probability"] == pytest.approx(float(chance.max()))
        assert [t["probability"] for t in item["top"]] == pytest.approx(sorted(chance)[:0:-1])
    assert "[red]" in kzoo("predict", trained, *texts).out

    (tmp_path / "texts.txt").write_text("\n".join(texts[:2]) + "\n\n" + texts[2] + "\n")
    answer = kzoo("predict", trained, "--file", tmp_path / "texts.txt", "--json")
    assert [item["label"] for item in json.loads(answer.out)] == [item["label"] for item in found]
    assert "1 blank line of" in answer.err
    write_jsonl(tmp_path / "texts.jsonl", [{"text": text} for text in texts])
    answer = kzoo("predict", trained, "--file", tmp_path / "texts.jsonl", "--json")
    assert [item["label"] for item in json.loads(answer.out)] == [item["label"] for item in found]
    for words in ([], ["--file", "-"]):
        monkeypatch.setattr("sys.stdin", io.StringIO(texts[0] + "\r\n"))
        answer = kzoo("predict", trained, *words, "--json")
        assert [item["text"] for item in json.loads(answer.out)] == texts[:1]


def test_distill(kzoo, toys, trained, tmp_path):
    out = tmp_path / "student"
    answer = kzoo(
        *("distill", trained, toys.linear, toys.data, "--out", out, "--epochs", 1),
        *("--temperature", 4, "--alpha", 0.25, "--set", "layers=[1]"),
    )
    assert answer.code == 0, answer.err
    assert "The student keeps" in answer.out
    report = json.loads((out / "report.json").read_text())
    assert report["distillation"]["temperature"] == 4.0
    assert report["distillation"]["student_loss_weight"] == 0.25
    assert report["distillation"]["smaller"] > 1
    assert library.load(out).labels == ["food", "money", "sport"]


CORPUS = [
    {"_id": "close", "title": "Files", "text": "Call close on the file when you are done with it."},
    {"_id": "sort", "title": "Lists", "text": "The function sorted returns a new list in order."},
    {"_id": "soup", "title": "Food", "text": "Boil the vegetables, then add salt and pepper."},
]


@pytest.fixture(scope="module")
def index(toys):
    from kzoo.cli.main import main

    path = write_jsonl(toys.folder / "corpus.jsonl", CORPUS)
    out = toys.folder / "index"
    assert main(["index", "build", str(path), str(out)]) == 0
    return out


def test_index_search(kzoo, index, monkeypatch):
    answer = kzoo("index", "search", index, "how do I close a file?", "sorting", "-k", 2, "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert [item["query"] for item in found] == ["how do I close a file?", "sorting"]
    assert [item["passages"][0]["document_id"] for item in found] == ["close", "sort"]
    assert [len(item["passages"]) for item in found] == [2, 2]
    assert "Boil the vegetables" in kzoo("index", "search", index, "cooking").out
    monkeypatch.setattr("sys.stdin", io.StringIO("cooking\n\nsorting\n"))
    asked = kzoo("index", "search", index, "-k", 1).out
    assert asked.index("Boil the vegetables") < asked.index("The function sorted")


def test_index_info(kzoo, index):
    found = json.loads(kzoo("index", "info", index, "--json", "--verify").out)
    assert found["documents"] == found["chunks"] == found["verified"]["vectors"] == 3
    assert found["encoder"]["name"] == "kzoo:minilm-encoder"
    assert "384 dimensions" in kzoo("index", "info", index).out


def test_the_corpus_of_the_interpreter_has_a_name(kzoo, tmp_path, monkeypatch):
    from kzoo.cli.index.parameters import find_corpus

    monkeypatch.chdir(tmp_path)
    assert {"_id", "text"} <= set(next(iter(find_corpus(["python-docs"]))))
    (tmp_path / "python-docs").mkdir()  # a path goes before a name
    assert find_corpus(["python-docs"]) == "python-docs"
