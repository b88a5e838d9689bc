"""`python -m kzoo.demo`, the same as `kzoo demo`."""

import os
import sys

import typer

from kzoo.cli import failures
from kzoo.cli.demo import demo


def main() -> int:
    """Runs the demo and returns the exit code; a foreseeable problem is one line."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command()(demo)
    with failures.short_warnings():
        try:
            return int(app(standalone_mode=False, prog_name="python -m kzoo.demo") or 0)
        except Exception as error:
            return failures.report(error, debug=False)
        except KeyboardInterrupt:
            return failures.report(failures.Stopped(""), debug=False)


if __name__ == "__main__":
    sys.exit(main())
