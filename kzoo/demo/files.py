"""Files of the output folder: complete or not there, and how large."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from kzoo.files import replacing_folder


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file atomically."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def save_model(model: Any, folder: Path) -> float:
    """Saves a model as `folder/model.keras`, which `kzoo.load(folder)` understands.

    Returns:
        Size of the file in 10^6 bytes.
    """
    with replacing_folder(folder) as fresh:
        model.save(fresh / "model.keras")
    return folder_megabytes(folder)


def folder_megabytes(folder: Path) -> float:
    """Size of all files in a folder, in 10^6 bytes."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6
