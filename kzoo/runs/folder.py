"""The run folder: where its files are, who may write into it, and how far it is."""

from __future__ import annotations

import json
import os
import shutil
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kzoo.adapters.acting.composition import parse_composition
from kzoo.errors import RunError
from kzoo.files import write_text


class RunFolder:
    """Paths and status of one run.

    Args:
        path: The folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self.config = self.path / "config.yaml"
        self.environment = self.path / "environment.json"
        self.metrics = self.path / "metrics.jsonl"
        self.curves = self.path / "curves.png"
        self.model = self.path / "model.keras"
        self.last = self.path / "last.keras"
        self.adapter = self.path / "adapter"
        self.adapters = self.path / "adapters"
        self.report = self.path / "report.json"
        self.tensorboard = self.path / "tensorboard"
        self.status_file = self.path / "run.json"

    def status(self) -> dict[str, Any]:
        """What `run.json` says; `{}` where there is none.

        `status` is `running`, `finished`, `interrupted` or `failed`; a `running` whose process is
        gone (killed, power cut) reads as `interrupted`.
        """
        if not self.status_file.is_file():
            return {}
        found = read_json(self.status_file)
        if found.get("status") == "running" and not _alive(found):
            found["status"] = "interrupted"
        return found

    def set_status(self, status: str, **facts: Any) -> None:
        """Writes `run.json`; facts of before are kept unless given anew."""
        before = read_json(self.status_file) if self.status_file.is_file() else {}
        now = datetime.now(UTC).isoformat(timespec="seconds")
        facts = {"started": now, **before, **facts, "status": status, "updated": now}
        facts |= {"pid": os.getpid(), "host": socket.gethostname()}
        write_text(self.status_file, json.dumps(facts, indent=2) + "\n")

    def check_writable(self, overwrite: bool, resume: bool) -> None:
        """Refuses what must not be touched; changes nothing.

        Raises:
            RunError: The folder is not empty and neither option was given, it is not a run, another
                process is writing it, or there is nothing to continue.
        """
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"`out` {str(self.path)!r} is a file; choose another folder.")
        status = self.status()
        if status.get("status") == "running" and status["pid"] != os.getpid():
            raise RunError(
                f"{str(self.path)!r} is being written by process {status['pid']}; wait for it, "
                "stop it, or choose another folder."
            )
        if resume:
            self._check_resumable(status)
        elif self.path.is_dir() and any(self.path.iterdir()):
            if not overwrite:
                how = "`overwrite=True` replaces it"
                if status.get("status") in ("interrupted", "failed"):
                    how += ", `resume=True` continues it"
                raise RunError(f"`out` {str(self.path)!r} exists and is not empty; {how}.")
            if not status:
                raise RunError(
                    f"`out` {str(self.path)!r} is not empty and holds no run, so it is not "
                    "replaced; choose another folder."
                )

    def _check_resumable(self, status: dict[str, Any]) -> None:
        if not status:
            raise RunError(f"{str(self.path)!r} holds no run to resume; leave out `resume=True`.")
        if status["status"] == "finished":
            raise RunError(
                f"The run in {str(self.path)!r} is finished; `overwrite=True` starts it anew."
            )

    def clear(self) -> None:
        """Removes the folder with everything in it, and makes it anew."""
        if self.path.exists():
            shutil.rmtree(self.path)
        self.path.mkdir(parents=True)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        RunError: Missing or damaged.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{str(path)!r} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise RunError(f"{str(path)!r} is damaged: it holds no JSON.") from error
    if not isinstance(found, dict):
        raise RunError(f"{str(path)!r} is damaged: it holds no JSON object.")
    return found


def _alive(status: dict[str, Any]) -> bool:
    if status.get("host") != socket.gethostname():
        return True  # nobody here can know
    try:
        os.kill(int(status["pid"]), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OSError):
        return True
    return True


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
