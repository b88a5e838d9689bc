"""`kzoo.runs.train`: one training, one folder. The driver is shared with distillation."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kzoo.datasets import Dataset
from kzoo.errors import Interrupted
from kzoo.runs.data import Say
from kzoo.runs.options import JIT, TrainOptions
from kzoo.runs.plan import Plan, make_plan, stored_options

if TYPE_CHECKING:
    from kzoo.runs.fitting import Trainee


def silent(line: str) -> None:
    """Takes a line and says nothing."""


def train(
    recipe: str | Path,
    dataset: str | Path | Dataset,
    out: str | Path,
    options: TrainOptions | None = None,
    *,
    say: Say = silent,
    callbacks: Sequence[Any] = (),
) -> dict[str, Any]:
    """Trains a recipe on a dataset into a run folder.

    The folder holds `config.yaml`, `environment.json`, `metrics.jsonl`, `curves.png`,
    `model.keras` (the best epoch by `options.metric`, else the last), `adapter/` (or `adapters/`
    with a folder each, where several act together), `report.json` and `run.json` with the status.

    Args:
        recipe: Zoo name or recipe file.
        dataset: Name, path or dataset. Without a validation split, 10 % of `train` become one.
        out: The run folder.
        options: See `TrainOptions`.
        say: Takes lines for the user, such as how many rows were set aside.
        callbacks: Further Keras callbacks.

    Returns:
        The report.

    Raises:
        RunError: The folder is taken, or there is nothing to resume.
        RecipeError: Unknown recipe or key.
        InputError: One class only, or labels that do not fit.
        DatasetError: See `kzoo.datasets.load`.
        Interrupted: Ctrl-C; a KeyboardInterrupt whose message says what was kept.
    """
    options = stored_options(options or TrainOptions(), out)
    plan = make_plan("train", recipe, dataset, out, options, say)

    def build() -> Trainee:
        from kzoo.runs.fitting import Trainee
        from kzoo.zoo.loading import build_model

        model = build_model(plan.recipe)
        model.compile(jit_compile=JIT[plan.options.jit])
        return Trainee.of(model)

    return carry_out(plan, build, callbacks)


def carry_out(
    plan: Plan,
    build: Callable[[], Trainee],
    callbacks: Sequence[Any] = (),
    extend: Callable[[Any, dict[str, Any]], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Runs a plan: builds or restores, fits, scores, reports.

    Args:
        plan: The run.
        build: Makes the models, compiled.
        callbacks: Further Keras callbacks.
        extend: From the best model and the report to further keys of the report.

    Returns:
        The report.
    """
    began = time.perf_counter()
    import keras

    from kzoo.runs import finishing, fitting

    if plan.options.tensorboard:
        fitting.tensorboard(plan.folder.tensorboard)  # refuse before anything is written
    keras.utils.set_random_seed(plan.recipe.seed)
    restored = fitting.restore(plan)
    trainee = restored or build()
    try:
        fitting.begin(plan, restored is not None)
        recorder = fitting.fit(plan, trainee, callbacks, restored is not None)
        seconds = time.perf_counter() - began
        model, report = finishing.finish(plan, recorder, seconds)
        if extend is not None:
            report |= extend(model, report)
        finishing.close(plan, report)
    except KeyboardInterrupt:
        plan.folder.set_status("interrupted")
        raise Interrupted(_kept(plan)) from None
    except Exception as error:
        plan.folder.set_status("failed", error=f"{type(error).__name__}: {error}"[:1000])
        raise
    return report


def _kept(plan: Plan) -> str:
    done = plan.folder.status().get("epochs_done", 0)
    epochs = plan.training.epochs
    where = str(plan.folder.path)
    if not plan.folder.last.is_file():
        return f"interrupted in the first epoch; {where!r} holds the configuration only"
    kept = "metrics.jsonl, model.keras (best so far) and last.keras"
    return (
        f"interrupted after epoch {done} of {epochs}; {where!r} keeps {kept}. "
        f"Continue with: {plan.command}"
    )
