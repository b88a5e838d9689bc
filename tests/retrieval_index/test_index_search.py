"""Searching: the answers are those of exact arithmetic."""

import threading

import faiss
import numpy as np
import pytest
from index_helpers import TableEncoder, numbered

import retrieval_index
from retrieval_index import (
    ArgumentError,
    ClosedIndexError,
    Document,
    EncoderError,
    EncoderMismatchError,
    Passage,
    build,
)

QUERIES = [f"question {i}" for i in range(70)]  # more than one batch of queries


@pytest.fixture(scope="module")
def corpus():
    return numbered(500)


@pytest.fixture(scope="module")
def index(corpus, tmp_path_factory):
    with build(corpus, tmp_path_factory.mktemp("s") / "i", TableEncoder()) as opened:
        yield opened


def exact(corpus, queries, k):
    """Returns ids and scores by float64 arithmetic."""
    encoder = TableEncoder()
    scores = encoder.unit(queries) @ encoder.unit([text for _, text in corpus]).T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    ids = [[corpus[i][0] for i in row] for row in order]
    return ids, np.take_along_axis(scores, order, axis=1)


@pytest.mark.parametrize("count", [1, 3, 70])
def test_answers_equal_numpy(index, corpus, count):
    ids, scores = exact(corpus, QUERIES[:count], 10)
    answers = index.search(QUERIES[:count], k=10)
    assert [[p.document_id for p in answer] for answer in answers] == ids
    np.testing.assert_allclose([[p.score for p in a] for a in answers], scores, atol=2e-6)
    assert [p.rank for p in answers[0]] == list(range(1, 11))


def test_passage_is_the_text_it_points_to(index, corpus):
    texts = dict(corpus)
    for passage in index.search("question", k=500):
        assert texts[passage.document_id][passage.start : passage.end] == passage.text
        assert corpus[passage.chunk_id][0] == passage.document_id


def test_single_query_gives_a_single_list(index):
    single = index.search("question 3", k=2)
    assert isinstance(single[0], Passage)
    assert single == index.search(["question 3"], k=2)[0]
    assert index.search([], k=2) == []


def test_k_beyond_the_index_returns_what_exists(index, corpus):
    answer = index.search("question", k=10**12)  # nor is room for them asked of FAISS
    assert sorted(p.document_id for p in answer) == sorted(identifier for identifier, _ in corpus)
    assert len(index) == 500


def test_vectors_are_searched_like_their_texts(index):
    encoder = TableEncoder()
    by_text = index.search(QUERIES, k=5)
    by_vector = index.search_vectors(encoder.encode(QUERIES) * 7.5, k=5)  # scaled by the index
    assert [[p.chunk_id for p in a] for a in by_vector] == [
        [p.chunk_id for p in a] for a in by_text
    ]
    np.testing.assert_allclose(by_vector[0][0].score, by_text[0][0].score, atol=1e-6)
    assert index.search_vectors(np.zeros((0, 24))) == []


@pytest.mark.parametrize(
    "vectors, message",
    [
        (np.zeros(24), r"shape \(n, 24\); received \(24,\)"),
        (np.zeros((2, 23)), r"received \(2, 23\)"),
        (np.full((1, 24), np.nan), "finite"),
        ([["a"]], "array of floats"),
    ],
)
def test_bad_vectors(index, vectors, message):
    with pytest.raises(ArgumentError, match=f"`vectors` must.*{message}"):
        index.search_vectors(vectors)


@pytest.mark.parametrize("k", [0, -1, 2.0, True, None])
def test_bad_k(index, k):
    with pytest.raises(ArgumentError, match="`k` must be"):
        index.search("q", k=k)
    with pytest.raises(ArgumentError, match="`per_document` must be"):
        index.search("q", per_document=0)


@pytest.mark.parametrize("queries", ["", "  \n", ["good", ""], ["good", None], [3]])
def test_bad_queries(index, queries):
    with pytest.raises(ArgumentError, match="`queries` must be texts that are not blank; number"):
        index.search(queries)


