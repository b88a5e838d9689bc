"""Rows of text: what is accepted, how it is cut and padded."""

import numpy as np
import pytest
from tiny import make_tiny_trunk

from kzoo.backbones.families import FAMILIES
from kzoo.backbones.text import TextProcessor, check_rows
from kzoo.backbones.tokenizer import tokenizer_from_folder
from kzoo.backbones.virtual_tokens import VirtualTokens
from kzoo.errors import InputError


@pytest.fixture(scope="module")
def processor():
    return TextProcessor(make_tiny_trunk().tokenizer_json, FAMILIES.get("bert"), 8)


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
    same = TextProcessor(processor.tokenizer_json, FAMILIES.get("bert"), 8)
    assert same.fingerprint == processor.fingerprint
    other = TextProcessor(processor.tokenizer_json, FAMILIES.get("bert"), 9)
    assert other.fingerprint != processor.fingerprint
    with pytest.raises(InputError, match="`max_tokens` must be more than the 3 special"):
        TextProcessor(processor.tokenizer_json, FAMILIES.get("bert"), 3)


def byte_level(tmp_path, special):
    """A tokenizer of single letters in GPT-2's file format."""
    import json

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    vocabulary = {token: i for i, token in enumerate([*special, "Ġ", *letters])}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    return tokenizer_from_folder(tmp_path), vocabulary


def test_a_decoder_gets_texts_without_special_tokens(tmp_path):
    json_text, ids = byte_level(tmp_path, ["x1", "<|endoftext|>"])
    processor = TextProcessor(json_text, FAMILIES.get("gpt2"), 8)
    batch = processor.encode(["abc", "a"])
    end = ids["<|endoftext|>"]
    assert batch["token_ids"].tolist() == [[ids["a"], ids["b"], ids["c"]], [ids["a"], end, end]]
    assert batch["padding_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert list(batch) == ["token_ids", "padding_mask"]


@pytest.mark.parametrize(("family", "start"), [("bart", "</s>"), ("t5", "<pad>")])
def test_an_encoder_decoder_gets_the_text_twice(family, start, tmp_path):
    """As transformers shifts `input_ids` to the right where it is given no decoder inputs."""
    json_text, ids = byte_level(tmp_path, ["<s>", "<pad>", "</s>"])
    processor = TextProcessor(json_text, FAMILIES.get(family), 8)
    batch = processor.encode(["ab", "c"])
    pad, opening, closing, begin = ids["<pad>"], ids["<s>"], ids["</s>"], ids[start]
    assert batch["encoder_token_ids"].tolist() == [
        [opening, ids["a"], ids["b"], closing],
        [opening, ids["c"], closing, pad],
    ]
    assert batch["encoder_padding_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert batch["decoder_token_ids"].tolist() == [
        [begin, opening, ids["a"], ids["b"]],
        [begin, opening, ids["c"], pad],
    ]
    assert batch["decoder_padding_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    processor.use_prompts([VirtualTokens(100, 2)])
    prompted = processor.encode(["ab", "c"])
    assert (prompted["encoder_token_ids"] >= 100).sum() == 4
    np.testing.assert_array_equal(prompted["decoder_token_ids"][:, :4], batch["decoder_token_ids"])
    assert prompted["decoder_padding_mask"].sum() == batch["decoder_padding_mask"].sum()


def test_a_family_without_text_is_refused(processor):
    with pytest.raises(InputError, match="vit takes images"):
        TextProcessor(processor.tokenizer_json, FAMILIES.get("vit"), 8)
