"""Toy files, written once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from runs_toys import write_dataset, write_recipe, write_trunk


@dataclass
class Toys:
    """Paths of the toy files."""

    folder: Path
    data: Path
    linear: Path
    adapter: Path


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
