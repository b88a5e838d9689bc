"""`kzoo predict`: labels, ratings, numbers, entities, answers, choices, completions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from kzoo.cli import console
from kzoo.cli import parameters as p

if TYPE_CHECKING:
    from kzoo.runs import DataOptions

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
    top: Annotated[
        int | None,
        typer.Option(
            min=1, help="Labels or tokens to show; of a classifier or a filler of masks. [1]"
        ),
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(min=1, help="Longest completion; of a generator. [50]")
    ] = None,
    text_column: p.TextColumn = None,
    pair_column: p.PairColumn = None,
    encoding: p.Encoding = "utf-8",
    strict: p.Strict = False,
    as_json: p.Json = False,
) -> None:
    """Predict labels, numbers, entities or vectors of texts, answers, or how texts go on.

    Of texts with [MASK], what stands there, if the model learned hidden tokens. Rows with
    candidates come from a file: the passages in their order, or the choice made.
    """
    from kzoo.runs.goals import CLASSES, Choices, LabelSets, Relevances, Texts, Vectors
    from kzoo.runs.reader import goal_of_model, load_trained, trained_facts, trained_file

    path = trained_file(model)
    options = p.data_options(text_column, pair_column, None, encoding, strict)
    facts = trained_facts(path)
    task = facts.goal.task if isinstance(facts.goal, (Relevances, Choices)) else None
    rows = read_texts(texts or [], file, options, sys.stdin, task)
    loaded = load_trained(path)
    goal = goal_of_model(loaded)
    fills = hasattr(loaded, "fill")
    writes = isinstance(goal, Texts) and not isinstance(goal, Vectors) and not fills
    ranks = goal is CLASSES or fills
    _check(not ranks and top is not None, "--top", "a classifier or a filler of masks", loaded)
    _check(not writes and max_new_tokens is not None, "--max-new-tokens", "a generator", loaded)
    if goal is CLASSES:
        answers = _answers(loaded, rows, top or 1)
    elif fills:
        answers = _fillings(loaded, rows, top or 1)
    elif writes:
        answers = _completions(loaded, rows, max_new_tokens or 50)
    elif isinstance(goal, LabelSets):
        answers = _label_sets(loaded, rows)
    elif isinstance(goal, Vectors):
        answers = _vectors(loaded, rows)
    else:
        answers = _values(loaded, rows)
    if as_json:
        return console.show_json(answers)
    if goal is CLASSES:
        _show(answers, top or 1)
    else:
        _show_plain(answers, next(key for key in answers[0] if key != "text"))


def _check(wrong: bool, option: str, whose: str, model: Any) -> None:
    if wrong:
        raise typer.BadParameter(f"{option} is for {whose}; this is a {type(model).__name__}")


def _fillings(model: Any, rows: list[Any], top: int) -> list[dict[str, Any]]:
    found = zip(rows, model.fill(rows, top), strict=True)
    return [
        {"text": row, "masks": [[vars(f) for f in one] for one in masks]} for row, masks in found
    ]


def _completions(model: Any, rows: list[Any], most: int) -> list[dict[str, Any]]:
    if not isinstance(rows[0], str):
        raise typer.BadParameter(
            "pairs of texts were read, and completions are asked for: name the column of the "
            "prompts with --text-column"
        )
    found = model.generate(rows, max_new_tokens=most)
    return [{"text": row, "completion": text} for row, text in zip(rows, found, strict=True)]


def _vectors(model: Any, rows: list[Any]) -> list[dict[str, Any]]:
    if not isinstance(rows[0], str):
        raise typer.BadParameter(
            "pairs of texts were read, and a vector is of one text: name its column with "
            "--text-column"
        )
    found = zip(rows, model.encode(rows), strict=True)
    return [{"text": row, "vector": vector.tolist()} for row, vector in found]


def _label_sets(model: Any, rows: list[Any]) -> list[dict[str, Any]]:
    outputs = model.predict(rows, verbose=0)
    names = model.head.labels or [str(i) for i in range(model.head.num_classes)]
    found = zip(rows, model.head.marks(outputs), model.head.probabilities(outputs), strict=True)
    return [
        {
            "text": row,
            "labels": [name for name, mark in zip(names, marks, strict=True) if mark],
            "probabilities": {n: float(p) for n, p in zip(names, chances, strict=True)},
        }
        for row, marks, chances in found
    ]


def _values(model: Any, rows: list[Any]) -> list[dict[str, Any]]:
    """Numbers, entities, answers, or what is said of candidates."""
    from kzoo.heads.candidates import CandidateHead

    found: list[dict[str, Any]] = []
    for row, value in zip(rows, model.predict_values(rows, verbose=0), strict=True):
        if hasattr(value, "entities"):
            found.append({"text": row, "entities": [vars(entity) for entity in value.entities]})
        elif hasattr(value, "candidates"):
            known = ("start", "end", "probability", "null_score")
            facts = {key: getattr(value, key) for key in known}
            found.append({"text": row, "answer": value.text, **facts})
        elif isinstance(model.head, CandidateHead):
            found.append(_candidates(model, row, value))
        else:
            # A rating is a plain value already: its name.
            plain = value.item() if hasattr(value, "item") else value
            found.append({"text": row, "value": plain})
    return found


def _candidates(model: Any, row: Any, value: Any) -> dict[str, Any]:
    """What a head says of a row's candidates: the scores of all, or the right one."""
    import numpy as np

    text, several = row[0], [row[1]] if isinstance(row[1], str) else list(row[1])
    if isinstance(value, (int, str)):
        number = value if isinstance(value, int) else model.head.labels.index(value)
        return {"text": text, "choice": several[number], "number": number}
    scores = np.atleast_1d(value)[: len(several)].tolist()
    order = sorted(range(len(several)), key=lambda i: -scores[i])
    ranked = [{"text": several[i], "number": i, "score": scores[i]} for i in order]
    return {"text": text, "passages": ranked}


