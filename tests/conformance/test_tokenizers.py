"""Token ids equal HF's for every text, single and in pairs, with truncation."""

import numpy as np
import pytest
from texts import PAIRS, TEXTS

from kzoo.backbones.families import FAMILIES
from kzoo.backbones.text import TextProcessor
from kzoo.backbones.tokenizer import tokenizer_from_folder, tokenizer_from_hub

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def reference(minilm_folder):
    return transformers.AutoTokenizer.from_pretrained(str(minilm_folder))


@pytest.fixture(scope="module")
def vocab_only(minilm_folder, tmp_path_factory):
    """An older checkpoint's folder: vocab.txt and settings, no tokenizer.json."""
    folder = tmp_path_factory.mktemp("vocab")
    for name in ("vocab.txt", "tokenizer_config.json"):
        (folder / name).write_bytes((minilm_folder / name).read_bytes())
    return folder


def rows(processor, texts):
    encoded = processor.tokenize(texts)
    cuts = encoded.offsets[1:-1]
    return np.split(encoded.ids, cuts), np.split(encoded.segments, cuts)


@pytest.mark.parametrize("max_tokens", [8, 64, 256, 512])
@pytest.mark.parametrize("kind", ["tokenizer.json", "vocab.txt"])
def test_ids_equal_hf(kind, max_tokens, reference, minilm_folder, vocab_only):
    folder = minilm_folder if kind == "tokenizer.json" else vocab_only
    ours = TextProcessor(tokenizer_from_folder(folder), FAMILIES.get("bert"), max_tokens)
    for inputs in (TEXTS, PAIRS):
        ids, segments = rows(ours, inputs)
        first = [row if isinstance(row, str) else row[0] for row in inputs]
        second = None if isinstance(inputs[0], str) else [row[1] for row in inputs]
        theirs = reference(first, second, truncation="longest_first", max_length=max_tokens)
        for i, text in enumerate(inputs):
            assert ids[i].tolist() == theirs["input_ids"][i], (text, max_tokens)
            assert segments[i].tolist() == theirs["token_type_ids"][i], (text, max_tokens)


def test_a_vocabulary_may_have_strange_lines(vocab_only, tmp_path):
    """U+2028 is a token of bert-base-chinese, and a byte-order mark none of anybody's."""
    tokens = (vocab_only / "vocab.txt").read_text("utf-8").removesuffix("\n").split("\n")
    tokens[5] = "\u2028"  # an unused one
    for mark, end in (("", "\n"), ("\ufeff", "\r\n")):
        text = mark + "".join(f"{token}{end}" for token in tokens)
        (tmp_path / "vocab.txt").write_bytes(text.encode())
        ours = TextProcessor(tokenizer_from_folder(tmp_path), FAMILIES.get("bert"), 16)
        assert ours.tokenize(["hello world"]).ids.tolist() == [101, 7592, 2088, 102]


def test_padded_batch_equals_hf(reference, minilm_folder):
    ours = TextProcessor(tokenizer_from_folder(minilm_folder), FAMILIES.get("bert"), 256)
    batch = ours.encode(TEXTS)
    theirs = reference(TEXTS, truncation=True, max_length=256, padding=True, return_tensors="np")
    np.testing.assert_array_equal(batch["token_ids"], theirs["input_ids"])
    np.testing.assert_array_equal(batch["segment_ids"], theirs["token_type_ids"])
    np.testing.assert_array_equal(batch["padding_mask"], theirs["attention_mask"])
    assert batch["token_ids"].dtype == np.int32


@pytest.mark.parametrize("lowercase", [True, False])
def test_kerashub_vocabulary_gives_hf_ids(lowercase, minilm_folder):
    keras_hub = pytest.importorskip("keras_hub")
    hub = keras_hub.models.BertTokenizer(str(minilm_folder / "vocab.txt"), lowercase=lowercase)
    ours = TextProcessor(tokenizer_from_hub(hub, FAMILIES.get("bert")), FAMILIES.get("bert"), 512)
    theirs = transformers.BertTokenizer(
        vocab=str(minilm_folder / "vocab.txt"), do_lower_case=lowercase
    )
    ids, _ = rows(ours, TEXTS)
    for i, text in enumerate(TEXTS):
        expected = theirs(text, truncation=True, max_length=512)["input_ids"]
        assert ids[i].tolist() == expected, text


def test_roberta_ids_equal_hf(tmp_path):
    """A byte-level BPE trained on the test's own texts, from vocab.json + merges.txt."""
    import tokenizers

    trained = tokenizers.ByteLevelBPETokenizer()
    trained.train_from_iterator(
        TEXTS, vocab_size=500, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    )
    trained.save_model(str(tmp_path))
    family = FAMILIES.get("roberta")
    ours = TextProcessor(tokenizer_from_folder(tmp_path), family, 64)
    theirs = transformers.RobertaTokenizer(
        vocab=str(tmp_path / "vocab.json"), merges=str(tmp_path / "merges.txt")
    )
    for inputs in (TEXTS, PAIRS):
        ids, _ = rows(ours, inputs)
        # As a batch: a single call of transformers drops an empty second text.
        columns = [inputs] if isinstance(inputs[0], str) else map(list, zip(*inputs, strict=True))
        expected = theirs(*columns, truncation="longest_first", max_length=64)["input_ids"]
        for i, row in enumerate(inputs):
            assert ids[i].tolist() == expected[i], row
    assert ours.pad_id == 1
