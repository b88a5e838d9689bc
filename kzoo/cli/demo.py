"""`kzoo demo`: everything once, on real input."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[
        Path, typer.Option(help="Folder for models, index and report; an earlier run is replaced.")
    ] = Path("out/demo"),
    quick: Annotated[
        bool, typer.Option("--quick", help="A part of the documents, in 90 seconds.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Decides every random choice.")] = 0,
    rows: Annotated[int | None, typer.Option(min=24, hidden=True)] = None,
) -> None:
    """Fit, compare, distil, index and search the Python documentation, in 8 minutes.

    Needs: pip install "kzoo[demo]". Writes a report, the models and the index.
    """
    from kzoo.demo.needs import begin, check_needs
    from kzoo.demo.settings import choose_settings

    check_needs(out)  # before TensorFlow takes its time
    begin(out)
    from rich.console import Console

    from kzoo.demo.needs import quiet_stderr

    with quiet_stderr():
        import tensorflow as tf

        tf.config.list_physical_devices()  # where it complains about a GPU that is not there
        from kzoo.demo.run import run_demo

    run_demo(choose_settings(quick, seed, rows), out, Console())
