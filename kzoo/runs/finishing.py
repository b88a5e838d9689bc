"""The end of a run: scores of the best model, curves, adapter, report."""

from __future__ import annotations

import json
import math
from typing import Any

from kzoo.files import write_text
from kzoo.runs import metrics_log
from kzoo.runs.folder import save_adapters
from kzoo.runs.plan import Plan
from kzoo.runs.recording import Recorder, save_for_use

_TRAIN_ROWS = 2000  # enough to see overfitting


def finish(plan: Plan, recorder: Recorder, seconds: float) -> tuple[Any, dict[str, Any]]:
    """Scores what lies in `model.keras` and writes all that is still missing but the report.

    Args:
        plan: The run.
        recorder: What trained it.
        seconds: Of this process so far.

    Returns:
        The best model, and the report so far.
    """
    import kzoo

    folder = plan.folder
    model = kzoo.load(folder.model)
    if plan.options.tune_thresholds is not None:
        outputs = model.predict(plan.validation.inputs, verbose=0)
        model.head.tune_thresholds(plan.validation.labels, outputs, plan.options.tune_thresholds)
        save_for_use(model, folder.model)
    rows = metrics_log.read(folder.metrics)
    scores = {name: plan.goal.score(model, split) for name, split in _scored(plan).items()}
    title = f"{plan.recipe.name} on {plan.dataset.name}"
    if not metrics_log.draw(rows, folder.curves, title):
        plan.say('no curves.png: matplotlib is missing: pip install "kzoo[demo]"')
    save_adapters(model, folder)
    shown = final_split(plan)
    report = {
        "kind": plan.kind,
        "recipe": plan.recipe.name,
        "dataset": plan.dataset.name,
        "seed": plan.recipe.seed,
        "epochs": rows[-1]["epoch"] if rows else 0,
        "best_epoch": recorder.best.epoch,
        "metric": plan.metric if plan.validation is not None else None,
        "stopped_early": recorder.stopped_early,
        "scores": {name: found.summary() for name, found in scores.items()},
        "scored_split": shown,
        **scores[shown].details(),
        "parameters": parameters(model),
        "model_bytes": folder.model.stat().st_size,
        "seconds": {
            "epochs": round(math.fsum(row["seconds"] for row in rows), 3),
            "this_process": round(seconds, 3),
        },
    }
    return model, report


def close(plan: Plan, report: dict[str, Any]) -> None:
    """Writes the report and marks the run as finished; the checkpoint is not needed any more."""
    write_text(plan.folder.report, json.dumps(report, indent=2) + "\n")
    plan.folder.last.unlink(missing_ok=True)
    plan.folder.set_status("finished", epochs_done=report["epochs"])


def final_split(plan: Plan) -> str:
    """The split whose scores count: test, else validation, else train."""
    return next(name for name in ("test", "validation", "train") if name in plan.dataset)


def parameters(model: Any) -> dict[str, int]:
    """Total and trainable parameters."""
    return {
        "total": sum(math.prod(v.shape) for v in model.weights),
        "trainable": sum(math.prod(v.shape) for v in model.trainable_variables),
    }


def _scored(plan: Plan) -> dict[str, Any]:
    splits = {n: plan.dataset[n] for n in ("train", "validation", "test") if n in plan.dataset}
    train = splits["train"]
    if len(train) > _TRAIN_ROWS:
        splits["train"] = train.take(_TRAIN_ROWS, seed=plan.recipe.seed)
    return splits
