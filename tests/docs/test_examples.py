"""Every example runs, and says what its docstring promises."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.py"))
EXPECTED = {
    "fit_adapter": ["'card_lost'", "'transfer'", "'balance'", "saved"],
    "switch_adapters": ["houlsby", "active ['lora']"],
    "per_row": ["anna equal", "ben equal", "carla equal"],
    "peft_files": ["['adapter_config.json', 'adapter_model.safetensors']", "equal True"],
    "adapt_any_model": ["trained 274", "merged True []"],
    "distil": ["15,6", "True"],
    "bi_encoder": ["learned True", "loaded equal True"],
    "label_sets": ["labels ['account', 'card', 'urgent']", "worse True", "loaded equal True"],
    "tags_and_answers": ["('New York', 'city')", "intents right 8", "of 20 candidates"],
    "hybrid_search": ["office only: ['e18', 'ink', 'wifi']", "nDCG@10 hybrid", "tuned: rrf"],
    "rerank": ["'nDCG@10'", "sorted() makes a new list", "['A', 'B']"],
    "train_encoder": ["learned True", "short (8, 64) of length 1.00", "found zipfile"],
    "teach_a_language_model": ["-> 'Paris'", "-> 'Berlin'", "off again True"],
    "search": ["time", "glob", "kzoo:minilm-encoder 4 passages"],
}


def test_every_example_has_an_expectation():
    assert {path.stem for path in EXAMPLES} == set(EXPECTED)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path, tmp_path, minilm_folder):
    done = subprocess.run(
        [sys.executable, str(path)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for expected in EXPECTED[path.stem]:
        assert expected in done.stdout