def test_normalize_false_scores_plain_products(tmp_path):
    corpus = [("once", "cat"), ("thrice", "cat cat cat")]
    index = build(corpus, tmp_path / "i", "hashing", normalize=False)
    assert [(p.document_id, p.score) for p in index.search("cat")] == [
        ("thrice", 3.0),
        ("once", 1.0),
    ]
    index = build(corpus, tmp_path / "j", "hashing")
    assert [p.score for p in index.search("cat cat")] == pytest.approx([1.0, 1.0])


# --- documents of several chunks -----------------------------------------------------------------


def long_documents(count, chunks):
    return [
        Document(f"d{i}", " ".join(f"w{i}x{j}" for j in range(4 * chunks)), metadata={"number": i})
        for i in range(count)
    ]


def test_per_document_keeps_the_best_of_each(tmp_path):
    documents = long_documents(12, 6)
    index = build(documents, tmp_path / "i", TableEncoder(), chunk_size=4, overlap=0)
    assert len(index) == 72
    everything = index.search("q", k=72)
    for limit in (1, 2):
        expected, seen = [], {}
        for passage in everything:
            seen[passage.document_id] = seen.get(passage.document_id, 0) + 1
            if seen[passage.document_id] <= limit:
                expected.append(passage.chunk_id)
        for k in (1, 5, 12, 100):
            answer = index.search("q", k=k, per_document=limit)
            assert [p.chunk_id for p in answer] == expected[:k]
            assert [p.rank for p in answer] == list(range(1, len(answer) + 1))
    assert everything[0].metadata == {"number": int(everything[0].document_id[1:])}


def test_crowded_out_documents_are_still_found(tmp_path):
    # Every chunk of the crowd beats the one of the quiet document.
    crowd = Document("crowd", " ".join(["cat"] * 400))
    index = build([crowd, ("quiet", "cat dog bird")], tmp_path / "i", "hashing", chunk_size=4)
    assert [p.document_id for p in index.search("cat", k=2)] == ["crowd", "crowd"]
    assert [p.document_id for p in index.search("cat", k=2, per_document=1)] == ["crowd", "quiet"]


def test_odd_texts_come_back_unchanged(tmp_path):
    texts = {
        "nul": "a\x00b cat",
        "emoji": "🙂 cat\u200b",
        "crlf": "cat\r\ndog",
        "quote": "cat'; --",
    }
    index = build(texts.items(), tmp_path / "i", "hashing")
    assert {p.document_id: p.text for p in index.search("cat", k=9)} == texts


# --- opening -------------------------------------------------------------------------------------


def test_opened_again_it_answers_the_same(tmp_path):
    first = build(numbered(50), tmp_path / "i", "hashing")
    again = retrieval_index.open(str(tmp_path / "i"))
    assert again.search("topic 33", k=50) == first.search("topic 33", k=50)
    assert again.info() == first.info()
    assert again.report == first.report


def test_other_encoder_is_refused_naming_both(index):
    other = TableEncoder(fingerprint="table-2")
    with pytest.raises(EncoderMismatchError, match=r"table-1.*received.*table-2"):
        retrieval_index.open(index.path, other)
    other = TableEncoder(dimension=25)
    with pytest.raises(EncoderMismatchError, match=r"dimension 24.*received.*dimension 25"):
        retrieval_index.open(index.path, other)
    by_name = retrieval_index.open(index.path, "hashing")
    with pytest.raises(EncoderMismatchError, match=r"table-1.*hashing-v1:256:0"):
        by_name.search("q")


def test_encoder_without_a_provider_must_be_given(index):
    with pytest.raises(EncoderError, match=r"'table:test'.*open\(path, encoder=\.\.\.\)"):
        retrieval_index.open(index.path).search("q")
    given = retrieval_index.open(index.path, TableEncoder())
    assert given.search("q") == index.search("q")
    assert retrieval_index.open(index.path).search_vectors(np.ones((1, 24)))[0]


