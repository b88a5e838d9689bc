"""The table of `benchmarks/peft_methods.py`, and that what is done is not run again."""

import json

import peft_methods

import kzoo.adapters


def a_run(method="lora", seed=0, accuracy=0.8, dataset="mrpc", rate=None):
    spec, usual = peft_methods.METHODS[method]
    return {
        "dataset": dataset,
        "method": method,
        "spec": spec,
        "learning_rate": rate or usual,
        "seed": seed,
        "epochs": 3,
        "limit": 0,
        "accuracy": accuracy,
        "macro_f1": 0.7,
        "f1": 0.9,
        "seconds": 10.0 + seed,
        "cpu_seconds": 9.0,
        "parameters": 1000,
        "bytes": 4096,
    }


def test_table_of_what_is_done(tmp_path, capsys):
    log = tmp_path / "log.jsonl"
    runs = [
        a_run(seed=0, accuracy=0.8),
        a_run(seed=1, accuracy=0.9),
        a_run("ia3"),
        a_run(accuracy=0.6, dataset="trec"),
        a_run("lora", 7),
        a_run("bitfit", rate=1.0),
    ]
    log.write_text("".join(json.dumps(run) + "\n" for run in runs))
    found = peft_methods.main(["--data", "nowhere", "--log", str(log), "--table", "--seeds", "2"])
    assert len(found) == 4  # neither seed 7 nor a rate of former days was asked for
    out = capsys.readouterr().out
    titles, _, lora, ia3 = out.splitlines()
    assert "mrpc: accuracy; F1 | trec: accuracy; macro-F1 | CPU s an epoch: mrpc / trec" in titles
    assert lora == "| lora | 1,000 | 4 kB | 85.0 ± 7.1; 90.0 ± 0.0 | 60.0; 70.0 | 9 / 9 | 2 / 1 |"
    assert ia3 == "| ia3 | 1,000 | 4 kB | 80.0; 90.0 | - | 9 / - | 1 / 0 |"
    options = ["--data", "nowhere", "--log", str(log), "--dataset", "mrpc", "--method", "ia3"]
    peft_methods.main([*options, "--seeds", "1"])  # done already: no data are looked for
    assert "seeds" in titles
    assert capsys.readouterr().out.splitlines()[0].endswith("| CPU s an epoch: mrpc |")


def test_every_configuration_is_one():
    for spec, rate in peft_methods.METHODS.values():
        assert rate > 0
        assert spec is None or kzoo.adapters.parse_adapter(spec)
