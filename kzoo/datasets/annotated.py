"""Data sets of more than a text and a label: tagged words, entities, answers, candidates."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kzoo.datasets.card import Card, SkipLog
from kzoo.datasets.columns import Options, Roles
from kzoo.datasets.dataset import Dataset
from kzoo.datasets.files import split_files, text_fault
from kzoo.datasets.rows import Row, decode, read_rows, suffix_of
from kzoo.datasets.split import Split
from kzoo.errors import DatasetError

_TABLES = (".jsonl", ".jsonl.gz", ".parquet")
_SUFFIXES = {"tag": (".conll", ".bio", ".iob2", ".txt"), "span": (".json",)}
_CANDIDATES = ("rank", "choose")
#: By task the usual columns: what is read, a second text, the labels. The first that fit are taken.
_FORMS: dict[str, tuple[tuple[str, str | None, str], ...]] = {
    "tag": (("tokens", None, "tags"), ("text", None, "entities")),
    "span": (("question", "context", "answers"),),
    "rank": (
        *(("query", "passages", label) for label in ("relevance", "labels")),
        *(("query", "passage", label) for label in ("relevance", "label")),
    ),
    "choose": (("context", "choices", "label"), ("question", "choices", "answer")),
}
TASKS = tuple(_FORMS)
_WHAT = {
    "tag": "Tagged texts",
    "span": "Questions",
    "rank": "Queries and passages",
    "choose": "Questions and choices",
}
_OPTIONS = ("text_column", "label_column", "labelled", "task", "strict", "encoding")
_BLANKS = re.compile("[ \t]+")  # no others: a token may be a no-break space


def load_annotated(path: Path, options: Options) -> Dataset:
    """Read a file (one split, ``train``) or a folder of splits; see `kzoo.datasets.load`.

    The rows of a split are, by `task`:

    - ``tag``, from words: `texts` holds lists of words, `labels` lists of as many tags;
    - ``tag``, from texts: `texts` holds strings, `labels` lists of (start, end, type) in
      characters;
    - ``span``: `texts` holds questions, `text_pairs` contexts, `labels` dicts of two lists, `text`
      and `answer_start`, both empty for a question without an answer;
    - ``rank``: `texts` holds queries, `text_pairs` lists of passages, `labels` lists of numbers;
    - ``choose``: `texts` holds contexts, `text_pairs` lists of choices, `labels` the number or name
      of the right one.

    Args:
        path: an existing file or folder.
        options: how to read it; `task` is one of `TASKS`.

    Returns:
        The dataset; its card counts the rows left out.

    Raises:
        DatasetError: see `kzoo.datasets.load`.
    """
    task = str(options.task)
    allowed = _OPTIONS if task == "tag" else (*_OPTIONS, "pair_column")
    options.refuse_others(allowed, f"`task` {task!r}")
    log = SkipLog(options.strict)
    notes: list[str] = []
    splits: dict[str, Split] = {}
    columns: dict[str, str] = {}
    known = (*_TABLES, *(s + gz for s in _SUFFIXES.get(task, ()) for gz in ("", ".gz")))
    files = split_files(path, known, "seq.in" if task == "tag" else None)
    for name, file in files.items():
        rows, roles = _read(file, options, log, notes, is_first=not splits)
        kept = [row for row in rows if not _left_out(row, roles, task, log)]
        if not kept:
            left_out = log.describe() or "it is empty"
            raise DatasetError(f"{str(file)!r} has no usable row: {left_out}")
        if roles.label is None and options.labelled:
            notes.append(f"split {name!r} has no column of labels, so it is unlabelled")
        splits[name] = _split(kept, roles, task)
        columns = columns or roles.as_dict()
    log.warn(str(path))
    card = Card(
        description=f"{_WHAT[task]} read from {path.name}.",
        source=str(path),
        counts={name: len(split) for name, split in splits.items()},
        skipped=log.entries(),
        columns=columns,
        notes=tuple(notes),
    )
    return Dataset(path.name, splits, None, card)


def _read(
    path: Path, options: Options, log: SkipLog, notes: list[str], *, is_first: bool
) -> tuple[list[Row], Roles]:
    task = str(options.task)
    if suffix_of(path, _TABLES) is not None:
        rows = read_rows(path, options, log)[1]
    else:
        reader = _squad if task == "span" else _sequences if path.is_dir() else _conll
        rows = list(reader(path, options, log, notes))
        if task == "tag":  # its columns had numbers, or none
            options = replace(options, text_column=None, label_column=None)
    columns = list(dict.fromkeys(name for row in rows for name in row.values))
    ids = "id" if "id" in columns else None
    for labelled in (True, False) if options.labelled and not is_first else (options.labelled,):
        for text, pair, label in _FORMS[task]:
            found = options.text_column or text, options.pair_column or pair
            label_column = (options.label_column or label) if labelled else None
            if {*found, label_column} <= {*columns, None}:
                return rows, Roles(*found, label_column, ids)
    if not rows:
        return rows, Roles("")
    wanted = " or ".join(str([name for name in form if name]) for form in _FORMS[task])
    raise DatasetError(
        f"{str(path)!r} must have the columns {wanted} for `task` {task!r}; give `text_column` and "
        f"`label_column` where they have other names. Columns found: {columns}"
    )


def _split(rows: Sequence[Row], roles: Roles, task: str) -> Split:
    def column(name: str | None) -> list[Any] | None:
        return None if name is None else [row.values.get(name) for row in rows]

    labels, ids = column(roles.label), column(roles.ids)
    if ids is not None:  # a row without an identifier is identified by its place
        ids = [row.where if i is None else str(i) for i, row in zip(ids, rows, strict=True)]
    return Split(
        [row.values[roles.text] for row in rows],
        column(roles.pair),
        # Not np.array, which would make a matrix of lists that happen to be equally long.
        None if labels is None else np.fromiter((_label(v, task) for v in labels), object),
        ids,
    )


def _label(value: Any, task: str) -> Any:
    if task == "span":
        return {"text": list(value["text"]), "answer_start": list(value["answer_start"])}
    if task in _CANDIDATES:
        return value
    if value and isinstance(value[0], dict):
        return [(span["start"], span["end"], span["label"]) for span in value]
    return list(value)


# --- Faults ------------------------------------------------------------------------------------


def _left_out(row: Row, roles: Roles, task: str, log: SkipLog) -> bool:
    text: Any = row.values.get(roles.text)
    if task == "tag" and isinstance(text, list):
        fault = _words_fault(text, roles.text)
    elif task in _CANDIDATES:
        found: Any = row.values.get(str(roles.pair))
        several = [found] if isinstance(found, str) else found
        fault = text_fault(text, roles.text) or _words_fault(several, str(roles.pair))
    else:
        names = [name for name in (roles.text, roles.pair) if name is not None]
        fault = next((f for name in names if (f := text_fault(row.values.get(name), name))), None)
    if fault is None and roles.label is not None:
        value: Any = row.values.get(roles.label)
        if task == "span":
            fault = _answers_fault(value, row.values, str(roles.pair))
        elif task == "rank":
            fault = _relevance_fault(value, found, roles.label)
        elif task == "choose":
            fault = _choice_fault(value, several, roles.label)
        elif isinstance(text, list):
            fault = _words_fault(value, roles.label)
            if fault is None and len(value) != len(text):
                fault = f"{roles.label!r} has another number than {roles.text!r}"
        else:
            fault = _spans_fault(value, text, roles.label)
    if fault is not None:
        log.add(fault, row.where)
    return fault is not None


def _words_fault(value: Any, column: str) -> str | None:
    if not isinstance(value, list) or not value:
        return f"nothing in {column!r}"
    plain = all(isinstance(word, str) and word.strip() for word in value)
    return None if plain else f"{column!r} is no list of strings"


def _spans_fault(value: Any, text: Any, column: str) -> str | None:
    if not isinstance(value, list):
        return f"{column!r} is no list"
    for span in value:
        if not isinstance(span, dict) or not {"start", "end", "label"} <= span.keys():
            return f"an entry of {column!r} has not start, end and label"
        start, end, label = span["start"], span["end"], span["label"]
        if not (type(start) is type(end) is int and isinstance(label, str) and label):
            return f"an entry of {column!r} has not two whole numbers and a label"
        if not 0 <= start < end <= len(text):
            return f"an entry of {column!r} lies outside the text"
    return None


def _relevance_fault(value: Any, passages: Any, column: str) -> str | None:
    numbers = value if isinstance(value, list) else [value]
    if isinstance(value, list) == isinstance(passages, str):
        return f"{column!r} must be a list where the passages are one, and a number of a passage"
    if any(isinstance(v, bool) or not isinstance(v, (int, float)) or v < 0 for v in numbers):
        return f"{column!r} is no number from 0"
    several = 1 if isinstance(passages, str) else len(passages)
    return None if len(numbers) == several else f"{column!r} has another number than the passages"


def _choice_fault(value: Any, choices: list[str], column: str) -> str | None:
    if isinstance(value, str) and value.strip():
        return None
    if type(value) is not int:
        return f"{column!r} is no number or name of a choice"
    inside = 0 <= value < len(choices)
    return None if inside else f"{column!r} is the number of no choice (they begin at 0)"


def _answers_fault(value: Any, row: dict[str, Any], context: str) -> str | None:
    if not isinstance(value, dict) or not {"text", "answer_start"} <= value.keys():
        return "answers have not text and answer_start"
    texts, starts = value["text"], value["answer_start"]
    if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
        return "answers have not as many starts as texts"
    if texts and row.get("is_impossible"):
        return "is_impossible, and has an answer"
    for text, start in zip(texts, starts, strict=True):
        if not isinstance(text, str) or not text or type(start) is not int or start < 0:
            return "an answer has no text or no start"
        if not row[context].startswith(text, start):
            return "an answer does not stand at its start in the context"
    return None


# --- Files -------------------------------------------------------------------------------------


def _conll(path: Path, options: Options, log: SkipLog, notes: list[str]) -> Iterator[Row]:
    """Sentences of a file with a word a line, its columns between blanks or tabs."""
    sentence: list[tuple[int, list[str]]] = []
    width = text = label = documents = 0
    for number, line in enumerate([*decode(path, options.encoding).split("\n"), ""], 1):
        fields = _BLANKS.split(line.strip(" \t\r"))
        is_document = fields[0] == "-DOCSTART-"
        documents += is_document
        if fields != [""] and not is_document:
            if not width:
                width = len(fields)
                text = _number(options.text_column or "0", "text_column", width, path)
                label = _number(options.label_column or "-1", "label_column", width, path)
                if options.labelled and text == label:
                    raise DatasetError(
                        f"{path.name}:{number}: column {text} of {width} cannot be words and tags; "
                        "give `text_column` and `label_column`, or `labelled=False`"
                    )
            sentence.append((number, fields))
        elif sentence:
            if wrong := [place for place, found in sentence if len(found) != width]:
                log.add(f"wrong number of columns (expected {width})", f"{path.name}:{wrong[0]}")
            else:
                values = {"tokens": [found[text] for _, found in sentence]}
                if options.labelled:
                    values["tags"] = [found[label] for _, found in sentence]
                yield Row(f"{path.name}:{sentence[0][0]}", values)
            sentence = []
    if documents:
        notes.append(f"{documents} lines -DOCSTART- of {path.name} passed over")


def _number(value: str, name: str, width: int, path: Path) -> int:
    """A column's number, from 0."""
    digits = value.removeprefix("-")
    if not digits.isdecimal() or not -width <= int(value) < width:
        raise DatasetError(
            f"`{name}` of {str(path)!r} must be the number of one of its {width} columns, from 0, "
            f"or from the last as -1. Received: {value!r}"
        )
    return int(value) % width


