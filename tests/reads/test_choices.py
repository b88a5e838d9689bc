"""ChoicesInput: forms of rows, the ids of each candidate's pair, rows with fewer candidates."""

import numpy as np
import pandas as pd
import pytest
from tiny import make_tiny_trunk

import kzoo
from kzoo.datasets import Split
from kzoo.errors import InputError
from kzoo.reads.read import read_of

TEXTS = ["the good film", "a bad cat", "red and blue"]
CHOICES = [["great movie", "awful"], ["nice dog"], ["green", "one two three", "the cat is nice"]]
ROWS = list(zip(TEXTS, CHOICES, strict=True))
FORMS = {
    "rows": ROWS,
    "rows of tuples": [(text, tuple(own)) for text, own in ROWS],
    "rows of lists and arrays": [[text, np.asarray(own)] for text, own in ROWS],
    "bytes": [(text.encode(), [one.encode() for one in own]) for text, own in ROWS],
    "two columns": (TEXTS, CHOICES),
    "context": {"context": TEXTS, "choices": CHOICES, "label": [0, 0, 2]},
    "query": {"query": TEXTS, "passages": CHOICES},
    "own name": {"text": ROWS},
    "frame": pd.DataFrame({"context": TEXTS, "choices": CHOICES}),
}
SINGLE = {
    "rows": [(text, own[0]) for text, own in ROWS],
    "array": np.asarray([(text, own[0]) for text, own in ROWS]),
    "columns": (TEXTS, [own[0] for own in CHOICES]),
    "split": Split(TEXTS, [own[0] for own in CHOICES]),
    "query and passage": {"query": TEXTS, "passage": [own[0] for own in CHOICES]},
}


@pytest.fixture(scope="module")
def trunk():
    return kzoo.Trunk(make_tiny_trunk(), max_tokens=32)


def inputs_of(trunk, x, k, **options):
    model = kzoo.Model.on(trunk, {"kind": "choose", "k": k})
    return next(iter(model.prepare(x, batch_size=3, few_shapes=False, **options)))


@pytest.mark.parametrize("form", FORMS)
def test_forms(trunk, form):
    found = inputs_of(trunk, FORMS[form], k=3)
    found = found[0] if isinstance(found, tuple) else found
    length = found["0_token_ids"].shape[1]
    assert length == max(len(trunk.text.tokenize([(t, c)]).ids) for t, own in ROWS for c in own)
    for i in range(3):
        for row, (text, own) in enumerate(ROWS):
            for key in trunk.family.inputs:
                expected = np.zeros(length)  # [PAD] has the id 0
                if i < len(own):
                    expected = trunk.text.encode([(text, own[i])], length)[key][0]
                np.testing.assert_array_equal(found[f"{i}_{key}"][row], expected)


@pytest.mark.parametrize("form", SINGLE)
def test_forms_of_one_candidate(trunk, form):
    found = inputs_of(trunk, SINGLE[form], k=1)
    expected = trunk.text.encode(SINGLE["rows"])
    for key, value in expected.items():
        np.testing.assert_array_equal(found[f"0_{key}"], value)


def test_prompts_stand_in_each_candidate(trunk):
    trunk.adapters.add("prompt", "prompt[num_virtual_tokens=2]")
    try:
        found = inputs_of(trunk, ROWS, k=3)["1_token_ids"].numpy()
    finally:
        trunk.adapters.delete("prompt")
    virtual = (found >= trunk.vocabulary_size).sum(axis=1)
    assert virtual.tolist() == [2, 0, 2]  # none where there is no candidate


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["a text", "another"], r"row 0 must be \(text, \[candidate"),
        ([*ROWS, ("a", [])], "row 3 must be"),
        ([*ROWS, ("a", ["b", 3])], "row 3 must be"),
        ([*ROWS, ("a", {"b": "c"})], "row 3 must be"),
        ((TEXTS, CHOICES[:2]), "3 and 2 rows"),
        ("one text", "not one text"),
        (ROWS * 2, "row 2 has 3 candidates, but the model was made for k=2"),
    ],
)
def test_refusals(trunk, rows, words):
    with pytest.raises(InputError, match=words):
        inputs_of(trunk, rows, k=2)
    with pytest.raises(InputError, match="`k` must be at least 1"):
        kzoo.ChoicesInput(trunk, 0)


def test_equal_reads_have_equal_fingerprints(trunk):
    reads = [read_of(kzoo.ChoicesInput(trunk, k)[0]["0_token_ids"]) for k in (2, 3, 2)]
    assert reads[0].fingerprint == reads[2].fingerprint != reads[1].fingerprint
