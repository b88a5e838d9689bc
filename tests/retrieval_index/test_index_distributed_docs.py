"""The page on building on several machines: its Python without Ray, and its shell loop."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from index_helpers import numbered

import retrieval_index

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "distributed.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.S)


def run(command, folder):
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_the_page_runs(tmp_path):
    lines = [json.dumps({"_id": name, "text": text}) for name, text in numbered(20)]
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines))
    python = blocks("python")
    scripts = [re.match(r"# (\w+\.py)\n", block) for block in python]
    for script, block in zip(scripts, python, strict=True):
        if script:
            (tmp_path / script.group(1)).write_text(block)
        elif "distributed.build(" not in block:  # which is Ray's, and has tests of its own
            (tmp_path / "page.py").write_text(block)
    assert "20 documents" in run([sys.executable, "page.py"], tmp_path)
    (loop,) = blocks("bash")
    said = run(["bash", "-ec", loop], tmp_path)
    assert said.count("5 documents 5 passages") == 4 and "20 documents, 20 passages" in said
    with retrieval_index.open(tmp_path / "out" / "index") as index:
        one = retrieval_index.build(numbered(20), tmp_path / "one", "hashing")
        assert index.search(["topic 5"], k=20) == one.search(["topic 5"], k=20)
        assert index.version == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["index"]
