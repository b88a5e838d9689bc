"""docs/extend.md: its package is written, installed by its metadata alone, and used."""

import json
import os
import re
import subprocess
import sys
import tomllib

import pytest

from tests.docs.test_readme import ROOT, blocks

PAGE = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")
# What the newcomer writes, by section; the page and its table say the same.
FILES = {
    "An adapter method": 2,
    "A family of backbones": 1,
    "A head": 1,
    "A read": 1,
    "A fusion layer": 1,
    "A distillation loss": 1,
    "A corpus reader": 1,
    "A kind of recipe section": 1,
}


def named(language, text=PAGE):
    """File name -> content of the blocks whose first line names a file."""
    found = {}
    for block in blocks(language, text):
        first, _, rest = block.partition("\n")
        if match := re.fullmatch(r"# ([\w/]+\.\w+)", first):
            found[match[1]] = rest
    return found


def sections():
    parts = re.split(r"^## (.+)$", PAGE, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The page's package, as pip would leave it."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "my_package").mkdir()
    (folder / "my_package" / "__init__.py").write_text("")
    for name, text in named("python").items():
        (folder / name).write_text(text)
    project = tomllib.loads(blocks("toml", PAGE)[0])["project"]
    info = folder / "my_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 1.0\n"
    )
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {where}" for name, where in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


def run(words, folder, package):
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(package), str(ROOT)))},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_so_many_files_each():
    found = {title: len(named("python", text)) for title, text in sections().items()}
    assert found == FILES
    table = dict(re.findall(r"^\| \[[\w ]+\]\(#([\w-]+)\) \| (\d) \|", PAGE, flags=re.M))
    said = {title.lower().replace(" ", "-"): str(count) for title, count in FILES.items()}
    assert said.items() <= table.items()
    assert len(table) == len(FILES)
    for title, text in sections().items():
        assert len(text.splitlines()) <= 100, title  # one screen, or two


def test_the_page_runs(package, tmp_path, minilm_folder):
    for name, text in named("yaml").items():
        (tmp_path / name).write_text(text)
    usage = [block for block in blocks("python", PAGE) if not block.startswith("# my_package/")]
    (tmp_path / "page.py").write_text("\n".join(usage))
    shown = run(["page.py"], tmp_path, package)
    assert "(4,)" in shown and "(2, 2)" in shown and "(4, 2)" in shown
    assert "distillation_loss" in shown
    assert "Here's looking at you, kid." in shown


def test_what_the_package_adds_is_listed(package, tmp_path):
    found = json.loads(run(["-m", "kzoo", "list", "--plugins", "--json"], tmp_path, package))
    added = {(item["kind"], item["name"]) for item in found if item["package"] == "my-package"}
    assert added == {
        ("methods", "shift"),
        ("families", "opt"),
        ("heads", "count"),
        ("reads", "date"),
        ("fusion", "add_mean"),
        ("distillation-losses", "cosine"),
        ("recipe-kinds", "alike"),
        ("readers", ".srt"),
    }


def test_the_family_reads_checkpoints_of_hf(package, tmp_path):
    """Hidden states of the page's OPT equal HF's on the same folder."""
    pytest.importorskip("transformers")
    (tmp_path / "opt.py").write_text(_OPT)
    assert float(run(["opt.py"], tmp_path, package).split()[-1]) < 5e-5


_OPT = """
import pathlib

import numpy as np
import torch
import transformers

config = transformers.OPTConfig(
    vocab_size=60, hidden_size=16, num_hidden_layers=2, ffn_dim=24, num_attention_heads=2,
    max_position_embeddings=20, word_embed_proj_dim=16, pad_token_id=0, init_std=0.3,
)
torch.manual_seed(0)
theirs = transformers.OPTForCausalLM(config).eval()
theirs.save_pretrained("weights")
ids = np.random.default_rng(0).integers(3, 60, (2, 7))
with torch.no_grad():
    expected = theirs.model(torch.tensor(ids)).last_hidden_state.numpy()

from kzoo.backbones.loading import load_pretrained
from tests.zoo.test_generation import letters

letters(pathlib.Path("weights"))
ours = load_pretrained("weights").backbone
inputs = {"token_ids": ids.astype("int32"), "padding_mask": np.ones_like(ids)}
found = ours.predict(inputs, verbose=0)
print(np.abs(found - expected).max())
"""
