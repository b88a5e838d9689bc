"""The adapters of a run as folders of their own, and back into another model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kzoo.adapters.acting.composition import parse_composition
from kzoo.files import write_text
from kzoo.runs.errors import RunError
from kzoo.runs.folder import RunFolder, read_json

_COMPOSITION = "composition.json"


def save_adapters(model: Any, folder: RunFolder) -> None:
    """Writes what acts: one adapter as `adapter/`, several as `adapters/NAME/` each.

    Beside several stands `composition.json`, which says how they act together. A head is written
    with the adapter (or the fusion) that answers with it.

    Args:
        model: Trained.
        folder: The run's.
    """
    from kzoo.heads.answers import owners

    composition = model.adapters.composition
    if composition is None:
        return
    if isinstance(composition, str):
        model.adapters.save(composition, folder.adapter)
        return
    answering = owners(composition)
    for name in dict.fromkeys(composition.names()):  # a block may name one twice
        model.adapters.save(name, folder.adapters / name, with_head=name in answering)
    text = json.dumps(composition.to_dict(), indent=2)
    write_text(folder.adapters / _COMPOSITION, text + "\n")


def load_adapters(run: str | Path, model: Any) -> None:
    """Adds the adapters of a run to another model on the same trunk, acting as they did.

    Args:
        run: The run folder.
        model: A `kzoo.Model` with one trunk, without adapters of these names.

    Raises:
        RunError: The run has none.
        AdapterError: Another trunk, or a name that is taken.
    """
    folder = RunFolder(run)
    if folder.adapter.is_dir():
        model.adapters.load(folder.adapter)
        return
    described = folder.adapters / _COMPOSITION
    if not described.is_file():
        raise RunError(f"{str(run)!r} holds no adapters: it has neither adapter/ nor adapters/.")
    composition = parse_composition(read_json(described))
    for name in dict.fromkeys(composition.names()):  # type: ignore[union-attr]
        model.adapters.load(folder.adapters / name, name, activate=False)
    model.adapters.activate(composition)
