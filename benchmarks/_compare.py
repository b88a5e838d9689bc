"""Two sides of a benchmark, each in its own processes, in turns, and what came of it."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
THREADS = 2

Result = dict[str, Any]


class WorkerError(RuntimeError):
    """A worker process ended badly; the message holds the end of what it printed."""


def run_worker(script: str, request: Mapping[str, Any], threads: int = THREADS) -> Result:
    """Runs one worker script in a fresh process.

    The request goes in as JSON on standard input; the answer is the last line of standard output.

    Args:
        script: File name beside this module.
        request: JSON-ready.
        threads: Size of every thread pool of the process (BLAS, torch, TensorFlow).

    Returns:
        What the worker answered.

    Raises:
        WorkerError: The process failed, or its last line is no JSON object.
    """
    many = {"OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"}
    environment = {
        **os.environ,
        **dict.fromkeys(many, str(threads)),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TOKENIZERS_PARALLELISM": "true",
        "HF_HUB_OFFLINE": "1",
        "PYTHONHASHSEED": "0",
    }
    done = subprocess.run(
        [sys.executable, str(HERE / script)],
        input=json.dumps({**request, "threads": threads}),
        capture_output=True,
        text=True,
        env=environment,
    )
    lines = done.stdout.strip().splitlines()
    try:
        answer = json.loads(lines[-1]) if done.returncode == 0 and lines else None
    except json.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict):
        raise WorkerError(
            f"{script} ended with code {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}"
        )
    return answer


def serve(work: Callable[[dict[str, Any]], Result]) -> None:
    """The worker's side of `run_worker`: reads a request, prints the answer last."""
    answer = work(json.load(sys.stdin))
    sys.stdout.flush()
    print(json.dumps(answer), flush=True)


def interleave(
    sides: Mapping[str, Callable[[], Result]],
    repeats: int,
    progress: Callable[[str], None] = lambda text: None,
) -> dict[str, list[Result]]:
    """Runs the sides in turns, every second round backwards: A B, B A, A B, ...

    A machine that gets slower or busier meanwhile then counts for all sides alike.

    Args:
        sides: Name -> a function that runs that side once.
        repeats: Rounds.
        progress: Told before each run.

    Returns:
        Name -> its results, in the order of the rounds.
    """
    if repeats < 1:
        raise ValueError(f"`repeats` must be at least 1. Received: {repeats}")
    results: dict[str, list[Result]] = {name: [] for name in sides}
    for number in range(repeats):
        names = list(sides) if number % 2 == 0 else list(reversed(sides))
        for name in names:
            progress(f"round {number + 1} of {repeats}: {name}")
            results[name].append({**sides[name](), "load": load_average()})
    return results


def medians(results: Sequence[Result], keys: Sequence[str]) -> dict[str, float | None]:
    """Median of some numbers over the results; None where no result has that number."""
    found: dict[str, float | None] = {}
    for key in keys:
        values = [result[key] for result in results if result.get(key) is not None]
        found[key] = statistics.median(values) if values else None
    return found


def ratio(ours: float | None, peer: float | None) -> float | None:
    """Ours over the peer's; None where one is missing or the peer's is 0."""
    return None if ours is None or not peer else ours / peer


def table(
    title: str,
    rows: Sequence[tuple[str, str]],
    columns: Mapping[str, Mapping[str, float | None]],
    compared: tuple[str, str] | None = None,
) -> Any:
    """A rich table with one row a figure and one column a side.

    Args:
        title: Above the table.
        rows: (key, what to call it).
        columns: Side -> figures by key.
        compared: The two sides whose ratio, first over second, is a column of its own.
    """
    from rich.table import Table

    made = Table(title=title, title_justify="left")
    made.add_column("")
    for name in columns:
        made.add_column(name, justify="right")
    if compared is not None:
        made.add_column(f"{compared[0]} / {compared[1]}", justify="right")
    for key, label in rows:
        if all(figures.get(key) is None for figures in columns.values()):
            continue
        cells = [shown(figures.get(key)) for figures in columns.values()]
        if compared is not None:
            cells.append(shown(ratio(columns[compared[0]].get(key), columns[compared[1]].get(key))))
        made.add_row(label, *cells)
    return made


def shown(value: float | None) -> str:
    """A number for people: four digits or so."""
    if value is None:
        return "-"
    if value and abs(value) < 1e-3:
        return f"{value:.1e}"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def load_average() -> float | None:
    """Processes that wanted a core in the last minute, None where the system does not say."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def machine(*packages: str) -> Result:
    """What the figures depend on: date, processor, load and versions."""
    versions = {}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "date": date.today().isoformat(),
        "cores": os.cpu_count(),
        "processor": _processor(),
        "load_before": load_average(),
        "python": platform.python_version(),
        "packages": versions,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def write_json(path: str | None, content: Result) -> None:
    """Keeps everything that was measured, where a path was given."""
    if path:
        Path(path).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
