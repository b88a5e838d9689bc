"""BM25 against its formula and against bm25s, written at once and in parts."""

import math
import random
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from retrieval_index.errors import ArgumentError, ClosedIndexError
from retrieval_index.lexical import writer as writer_module
from retrieval_index.lexical.analyzer import Analyzer
from retrieval_index.lexical.search import LexicalSegment, search_lexical
from retrieval_index.lexical.writer import LexicalWriter

bm25s = pytest.importorskip("bm25s")
pytest.importorskip("Stemmer")

PLAIN = Analyzer("none")


def passages(count, seed=0):
    """Passages of very different lengths over words of very different frequencies."""
    rng = random.Random(seed)
    words = [f"w{i}" for i in range(60)]
    odds = [1 / (i + 1) for i in range(60)]
    texts = []
    for _ in range(count):
        texts.append(" ".join(rng.choices(words, odds, k=rng.choice([1, 3, 10, 40]))))
    texts[count // 3] = ""
    return texts


QUERIES = ["w1 w5 w40", "w2", "w59 w58 w57 w0", "w3 w3 w3 w9", "unknown w7", "unknown", ""]


def write(folder, texts, analyzer=PLAIN, **options):
    writer = LexicalWriter(folder, analyzer, **options)
    writer.add(texts)
    writer.finish()
    return LexicalSegment(folder, len(texts))


def segments_of(tmp_path, parts, **options):
    return [write(tmp_path / f"s{i}", part, **options) for i, part in enumerate(parts)]


def formula(texts, query, k1=0.9, b=0.4):
    """Lucene's BM25 of every passage, in double precision."""
    counts = [Counter(PLAIN.tokens(text)) for text in texts]
    lengths = [sum(count.values()) for count in counts]
    average = sum(lengths) / len(texts)
    scores = np.zeros(len(texts))
    for term in PLAIN.tokens(query):
        df = sum(term in count for count in counts)
        idf = math.log(1 + (len(texts) - df + 0.5) / (df + 0.5))
        for i, count in enumerate(counts):
            if tf := count[term]:
                scores[i] += idf * tf / (tf + k1 * (1 - b + b * lengths[i] / average))
    return scores


def dense(hits, sizes):
    """Hits as one array of scores over all passages of all segments."""
    starts = np.concatenate([[0], np.cumsum(sizes)])
    scores = np.zeros(starts[-1])
    scores[starts[hits.segments] + hits.numbers] = hits.scores
    return scores


@pytest.mark.parametrize(("k1", "b"), [(0.9, 0.4), (1.5, 0.75), (0.0, 0.0), (2.0, 1.0), (1, 0)])
@pytest.mark.parametrize("cuts", [[], [100], [1, 2, 150]])
@pytest.mark.parametrize("block_size", [1000, 23])
def test_scores_are_those_of_the_formula_however_the_collection_was_cut(
    tmp_path, k1, b, cuts, block_size
):
    texts = passages(200)
    edges = [0, *cuts, len(texts)]
    parts = [texts[a:z] for a, z in pairwise(edges)]
    segments = segments_of(tmp_path, parts, k1=k1, b=b, block_size=block_size)
    for query, hits in zip(QUERIES, search_lexical(segments, QUERIES, PLAIN, 200), strict=True):
        expected = formula(texts, query, k1, b)
        np.testing.assert_allclose(
            dense(hits, [len(part) for part in parts]), expected, rtol=2e-5, atol=1e-6
        )
        assert len(hits.scores) == np.count_nonzero(expected)


def test_one_block_gives_the_scores_of_bm25s(tmp_path):
    texts = passages(300, seed=1)
    peer = bm25s.BM25(k1=0.9, b=0.4, method="lucene")
    peer.index([PLAIN.tokens(text) for text in texts], show_progress=False)
    segment = write(tmp_path / "s", texts)
    queries = QUERIES[:5]  # bm25s refuses a query without terms
    for query, hits in zip(queries, search_lexical([segment], queries, PLAIN, 300), strict=True):
        expected = peer.get_scores(PLAIN.tokens(query))
        np.testing.assert_allclose(dense(hits, [300]), expected, atol=1e-5, rtol=0)


def test_a_block_is_an_index_that_bm25s_opens(tmp_path):
    texts = passages(100, seed=2)
    segment = write(tmp_path / "s", texts)
    peer = bm25s.BM25.load(tmp_path / "s" / "block-0000", mmap=True, allow_pickle=False)
    (hits,) = search_lexical([segment], ["w1 w5"], PLAIN, 100)
    np.testing.assert_allclose(dense(hits, [100]), peer.get_scores(["w1", "w5"]), atol=1e-6)


def test_a_word_that_a_query_repeats_counts_as_often(tmp_path):
    segment = write(tmp_path / "s", passages(100))
    once, thrice = search_lexical([segment], ["w3", "w3 w3 w3"], PLAIN, 100)
    np.testing.assert_allclose(thrice.scores, 3 * once.scores, rtol=1e-6)
    np.testing.assert_array_equal(thrice.numbers, once.numbers)


def test_the_best_k_are_the_first_k_of_all(tmp_path):
    segments = segments_of(tmp_path, [passages(150, 3), passages(60, 4)], block_size=40)
    full = search_lexical(segments, QUERIES, PLAIN, 1000)
    for k in (1, 2, 7, 50):
        for short, long in zip(search_lexical(segments, QUERIES, PLAIN, k), full, strict=True):
            for one, other in zip(short, long, strict=True):
                np.testing.assert_array_equal(one, other[:k])
    for hits in full:
        order = list(zip(-hits.scores, hits.segments, hits.numbers, strict=True))
        assert order == sorted(order)
        assert hits.scores.dtype == np.float32
        assert hits.segments.dtype == hits.numbers.dtype == np.int64


def test_equal_scores_come_in_the_order_of_segment_and_number(tmp_path):
    texts = ["same words here"] * 30
    segments = segments_of(tmp_path, [texts[:12], texts[12:]], block_size=5)
    (hits,) = search_lexical(segments, ["words"], PLAIN, 17)
    assert list(zip(hits.segments, hits.numbers, strict=True)) == [
        *((0, n) for n in range(12)),
        *((1, n) for n in range(5)),
    ]


def test_only_allowed_passages_are_hits_and_their_scores_do_not_change(tmp_path):
    segments = segments_of(tmp_path, [passages(80, 5), passages(50, 6)], block_size=33)
    rng = np.random.default_rng(0)
    mask = rng.random(80) < 0.3
    (free,) = search_lexical(segments, ["w1 w2"], PLAIN, 1000)
    (bound,) = search_lexical(segments, ["w1 w2"], PLAIN, 1000, [mask, None])
    keep = (free.segments == 1) | mask[np.minimum(free.numbers, 79)]
    assert 0 < keep.sum() < len(keep)
    for one, other in zip(bound, free, strict=True):
        np.testing.assert_array_equal(one, other[keep])
    # As many as asked for come back when they exist: the filter is not applied afterwards.
    (few,) = search_lexical(segments, ["w1 w2"], PLAIN, 5, [mask, np.zeros(50, bool)])
    assert len(few.scores) == 5 and not few.segments.any() and mask[few.numbers].all()


def test_a_mask_of_nothing_and_a_list_of_no_segments_give_no_hits(tmp_path):
    segment = write(tmp_path / "s", passages(20))
    (hits,) = search_lexical([segment], ["w1"], PLAIN, 5, [np.zeros(20, bool)])
    assert [len(part) for part in hits] == [0, 0, 0]
    (hits,) = search_lexical([], ["w1"], PLAIN, 5)
    assert [len(part) for part in hits] == [0, 0, 0]
    assert search_lexical([segment], [], PLAIN, 5) == []


def test_frequencies_count_passages_over_all_blocks(tmp_path):
    texts = ["red red green", "green", "blue", "", "red"]
    segment = write(tmp_path / "s", texts, block_size=2)
    assert segment.frequencies(["red", "green", "blue", "white"]).tolist() == [2, 2, 1, 0]
    assert (segment.passages, segment.tokens, len(segment.blocks)) == (5, 6, 3)


def test_passages_can_come_one_by_one_and_from_a_generator(tmp_path):
    texts = passages(50)
    whole = write(tmp_path / "whole", texts, block_size=7)
    writer = LexicalWriter(tmp_path / "parts", PLAIN, block_size=7)
    for text in texts[:20]:
        writer.add([text])
    writer.add(text for text in texts[20:])
    files = writer.finish()
    found = {
        str(path.relative_to(tmp_path / "parts"))
        for path in (tmp_path / "parts").rglob("*")
        if path.is_file()
    }
    assert set(files) == found and files == sorted(files)
    assert len(whole.blocks) == 8
    for name in files:
        one, other = (tmp_path / folder / name for folder in ("whole", "parts"))
        assert one.read_bytes() == other.read_bytes()


def test_a_block_closes_before_its_terms_outgrow_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(writer_module, "MAX_BLOCK_TERMS", 10)
    texts = ["aa bb cc dd", "aa bb cc dd", "aa bb cc dd", " ".join(["ee"] * 25), "ff"]
    segment = write(tmp_path / "s", texts)
    assert [block.passages for block in segment.blocks] == [2, 1, 1, 1]
    (hits,) = search_lexical([segment], ["ee aa"], PLAIN, 5)
    np.testing.assert_allclose(dense(hits, [5]), formula(texts, "ee aa"), rtol=1e-5)


@pytest.mark.filterwarnings("error")
def test_collections_without_a_term_or_a_passage_can_be_written_and_searched(tmp_path):
    for name, texts in (("none", []), ("empty", ["", "...", ""])):
        segment = write(tmp_path / name, texts)
        segment.verify()
        assert (segment.passages, segment.tokens) == (len(texts), 0)
        (hits,) = search_lexical([segment], ["w1"], PLAIN, 3)
        assert len(hits.scores) == 0
    both = [LexicalSegment(tmp_path / "empty", 3), write(tmp_path / "full", ["w1 w2", "w1"])]
    (hits,) = search_lexical(both, ["w1"], PLAIN, 3)
    np.testing.assert_allclose(
        dense(hits, [3, 2]), formula(["", "...", "", "w1 w2", "w1"], "w1"), rtol=1e-5
    )


def test_every_file_is_forced_to_the_disk(tmp_path, monkeypatch):
    import os

    synced = set()
    monkeypatch.setattr(os, "fsync", lambda fd: synced.add(os.fstat(fd).st_ino))
    writer = LexicalWriter(tmp_path / "s", PLAIN, block_size=2)
    writer.add(["aa", "bb", "cc"])
    names = writer.finish()
    folder = tmp_path / "s"
    for path in [
        folder,
        *(folder / n for n in names),
        *(p for p in folder.iterdir() if p.is_dir()),
    ]:
        assert path.stat().st_ino in synced, path


def test_segments_that_do_not_fit_together_are_refused(tmp_path):
    one = write(tmp_path / "a", ["aa"])
    other = write(tmp_path / "b", ["aa"], k1=1.2)
    with pytest.raises(ArgumentError, match=r"k1 and b.*0\.9.*1\.2"):
        search_lexical([one, other], ["aa"], PLAIN, 1)
    with pytest.raises(ArgumentError, match=r"`analyzer`.*'en'.*'none'"):
        search_lexical([one], ["aa"], Analyzer(), 1)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"k": 0}, "`k`"),
        ({"queries": "aa"}, "`queries`"),
        ({"allowed": []}, "`allowed`"),
        ({"allowed": [np.ones(2, bool)]}, "`allowed`"),
        ({"allowed": [np.ones(1, np.int8)]}, "`allowed`"),
        ({"allowed": [[True]]}, "`allowed`"),
    ],
)
def test_wrong_arguments_of_a_search_are_named(tmp_path, arguments, name):
    segment = write(tmp_path / "s", ["aa"])
    with pytest.raises(ArgumentError, match=name):
        search_lexical(
            **{"segments": [segment], "queries": ["aa"], "analyzer": PLAIN, "k": 1, **arguments}
        )


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"k1": -1}, "`k1`"),
        ({"k1": math.inf}, "`k1`"),
        ({"k1": math.nan}, "`k1`"),
        ({"k1": "1"}, "`k1`"),
        ({"b": 1.5}, "`b`"),
        ({"block_size": 0}, "`block_size`"),
    ],
)
def test_wrong_arguments_of_a_writer_are_named(tmp_path, options, name):
    with pytest.raises(ArgumentError, match=name):
        LexicalWriter(tmp_path / "s", PLAIN, **options)


def test_a_writer_takes_an_empty_folder_once(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "x").touch()
    with pytest.raises(ArgumentError, match="`folder`"):
        LexicalWriter(tmp_path / "s", PLAIN)
    writer = LexicalWriter(tmp_path / "t", PLAIN)
    with pytest.raises(ArgumentError, match="`texts`"):
        writer.add("one string")
    with pytest.raises(ArgumentError, match="`text`"):
        writer.add([None])
    writer.finish()
    with pytest.raises(ClosedIndexError):
        writer.add(["aa"])
    with pytest.raises(ClosedIndexError):
        writer.finish()
