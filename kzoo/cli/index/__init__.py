"""`kzoo index`: everything about retrieval indexes; one file for each group of commands."""

from __future__ import annotations

from collections.abc import Callable

import typer

from kzoo.cli.index.build import build, finish
from kzoo.cli.index.change import add, compact, delete, merge, update
from kzoo.cli.index.evaluate import evaluate, tune
from kzoo.cli.index.help_text import CommandWithKinds, GroupInSections
from kzoo.cli.index.look import (
    drop_snapshot,
    export,
    restore,
    show_info,
    snapshot,
    snapshots,
    verify,
)
from kzoo.cli.index.search import search

index = typer.Typer(
    cls=GroupInSections,
    help="From documents to an index that is searched, measured, and kept up to date.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_SECTIONS: dict[str, dict[str, Callable[..., None]]] = {
    "Build and search": {
        "build": build,
        "finish": finish,
        "search": search,
        "info": show_info,
    },
    "Change": {
        "add": add,
        "update": update,
        "delete": delete,
        "compact": compact,
        "merge": merge,
    },
    "Measure": {
        "tune": tune,
        "evaluate": evaluate,
        "verify": verify,
    },
    "Keep and take out": {
        "snapshot": snapshot,
        "snapshots": snapshots,
        "restore": restore,
        "drop-snapshot": drop_snapshot,
        "export": export,
    },
}
for _section, _commands in _SECTIONS.items():
    for _name, _function in _commands.items():
        index.command(_name, cls=CommandWithKinds, rich_help_panel=_section)(_function)
