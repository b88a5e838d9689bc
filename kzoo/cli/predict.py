"""`kzoo predict`: labels for texts."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from kzoo.cli import console
from kzoo.cli import parameters as p

_SHOWN = 80  # characters of a text in the table


def predict(
    model: p.Trained,
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TEXT]...", help="Texts, each in quotes. [lines of stdin]"),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option("--file", help="Texts: .txt (a line each), .jsonl, .csv, .tsv; - is stdin."),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Labels to show for each text.")] = 1,
    text_column: p.TextColumn = None,
    pair_column: p.PairColumn = None,
    encoding: p.Encoding = "utf-8",
    strict: p.Strict = False,
    as_json: p.Json = False,
) -> None:
    """Predict the label of texts, with its probability."""
    from kzoo.cli.texts import read_texts
    from kzoo.runs.reader import load_trained, trained_file

    path = trained_file(model)
    options = p.data_options(text_column, pair_column, None, encoding, strict)
    rows = read_texts(texts or [], file, options, sys.stdin)
    answers = _answers(load_trained(path), rows, top)
    if as_json:
        return console.show_json(answers)
    _show(answers, top)


def _answers(model: Any, rows: list[Any], top: int) -> list[dict[str, Any]]:
    import numpy as np

    chances = model.predict_proba(rows, verbose=0)
    labels = model.labels or list(range(model.num_classes))
    best = np.argsort(-chances, axis=-1, kind="stable")[:, :top]
    found = []
    for row, chance, order in zip(rows, chances, best, strict=True):
        several = [{"label": labels[i], "probability": float(chance[i])} for i in order]
        found.append({"text": row, **several[0], **({"top": several} if top > 1 else {})})
    return found


def _show(answers: list[dict[str, Any]], top: int) -> None:
    from rich.text import Text

    rows = console.table("label", "probability", "text", right=("probability",))
    for answer in answers:
        text = answer["text"] if isinstance(answer["text"], str) else " | ".join(answer["text"])
        text = " ".join(text.split())
        shown = text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
        for number, item in enumerate(answer.get("top", [answer])):
            cells = (str(item["label"]), console.percent(item["probability"]))
            rows.add_row(Text(cells[0]), cells[1], Text("" if number else shown))
    console.show(rows)
