"""The small parts: best epoch, metrics file, folder and status."""

import json
import os
import socket

import pytest

from kzoo.runs import RunError, metrics_log, open_run
from kzoo.runs.folder import RunFolder
from kzoo.runs.reader import trained_facts, trained_file
from kzoo.runs.recording import BestEpoch


def test_best_epoch_and_patience():
    best = BestEpoch("val_accuracy", patience=2)
    values = [(0.5, 1.0), (0.7, 0.9), (0.7, 0.8), (0.7, 0.8), (0.6, 0.1)]
    seen = []
    for epoch, (accuracy, loss) in enumerate(values, 1):
        better = best.see(epoch, {"val_accuracy": accuracy, "val_loss": loss})
        seen.append((better, best.epoch, best.exhausted))
    assert seen == [
        (True, 1, False),
        (True, 2, False),
        (True, 3, False),  # as accurate, with a smaller loss
        (False, 3, False),
        (False, 3, True),
    ]


def test_without_validation_the_last_epoch_is_kept():
    best = BestEpoch("val_accuracy", patience=1)
    assert [best.see(epoch, {"loss": 1.0}) for epoch in (1, 2, 3)] == [True, True, True]
    assert (best.epoch, best.exhausted) == (3, False)


def test_metrics_survive_a_torn_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert metrics_log.read(path) == []
    for epoch in (1, 2, 3):
        metrics_log.append(path, {"epoch": epoch, "loss": 1 / epoch})
    with path.open("a") as stream:
        stream.write('{"epoch": 4, "lo')
    assert [row["epoch"] for row in metrics_log.read(path)] == [1, 2, 3]
    assert metrics_log.keep_epochs(path, 2) == [
        {"epoch": 1, "loss": 1.0},
        {"epoch": 2, "loss": 0.5},
    ]
    assert path.read_text() == '{"epoch": 1, "loss": 1.0}\n{"epoch": 2, "loss": 0.5}\n'


def test_a_damaged_line_in_the_middle(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"epoch": 1}\nrubbish\n{"epoch": 3}\n')
    with pytest.raises(RunError, match="line 2 is damaged"):
        metrics_log.read(path)


def test_a_foreign_folder_is_never_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    folder = RunFolder(tmp_path)
    with pytest.raises(RunError, match="is not empty"):
        folder.check_writable(overwrite=False, resume=False)
    with pytest.raises(RunError, match="holds no run"):
        folder.check_writable(overwrite=True, resume=False)
    with pytest.raises(RunError, match="holds no run to resume"):
        folder.check_writable(overwrite=False, resume=True)
    assert (tmp_path / "thesis.txt").exists()


def _status(path, **facts):
    path.mkdir(exist_ok=True)
    facts = {"status": "running", "pid": os.getpid(), "host": socket.gethostname(), **facts}
    (path / "run.json").write_text(json.dumps(facts))


def _dead_process() -> int:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return child


def test_a_killed_run_reads_as_interrupted(tmp_path):
    _status(tmp_path / "run", pid=_dead_process())
    run = open_run(tmp_path / "run")
    assert run.status == "interrupted"
    run.folder.check_writable(overwrite=False, resume=True)
    with pytest.raises(RunError, match="`resume=True` continues it"):
        run.folder.check_writable(overwrite=False, resume=False)
    with pytest.raises(RunError, match="has no report: the run is interrupted"):
        _ = run.report


def test_a_running_run_is_left_alone(tmp_path):
    _status(tmp_path / "run", pid=os.getppid())
    with pytest.raises(RunError, match=f"written by process {os.getppid()}"):
        RunFolder(tmp_path / "run").check_writable(overwrite=True, resume=False)


def test_nothing_to_resume_in_a_finished_run(tmp_path):
    _status(tmp_path / "run", status="finished")
    with pytest.raises(RunError, match="is finished"):
        RunFolder(tmp_path / "run").check_writable(overwrite=False, resume=True)


def test_which_file_is_the_model(tmp_path):
    with pytest.raises(RunError, match=r"is no run folder: it holds no model\.keras"):
        trained_file(tmp_path)
    _status(tmp_path / "run", status="interrupted")
    with pytest.raises(RunError, match="interrupted before the end of its first epoch"):
        trained_file(tmp_path / "run")
    with pytest.raises(RunError, match="is a recipe, not a trained model"):
        trained_file("bert-linear")
    with pytest.raises(RunError, match="there is nothing there"):
        trained_file(tmp_path / "nope")
    with pytest.raises(RunError, match="does not exist"):
        trained_file(tmp_path / "nope.keras")
    (tmp_path / "bad.keras").write_bytes(b"PK\x03\x04 and nothing more")
    with pytest.raises(RunError, match="is damaged"):
        trained_facts(tmp_path / "bad.keras")
    with pytest.raises(RunError, match=r"no run\.json"):
        open_run(tmp_path)