def test_closed_index_says_so(tmp_path):
    with build([("a", "A.")], tmp_path / "i", "hashing") as index:
        pass
    index.close()
    with pytest.raises(ClosedIndexError, match="is closed"):
        index.search("a")
    with pytest.raises(ClosedIndexError, match="is closed"):
        index.search_vectors(np.ones((1, 256)))


def test_threads_share_an_index(index):
    expected = index.search(QUERIES, k=7)
    failures = []

    def work():
        for _ in range(10):
            if index.search(QUERIES, k=7) != expected:
                failures.append("differs")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


# --- which FAISS index ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "factory", ["HNSW32", "HNSW16,SQ8", "IVF8,Flat", "IVF8,SQ8", "IVF8,PQ12x4fs", "IVF8,RaBitQfs"]
)
def test_approximate_index_is_measured_and_close_to_exact(tmp_path, corpus, factory):
    index = build(corpus, tmp_path / "i", TableEncoder(), index=factory)
    vectors = index.info()["segments"][0]["vectors"]
    assert vectors["factory"] == factory and "asked for" in vectors["reason"]
    assert vectors["measured"]["recall"] >= 0.9 and vectors["parameters"]
    ids, scores = exact(corpus, QUERIES, 10)
    answers = index.search(QUERIES, k=10)
    hits = 0
    for row, row_scores, answer in zip(ids, scores, answers, strict=True):
        truth = dict(zip(row, row_scores, strict=True))
        for passage in answer:
            if passage.document_id in truth:
                # Lossy codes find the passages; their scores are those of the vectors themselves.
                assert passage.score == pytest.approx(truth[passage.document_id], abs=2e-6)
                hits += 1
    # Tuned on the corpus' own sentences, which are nearer to it than these random directions are.
    assert hits / (10 * len(QUERIES)) >= 0.8
    assert len(index.search("q", k=10_000)) == 500  # whatever the lists that are looked into
    retrieval_index.verify(index.path)


@pytest.mark.parametrize("factory", ["Flat", "HNSW32", "IVF8,PQ12x4fs"])
def test_the_same_input_gives_the_same_answers(tmp_path, corpus, factory):
    answers = [
        build(corpus, tmp_path / str(run), TableEncoder(), index=factory).search(QUERIES, k=10)
        for run in range(2)
    ]
    assert answers[0] == answers[1]


# --- info and report -----------------------------------------------------------------------------


def test_info_and_report_tell_what_a_table_needs(tmp_path):
    index = build(
        long_documents(3, 4), tmp_path / "i", TableEncoder(delay=0.01), chunk_size=4, overlap=0
    )
    info = index.info()
    assert (info["documents"], info["chunks"], len(index)) == (3, 12, 12)
    assert info["encoder"] == {
        "name": "table:test", "fingerprint": "table-1", "dimension": 24, "normalize": True,
    }  # fmt: skip
    assert info["chunker"] == {"method": "tokens", "units": "words", "size": 4, "overlap": 0}
    assert info["lexical"]["analyzer"]["language"] == "en"
    (segment,) = info["segments"]
    assert (segment["documents"], segment["chunks"], segment["deleted_documents"]) == (3, 12, 0)
    assert segment["vectors"]["factory"] == "Flat"
    assert segment["vectors"]["version"] == faiss.__version__
    files = [p for p in index.path.rglob("*") if p.is_file() and p.name != "manifest.json"]
    assert info["size_bytes"] == sum(path.stat().st_size for path in files)
    report = index.report
    assert (report.documents, report.chunks) == (3, 12)
    assert (report.encoded_chunks, report.reused_chunks, report.skipped_total) == (12, 0, 0)
    assert 0 < report.encode_seconds <= report.seconds + 0.001
