"""Where commands print: results to standard output, what is said on the way to standard error."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_WIDE = 160  # of output that goes to a file or a pipe, where nothing is as narrow as a terminal


def console(stderr: bool = False) -> Console:
    """A rich console; wide where it is no terminal."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    narrow = stream.isatty() or "COLUMNS" in os.environ
    return Console(stderr=stderr, width=None if narrow else _WIDE, highlight=False)


def table(
    *columns: str,
    title: str | None = None,
    right: tuple[str, ...] = (),
    whole: tuple[str, ...] = (),
) -> Table:
    """An empty table; `right` names the columns of numbers, `whole` those that never wrap."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    made = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        justify = "right" if column in right else "left"
        made.add_column(
            column,
            justify=justify,  # type: ignore[arg-type]
            overflow="fold",
            no_wrap=column in (*whole, *right),
        )
    return made


def facts(rows: dict[str, Any], title: str | None = None) -> Table:
    """A table of two columns without a heading; rows whose value is None are left out."""
    from rich.table import Table
    from rich.text import Text

    made = Table(title=title, title_justify="left", box=None, show_header=False, pad_edge=False)
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for key, value in rows.items():
        if value is not None:
            made.add_row(key, Text(str(value)))
    return made


def show(*things: Any) -> None:
    """Prints tables and lines to standard output; lines as they are, so that they can be copied."""
    target = console()
    for thing in things:
        target.print(thing, markup=False, soft_wrap=isinstance(thing, str))


def show_json(value: Any) -> None:
    """Prints one JSON document to standard output."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def say(line: str) -> None:
    """Tells the user something on standard error."""
    print(line, file=sys.stderr, flush=True)


def percent(share: float | None) -> str:
    """`0.8125` as `81.3 %`; None as `-`."""
    return "-" if share is None else f"{100 * share:.1f} %"


def count(number: int | None) -> str:
    """`1234567` as `1,234,567`; None as `?`."""
    return "?" if number is None else f"{number:,}"


def megabytes(size: float) -> str:
    """Bytes for people."""
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
