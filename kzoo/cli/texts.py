"""Texts from the command line, from files and from standard input."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from kzoo.cli import console
from kzoo.errors import InputError
from kzoo.runs import DataOptions

_TABLES = (".jsonl", ".csv", ".tsv", ".parquet", ".gz")


def read_texts(
    words: list[str], file: str | None, options: DataOptions, stdin: TextIO
) -> list[str] | list[tuple[str, str]]:
    """Texts, or pairs of texts from a file with two columns.

    Args:
        words: Texts of the command line.
        file: A path, `-` for standard input, or None.
        options: How a table is read.
        stdin: Read where there is neither.

    Raises:
        InputError: No text at all, two sources, or text that is not in the encoding.
        DatasetError: See `kzoo.datasets.load`.
    """
    if words and file is not None:
        raise InputError("TEXT and --file were both given; give one of them.")
    if words:
        return _not_blank(words, "the command line")
    if file is None and stdin.isatty():
        raise InputError("there is no text: give TEXT, --file, or pipe lines into the command.")
    if file is None or file == "-":
        return _not_blank(_lines(stdin.read()), "standard input")
    path = Path(file)
    if path.suffix.lower() in _TABLES:
        return _table(path, options)
    try:
        text = path.read_text(encoding=options.encoding)
    except (UnicodeDecodeError, LookupError) as error:
        raise InputError(f"{file!r} is not {options.encoding}: {error}; see --encoding.") from error
    return _not_blank(_lines(text), repr(file))


def _lines(text: str) -> list[str]:
    return text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")


def _not_blank(lines: list[str], where: str) -> list[str]:
    kept = [line for line in lines if line.strip()]
    if not kept:
        raise InputError(f"{where} holds no text.")
    blank = len(lines) - len(kept) - (not lines[-1])  # nothing behind the last newline
    if blank:
        console.say(f"{blank} blank {'line' if blank == 1 else 'lines'} of {where} left out")
    return kept


def _table(path: Path, options: DataOptions) -> list[str] | list[tuple[str, str]]:
    from kzoo.datasets import load

    dataset = load(
        path,
        text_column=options.text_column,
        pair_column=options.pair_column,
        encoding=options.encoding,
        strict=options.strict,
        labelled=False,
    )
    return dataset["train"].inputs
