"""Composed models: raw columns in, several trunks and heads, in every mode of training."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("composed.py")


def run(mode, folder):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), mode, str(folder)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.parametrize("mode", ["plain", "mirrored", "jit", "mixed_bfloat16"])
def test_fit_save_load_continue(mode, tmp_path):
    """The design's snippet, and two trunks, a numeric column and two heads."""
    found = run(mode, tmp_path)
    loaded = run("again", tmp_path) if mode == "plain" else found
    for name in ("knowledge", "two_trunks"):
        made, later = found[name]["made"], loaded[name]["loaded"]
        assert made["adapter_variables"] > 0 and made["moved"] == made["trained"], name
        assert made["trunks_equal"]
        assert made["losses"][-1] < made["losses"][0]
        assert later["class"] == "Model"
        # Compiled for other first shapes than the model that was saved.
        assert later["off"] < (0.1 if mode == "mixed_bfloat16" else 1e-4)
        assert later["steps"] == [15, 20]
        assert later["losses"][0] < made["losses"][0]
    both = found["two_trunks"]["made"]
    assert {"topic_accuracy", "score_rmse", "score_pearson"} <= set(both["history"])
    assert {"score_spearman", "topic_macro_f1"} <= set(both["evaluated"])
