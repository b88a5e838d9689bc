"""The Python of the README runs as it stands, block after block, as one session."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language, text=README):
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.S)


def run(script, folder):
    (folder / "page.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "page.py"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_python_blocks_run(tmp_path, minilm_folder):
    (tmp_path / "corpus.jsonl").write_text(
        '{"_id": "open", "text": "open() opens a file; close it with its close() method."}\n'
        '{"_id": "sum", "text": "sum() adds the items of an iterable."}\n'
    )
    assert len(blocks("python")) >= 3
    assert "open" in run("\n".join(blocks("python")), tmp_path)


def test_the_page_on_adapters_runs(tmp_path, minilm_folder):
    page = (ROOT / "docs" / "adapters.md").read_text(encoding="utf-8")
    assert "(1, 2, 2)" in run("\n".join(blocks("python", page)), tmp_path)


def test_the_page_on_recipes_runs(tmp_path, minilm_folder):
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    for block in blocks("yaml", page):
        name = re.match(r"# ([\w.]+)\n", block)
        (tmp_path / name[1]).write_text(block)
    shown = run("\n".join(blocks("python", page)), tmp_path)
    for words in (
        "TextClassifier ('default',) 4",
        "'first-second'",
        "1 16",
        "'default': 'lora[r=4]'",
    ):
        assert words in shown
    assert "'urgency': array" in shown


def test_the_page_on_heads_runs(tmp_path, minilm_folder):
    from kzoo.heads import HEADS

    page = (ROOT / "docs" / "heads.md").read_text(encoding="utf-8")
    shown = run("\n".join(blocks("python", page)), tmp_path)
    assert "('Nina Simone', 'artist')" in shown and "Ada Ada 20" in shown
    table = "\n".join(line for line in page.splitlines() if line.startswith("| `"))
    assert {f"`{kind}`" for kind in HEADS} <= set(re.findall(r"`\w+`", table))


def test_the_recipes_page_names_what_there_is():
    """Sections, kinds, keys, shortcuts and metrics are those of the code."""
    from kzoo.heads import HEADS
    from kzoo.runs.goals import GOALS
    from kzoo.zoo.recipe import SECTIONS, SHORTCUTS, Recipe

    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    words = set(re.findall(r"`([^`\n]+)`", page))
    expected = {*SECTIONS, *HEADS, *SHORTCUTS, *Recipe.model_fields, "learning_rate"}
    expected |= {key for _, section in SECTIONS.items() for key in section.model_fields}
    expected |= {metric for goal in GOALS for metric in goal.metrics}
    assert expected <= words | {"kind", "version"}


def test_commands_exist():
    """Every `kzoo ...` command that the README shows is one that the program knows."""
    from typer.testing import CliRunner

    from kzoo.cli.main import app

    shown = {
        tuple(words)
        for block in blocks("bash")
        for line in block.splitlines()
        if (words := re.findall(r"^(?:\.venv/bin/)?kzoo ((?:index )?[a-z]+)", line.strip()))
    }
    assert shown
    for (command,) in shown:
        result = CliRunner().invoke(app, [*command.split(), "--help"])
        assert result.exit_code == 0, command


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"\bmake ([a-z]+)\b", README))
    assert {"demo", "test"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.M), target
