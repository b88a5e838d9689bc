"""`python -m kzoo` is `kzoo`."""

from kzoo.cli.main import run

run()
