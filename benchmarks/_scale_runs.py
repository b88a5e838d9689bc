"""Runs of `_scale_worker.py` that are remembered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from _compare import Result, load_average, run_worker
from rich.console import Console


class Runs:
    """Answers of workers, kept in a file of JSON lines.

    Args:
        folder: Where that file and the files of the workers go.
        fixed: What every worker is asked.
        console: Told of each run.
    """

    def __init__(self, folder: Path, fixed: Result, console: Console) -> None:
        self.folder = folder
        self.fixed = fixed
        self._console = console
        self._file = folder / "runs.jsonl"
        self._known: dict[str, Result] = {}
        if self._file.exists():
            for line in self._file.read_text(encoding="utf-8").splitlines():
                run = json.loads(line)
                self._known[run["key"]] = run["answer"]

    def has(self, side: str, **request: Any) -> bool:
        """Whether this ran before."""
        return self._key(side, request) in self._known

    def run(self, side: str, path: Path, *, again: bool = False, **request: Any) -> Result:
        """Returns a worker's answer, from the file if it ran before.

        Args:
            side: What the worker does.
            path: Where its files go; does not tell runs apart.
            again: Whether it runs in any case, because its files are wanted.
            **request: What else it is asked: `size`, and what the side needs.
        """
        key = self._key(side, request)
        if again or key not in self._known:
            what = " ".join(f"{value}" for name, value in request.items() if name != "parameters")
            self._console.print(f"[dim]{side} {what}, load {load_average()}")
            asked = {**self.fixed, **request, "side": side, "path": str(path)}
            asked["truth"] = str(self.truth(request["size"]))
            answer = run_worker("_scale_worker.py", asked, self.fixed["threads"])
            self._known[key] = answer
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"key": key, "answer": answer}) + "\n")
        return self._known[key]

    def truth(self, size: int) -> Path:
        """The file of exact neighbours at a size."""
        dimension, queries = self.fixed["dimension"], self.fixed["queries"]
        return self.folder / f"truth-{size}-{dimension}-{queries}-{self.fixed['seed']}.npy"

    def _key(self, side: str, request: Result) -> str:
        return json.dumps([side, self.fixed, request], sort_keys=True)
