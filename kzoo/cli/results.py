"""Tables of scores, shared by train, distill and evaluate."""

from __future__ import annotations

from typing import Any

from kzoo.cli import console

_NAMES = {"macro_f1": "macro-F1", "micro_f1": "micro-F1"}
_ABOUT = ("model", "dataset", "split", "rows")  # keys that are no scores
_DETAILS = ("per_class", "confusion")


def show_report(report: dict[str, Any], out: Any) -> None:
    """The end of a run on the screen."""
    keys = list(next(iter(report["scores"].values())))
    numbers = [_NAMES.get(key, key) for key in keys]
    rows = console.table("split", *numbers, right=tuple(numbers))
    for name, found in report["scores"].items():
        rows.add_row(name, *(_cell(key, found[key]) for key in keys))
    parameters, seconds = report["parameters"], report["seconds"]["epochs"]
    best = f"epoch {report['best_epoch']} of {report['epochs']}"
    why = f"best {report['metric']}" if report["metric"] else "the last"
    stopped = ", stopped early" if report["stopped_early"] else ""
    console.show(
        rows,
        f"Model of {best} ({why}{stopped}), {parameters['trainable']:,} of "
        f"{parameters['total']:,} parameters trained in {seconds:.1f} s.",
        f"Everything is in {out}. Next: kzoo predict {out} 'some text'",
    )


def show_scores(found: dict[str, Any], title: str) -> None:
    """The scores in a line, and the classes one by one where there are any."""
    scores = {key: v for key, v in found.items() if key not in (*_ABOUT, *_DETAILS)}
    line = ", ".join(f"{_NAMES.get(key, key)} {_cell(key, v)}" for key, v in scores.items())
    line += f", {found['rows']} rows"
    if "per_class" not in found:
        return console.show(title, line)
    numbers = ("rows", "precision", "recall", "F1")
    rows = console.table("class", *numbers, right=numbers, title=title)
    for item in found["per_class"]:
        shares = (console.percent(item[key]) for key in ("precision", "recall", "f1"))
        rows.add_row(_text(item["label"]), str(item["rows"]), *shares)
    console.show(rows, line)


def show_comparison(found: dict[str, Any]) -> None:
    """Teacher and student side by side."""
    numbers = ("accuracy", "macro-F1", "parameters", "file", "ms per text")
    rows = console.table("model", *numbers, right=numbers)
    for name in ("teacher", "student"):
        item = found[name]
        rows.add_row(
            name,
            console.percent(item["accuracy"]),
            console.percent(item["macro_f1"]),
            console.count(item["parameters"]),
            console.megabytes(item["file_bytes"]),
            f"{item['ms_per_text']:.2f}",
        )
    kept = console.percent(found["accuracy_kept"])
    console.show(
        rows,
        f"The student keeps {kept} of the accuracy ({found['split']}), is {found['smaller']:.1f} "
        f"times smaller and {found['speedup']:.1f} times as fast "
        f"({found['timed_texts']} texts in batches of {found['timed_batch_size']}).",
    )


def _cell(key: str, value: Any) -> str:
    if key == "rows":
        return console.count(value)
    if key in ("accuracy", "macro_f1", "micro_f1"):
        return console.percent(value)
    return "-" if value is None else f"{value:.4f}"


def _text(value: str) -> Any:
    from rich.text import Text

    return Text(value)
