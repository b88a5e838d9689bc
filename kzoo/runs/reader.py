"""Reading run folders, and finding the trained model that a user means."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kzoo.errors import RecipeError, RunError
from kzoo.runs import metrics_log
from kzoo.runs.folder import RunFolder, load_adapters, read_json
from kzoo.runs.goal import Goal
from kzoo.runs.goals import CLASSES, GOALS, goal_of_kind


class Run:
    """A run folder, read.

    Args:
        folder: Where it is.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.path = folder.path

    @property
    def status(self) -> str:
        """`running`, `finished`, `interrupted` or `failed`."""
        return str(self.folder.status()["status"])

    @property
    def config(self) -> dict[str, Any]:
        """Resolved recipe, dataset, options and seed."""
        from kzoo.zoo.recipe import read_yaml

        return read_yaml(self.folder.config)

    @property
    def environment(self) -> dict[str, Any]:
        """Versions and machine."""
        return read_json(self.folder.environment)

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """One dict per epoch."""
        return metrics_log.read(self.folder.metrics)

    @property
    def report(self) -> dict[str, Any]:
        """Final scores; a RunError before the run has finished."""
        if not self.folder.report.is_file():
            raise RunError(f"{str(self.path)!r} has no report: the run is {self.status}.")
        return read_json(self.folder.report)

    def load(self) -> Any:
        """The best model."""
        return load_trained(self.path)

    def load_adapters(self, model: Any) -> None:
        """Adds the run's adapters to another model on the same trunk, acting as they did."""
        load_adapters(self.path, model)


def open_run(path: str | Path) -> Run:
    """Opens a run folder for reading.

    Raises:
        RunError: There is none.
    """
    folder = RunFolder(path)
    if not folder.status():
        raise RunError(f"{str(path)!r} is no run folder: it has no run.json.")
    return Run(folder)


def trained_file(run_or_model: str | Path) -> Path:
    """The `.keras` file of a run folder, or the file itself; imports no TensorFlow.

    Raises:
        RunError: Neither, with what would help.
    """
    path = Path(run_or_model).expanduser()
    if path.is_dir():
        folder = RunFolder(path)
        if folder.model.is_file():
            return folder.model
        status = folder.status().get("status")
        if status is None:
            raise RunError(f"{str(path)!r} is no run folder: it holds no model.keras.")
        raise RunError(
            f"The run in {str(path)!r} has no model yet: it is {status} before the end of its "
            "first epoch."
        )
    if path.suffix == ".keras":
        if not path.is_file():
            raise RunError(f"{str(path)!r} does not exist.")
        return path
    from kzoo.zoo.catalogue import find_recipe

    try:
        recipe = find_recipe(run_or_model)
    except RecipeError:
        raise RunError(
            f"{str(path)!r} is neither a run folder nor a .keras file; there is nothing there."
        ) from None
    raise RunError(
        f"{recipe.name!r} is a recipe, not a trained model. Train it first: "
        f"kzoo train {recipe.name} DATASET --out runs/{recipe.name}"
    )


@dataclass(frozen=True)
class TrainedFacts:
    """What a `.keras` file says about its head, without its weights.

    Args:
        goal: What the model has learned; None where it ends otherwise, or in several heads.
        labels: The classes in the order of the outputs, ratings as strings; None where there are
            none, or where adapters have different ones.
    """

    goal: Goal | None
    labels: list[str] | None


def trained_facts(file: Path) -> TrainedFacts:
    """Reads the configuration in a `.keras` file; imports no TensorFlow.

    Raises:
        RunError: The file is damaged.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            config = json.loads(archive.read("config.json"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise RunError(f"{str(file)!r} is damaged: it is no complete .keras file.") from error
    graph = config.get("config", {}).get("graph", {})
    ends = set(_strings(graph.get("output_layers", [])))
    layers = [layer for layer in graph.get("layers", []) if layer["config"].get("name") in ends]
    heads = [layer for layer in layers if "answers" in layer["config"]]
    if len(heads) != 1:
        return TrainedFacts(None, None)
    goal = goal_of_kind(heads[0]["class_name"])
    answers = heads[0]["config"]["answers"].values()
    lists = [facts["labels"] for facts in answers if facts.get("labels") is not None]
    alike = bool(lists) and all(labels == lists[0] for labels in lists)
    return TrainedFacts(goal, [str(label) for label in lists[0]] if alike else None)


def _strings(found: Any) -> Iterator[str]:
    """All strings in lists of lists, and in the values of dicts."""
    if isinstance(found, str):
        yield found
    elif isinstance(found, (list, dict)):
        for part in found.values() if isinstance(found, dict) else found:
            yield from _strings(part)


def load_trained(run_or_model: str | Path, goal: Goal | None = None) -> Any:
    """The model of a run folder or a `.keras` file.

    Args:
        run_or_model: Run folder or file.
        goal: What it must have learned. Default: any of the goals of runs.

    Raises:
        RunError: There is none, or it has learned something else, or nothing.
    """
    file = trained_file(run_or_model)
    import kzoo

    model = kzoo.load(file)
    found = goal_of_model(model)
    wanted = (goal,) if goal is not None else GOALS
    if found not in wanted or any(head.is_open for head in model.heads.values()):
        what = "classifier" if goal is CLASSES else "model of " + ", ".join(g.what for g in wanted)
        raise RunError(f"{str(file)!r} holds a {type(model).__name__}, not a trained {what}.")
    return model


def goal_of_model(model: Any) -> Goal | None:
    """What a model learns; None where it ends in several heads or in none that runs know."""
    heads = list(getattr(model, "heads", {}).values())
    return goal_of_kind(heads[0].kind) if len(heads) == 1 else None
