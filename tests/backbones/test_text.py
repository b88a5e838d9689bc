"""Rows of text: what is accepted, how it is cut and padded."""

import numpy as np
import pytest
from tiny import make_tiny_trunk

from kzoo.backbones.families import FAMILIES
from kzoo.backbones.text import TextProcessor, check_rows
from kzoo.errors import InputError


@pytest.fixture(scope="module")
def processor():
    return TextProcessor(make_tiny_trunk().tokenizer_json, FAMILIES["bert"], 8)


def test_padding_and_masks(processor):
    batch = processor.encode(["good cat", ""])
    vocabulary = processor.tokenizer.get_vocab()
    good, cat = vocabulary["good"], vocabulary["cat"]
    assert batch["token_ids"].tolist() == [[2, good, cat, 3], [2, 3, 0, 0]]
    assert batch["padding_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert batch["segment_ids"].tolist() == [[0] * 4, [0] * 4]
    longer = processor.encode(["good"], length=6)
    assert longer["token_ids"].shape == (1, 6)


def test_pairs_are_cut_at_the_longer_side(processor):
    batch = processor.encode([("good " * 9, "cat"), ("cat", "good " * 9)])
    good = processor.tokenizer.get_vocab()["good"]
    assert batch["token_ids"].shape == (2, 8)
    assert (batch["token_ids"] == good).sum(axis=1).tolist() == [4, 4]
    assert batch["segment_ids"].sum(axis=1).tolist() == [2, 5]
    assert processor.tokenize([("good " * 9, "cat")]).truncated == 1


def test_token_offsets_are_characters_and_never_cut(processor):
    text = "good cat " * 20
    offsets = processor.token_offsets([text])[0]
    assert len(offsets) == 40
    assert {text[a:b] for a, b in offsets} == {"good", "cat"}
    assert len(processor.tokenize([text]).ids) == 8  # truncation is on again


def test_rows():
    assert check_rows(np.array(["a", "b"])) == ["a", "b"]
    assert check_rows([b"caf\xc3\xa9"]) == ["café"]
    assert check_rows((["a", "b"], ["c", "d"])) == [("a", "c"), ("b", "d")]
    assert check_rows([("a", "c"), ["b", "d"]]) == [("a", "c"), ("b", "d")]
    assert check_rows(("a", "b")) == ["a", "b"]  # a tuple of texts is rows, not columns
    for bad in ([1], [None], [("a", "b", "c")], "text"):
        with pytest.raises(InputError):
            check_rows(bad)


def test_fingerprint_tells_processors_apart(processor):
    same = TextProcessor(processor.tokenizer_json, FAMILIES["bert"], 8)
    assert same.fingerprint == processor.fingerprint
    other = TextProcessor(processor.tokenizer_json, FAMILIES["bert"], 9)
    assert other.fingerprint != processor.fingerprint
    with pytest.raises(InputError, match="`max_tokens` must be more than the 3 special"):
        TextProcessor(processor.tokenizer_json, FAMILIES["bert"], 3)