def _show_plain(answers: list[dict[str, Any]], key: str) -> None:
    from rich.text import Text

    rows = console.table(key, "text", right=("value",))
    for answer in answers:
        value = answer[key]
        if key == "vector":
            value = " ".join(f"{number:.3f}" for number in value[:4]) + f" ... ({len(value)})"
        elif key == "masks":
            value = "; ".join(", ".join(filling["token"] for filling in one) for one in value)
        elif isinstance(value, list):
            said = [v if isinstance(v, str) else _said(v) for v in value]
            value = ", ".join(said) or "-"
        shown = f"{value:.4g}" if isinstance(value, float) else " ".join(str(value).split())
        rows.add_row(Text(shown), Text(_short(answer["text"])))
    console.show(rows)


def _said(part: dict[str, Any]) -> str:
    of = part["label"] if "label" in part else f"{part['score']:.4g}"
    return f"{part['text']} ({of})"


def _short(row: Any) -> str:
    text = " ".join((row if isinstance(row, str) else " | ".join(row)).split())
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


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
        shown = _short(answer["text"])
        for number, item in enumerate(answer.get("top", [answer])):
            cells = (str(item["label"]), console.percent(item["probability"]))
            rows.add_row(Text(cells[0]), cells[1], Text("" if number else shown))
    console.show(rows)


_TABLES = (".jsonl", ".csv", ".tsv", ".parquet", ".gz")


def read_texts(
    words: list[str],
    file: str | None,
    options: DataOptions,
    stdin: TextIO,
    task: str | None = None,
) -> list[Any]:
    """Texts, or pairs of texts from a file with two columns, or texts with their candidates.

    Args:
        words: Texts of the command line.
        file: A path, `-` for standard input, or None.
        options: How a table is read.
        stdin: Read where there is neither.
        task: That of a model that needs candidates, which only a file has. Default: none.

    Raises:
        InputError: No text at all, two sources, no file where candidates are needed, or text that
            is not in the encoding.
        DatasetError: See `kzoo.datasets.load`.
    """
    from kzoo.errors import InputError

    if words and file is not None:
        raise InputError("TEXT and --file were both given; give one of them.")
    if task is not None and (file is None or Path(file).suffix not in (".jsonl", ".parquet")):
        columns = "query, passages" if task == "rank" else "context, choices"
        raise InputError(
            f"the model needs texts with candidates: give --file with a .jsonl or .parquet file of "
            f"the columns {columns}."
        )
    if words:
        return _not_blank(words, "the command line")
    if file is None and stdin.isatty():
        raise InputError("there is no text: give TEXT, --file, or pipe lines into the command.")
    if file is None or file == "-":
        return _not_blank(_lines(stdin.read()), "standard input")
    path = Path(file)
    if path.suffix.lower() in _TABLES:
        return _table(path, options, task)
    try:
        text = path.read_text(encoding=options.encoding)
    except (UnicodeDecodeError, LookupError) as error:
        raise InputError(f"{file!r} is not {options.encoding}: {error}; see --encoding.") from error
    return _not_blank(_lines(text), repr(file))


def _lines(text: str) -> list[str]:
    return text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")


def _not_blank(lines: list[str], where: str) -> list[str]:
    from kzoo.errors import InputError

    kept = [line for line in lines if line.strip()]
    if not kept:
        raise InputError(f"{where} holds no text.")
    blank = len(lines) - len(kept) - (not lines[-1])  # nothing behind the last newline
    if blank:
        console.say(f"{blank} blank {'line' if blank == 1 else 'lines'} of {where} left out")
    return kept


def _table(path: Path, options: DataOptions, task: str | None) -> list[Any]:
    from kzoo.datasets import load

    dataset = load(
        path,
        text_column=options.text_column,
        pair_column=options.pair_column,
        encoding=options.encoding,
        strict=options.strict,
        labelled=False,
        task=task,
    )
    return dataset["train"].inputs
