"""Training under `tf.distribute` on two replicas gives the numbers of one device."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("two_replicas.py")
CHECKS = re.findall(r"@check\ndef (\w+)", SCRIPT.read_text(encoding="utf-8"))
CHECKS.remove("other_heads")  # a sweep


@pytest.fixture(scope="module")
def report():
    return run(CHECKS)


def run(checks):
    tests = SCRIPT.parents[1]
    paths = [str(path) for path in (tests.parent, tests, tests / "distillation", tests / "runs")]
    paths.append(str(tests / "conformance"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, str(SCRIPT), *checks]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_every_check_ran(report):
    assert len(CHECKS) >= 10 and list(report) == CHECKS


@pytest.mark.parametrize("name", CHECKS)
def test_two_replicas_train_as_one(report, name):
    assert isinstance(report[name], float), report[name]
    assert report[name] < 1e-4


@pytest.mark.sweep
def test_the_other_heads():
    test_two_replicas_train_as_one(run(["other_heads"]), "other_heads")