def _sequences(path: Path, options: Options, log: SkipLog, notes: list[str]) -> Iterator[Row]:
    """Rows of a folder with a sentence a line: words in ``seq.in``, tags in ``seq.out``."""
    options.refuse_others(
        [name for name in _OPTIONS if "column" not in name], f"the folder {str(path)!r}"
    )
    names = ("seq.in", "seq.out") if options.labelled else ("seq.in",)
    if missing := [name for name in names if not (path / name).is_file()]:
        raise DatasetError(f"{str(path)!r} has no file {missing[0]!r}; give `labelled=False`")
    columns = [decode(path / name, options.encoding).rstrip("\r\n").split("\n") for name in names]
    if len({len(lines) for lines in columns}) > 1:
        raise DatasetError(f"{str(path)!r}: seq.in and seq.out differ in their number of lines")
    for number, lines in enumerate(zip(*columns, strict=True), 1):
        words = [[word for word in _BLANKS.split(line.strip(" \t\r")) if word] for line in lines]
        yield Row(
            f"{path.name}/seq.in:{number}", dict(zip(("tokens", "tags"), words, strict=False))
        )


def _squad(path: Path, options: Options, log: SkipLog, notes: list[str]) -> Iterator[Row]:
    """Questions of a file in the form of SQuAD 1.1 or 2.0, each with its number in the file."""
    try:
        articles = json.loads(decode(path, options.encoding))["data"]
        questions = [
            (paragraph["context"], question)
            for article in articles
            for paragraph in article["paragraphs"]
            for question in paragraph["qas"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(
            f"{str(path)!r} is not in SQuAD's form "
            '{"data": [{"paragraphs": [{"context": ..., "qas": [...]}]}]}: '
            f"{type(error).__name__} {error}"
        ) from None
    for number, (context, question) in enumerate(questions, 1):
        where = f"{path.name}:{number}"
        if not isinstance(question, dict):
            log.add("a question is no JSON object", where)
            continue
        values = {**question, "context": context}
        answers = question.get("answers")
        if isinstance(answers, list) and all(isinstance(answer, dict) for answer in answers):
            keys = ("text", "answer_start")
            values["answers"] = {key: [answer.get(key) for answer in answers] for key in keys}
        yield Row(where, values)
