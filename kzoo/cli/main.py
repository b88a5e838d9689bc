"""The `kzoo` command: registers the commands and turns errors into exit codes.

Nothing here imports TensorFlow; each command imports what it needs when it runs.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from kzoo.cli import failures
from kzoo.cli.adapters import adapters
from kzoo.cli.demo import demo
from kzoo.cli.evaluate import evaluate
from kzoo.cli.failures import no_chatter
from kzoo.cli.index import index
from kzoo.cli.listing import info, list_all, methods
from kzoo.cli.predict import predict
from kzoo.cli.train import distill, train


class _Group(TyperGroup):
    """Lets Ctrl-C out with its message; typer would swallow it."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            raise failures.Stopped(str(stop)) from stop


# Plain help: rich help pages would double the time of `kzoo --help`.
app = typer.Typer(
    cls=_Group,
    name="kzoo",
    help="Adapters, distillation and retrieval for pretrained Transformers in Keras 3.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("list")(list_all)
app.command("info")(info)
app.command("methods")(methods)
app.command("train")(train)
app.command("evaluate")(evaluate)
app.command("predict")(predict)
app.command("distill")(distill)
app.command("demo")(demo)
app.add_typer(adapters, name="adapters")
app.add_typer(index, name="index")


def _version(wanted: bool) -> None:
    if wanted:
        import kzoo

        typer.echo(f"kzoo {kzoo.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the stack trace of an error. [env: KZOO_DEBUG=1]")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Adapters, distillation and retrieval for pretrained Transformers in Keras 3."""


def main(arguments: list[str] | None = None) -> int:
    """Runs a command line and returns its exit code.

    0: done. 1: an error inside kzoo. 2: something in the command line or in a file has to be
    changed, and the one line on standard error says what. 130: stopped by Ctrl-C.

    Args:
        arguments: Words after `kzoo`. Default: those of the process.
    """
    words, debug = _debug(list(sys.argv[1:] if arguments is None else arguments))
    # Before TensorFlow is imported: its information and start-up warnings are not for users.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with failures.short_warnings():
        try:
            return int(app(words, standalone_mode=False, prog_name="kzoo") or 0)
        except Exception as error:
            return failures.report(error, debug)
        except KeyboardInterrupt:
            return failures.report(failures.Stopped(""), debug)


def _debug(words: list[str]) -> tuple[list[str], bool]:
    """`--debug` counts anywhere before `--`, so that it can be added to a command that failed."""
    end = words.index("--") if "--" in words else len(words)
    kept = [word for word in words[:end] if word != "--debug"]
    asked = len(kept) < end or os.environ.get("KZOO_DEBUG", "") not in ("", "0")
    return kept + words[end:], asked


def run() -> None:
    """Entry point of the `kzoo` script."""
    if _debug(sys.argv[1:])[1]:
        sys.exit(main())
    with no_chatter():
        code = main()
    sys.exit(code)


if __name__ == "__main__":
    run()
