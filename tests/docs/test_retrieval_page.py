"""docs/retrieval.md: its Python runs, its tables, commands and files are those of the code."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.retrieval_tables import TABLES

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "retrieval.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(language, text=PAGE):
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.S)


def _commands(text):
    lines = [line for block in _blocks("bash", text) for line in block.splitlines()]
    return [line for line in lines if line.startswith("kzoo index ")]


def test_python_runs(tmp_path):
    (tmp_path / "page.py").write_text("\n".join(_blocks("python")))
    done = subprocess.run(
        [sys.executable, "page.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "files.md Files > Close" in done.stdout.splitlines()[0]
    assert "2 documents, " in done.stdout


@pytest.mark.parametrize("name", TABLES)
def test_tables(name):
    """What to paste after a change: `python tests/docs/retrieval_tables.py`."""
    shown = re.search(rf"<!-- table: {name} -->\n(.*?)\n<!-- end -->", PAGE, flags=re.S)
    assert shown is not None
    assert shown[1] == TABLES[name]()


@pytest.mark.parametrize("line", [*_commands(PAGE), *_commands(README)])
def test_commands(line):
    """Each command exists, with these options."""
    import typer.main

    from kzoo.cli.main import app

    words = shlex.split(line, comments=True)
    command = typer.main.get_command(app).commands["index"].commands[words[2]]
    known = {name for option in command.params for name in option.opts}
    assert {word for word in words if re.match("--?[a-z]", word)} <= known


def test_every_command_is_on_the_page():
    from kzoo.cli.index import index

    for command in index.registered_commands:
        assert re.search(rf"\b{command.name}\b", PAGE), command.name


def test_every_file_is_described(tmp_path):
    """The section on the disk names each file of an index with deletions and a snapshot."""
    import retrieval_index

    out = tmp_path / "notes"
    texts = [f"Note number {n}." for n in range(40)]
    retrieval_index.build(texts, out, "hashing:16", index="IVF2,SQ8", progress=False).close()
    with retrieval_index.open(out) as index:
        first = next(index.documents()).id
    retrieval_index.delete(out, first)
    retrieval_index.snapshot(out, "monday")
    section = PAGE[PAGE.index("## On the disk") :]
    found = sorted(path.relative_to(out) for path in out.rglob("*") if path.is_file())
    assert len(found) == 14
    for path in found:
        assert path.name in section, path
        assert str(path.parts[0]) in section
