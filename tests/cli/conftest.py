"""`kzoo(...)` runs a command line in this process; one trained run for all tests."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "runs"))

from runs_toys import write_dataset, write_recipe, write_trunk


@dataclass
class Toys:
    """Paths of the toy files."""

    folder: Path
    data: Path
    linear: Path
    adapter: Path


@dataclass
class Answer:
    """What a command line gave."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def toys(tmp_path_factory) -> Toys:
    """A trunk, two recipes and a dataset."""
    folder = tmp_path_factory.mktemp("toys")
    trunk = write_trunk(folder / "trunk")
    return Toys(
        folder,
        write_dataset(folder / "data"),
        write_recipe(folder / "linear.yaml", trunk),
        write_recipe(folder / "adapter.yaml", trunk, adapters="pfeiffer[reduction_factor=4]"),
    )


@pytest.fixture(scope="session")
def trained(toys) -> Path:
    """A run of the adapter recipe, trained by the command line."""
    from kzoo.cli.main import main

    out = toys.folder / "runs" / "teacher"
    words = ["train", toys.adapter, toys.data, "--out", out, "--epochs", 3, "--seed", 1]
    assert main([str(word) for word in words]) == 0
    return out


@pytest.fixture
def kzoo(capsys, monkeypatch):
    """Runs `kzoo WORDS` and returns exit code, standard output and standard error."""
    from kzoo.cli.main import main

    monkeypatch.delenv("COLUMNS", raising=False)  # pytest-xdist sets it in its workers

    def call(*words: object) -> Answer:
        capsys.readouterr()
        code = main([str(word) for word in words])
        seen = capsys.readouterr()
        return Answer(code, seen.out, seen.err)

    return call
