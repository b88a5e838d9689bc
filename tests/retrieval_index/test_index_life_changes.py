"""Single changes of an index: what they do, what they count, and what they leave on the disk."""

import numpy as np
import pytest
from index_helpers import TableEncoder, numbered
from life_model import files, ids, search

import retrieval_index
from retrieval_index import (
    ArgumentError,
    Document,
    DocumentNotFoundError,
    RetrievalIndexWarning,
    build,
)

QUERIES = ["Document number 7", "topic 33", "number 12 speaks of topic 5"]


@pytest.fixture
def path(tmp_path):
    build(numbered(20), tmp_path / "i", TableEncoder()).close()
    return tmp_path / "i"


@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
def test_built_at_once_or_by_additions(tmp_path, mode):
    corpus = numbered(60)
    build(corpus, tmp_path / "once", TableEncoder()).close()
    build(corpus[:10], tmp_path / "parts", TableEncoder()).close()
    for first, last in ((10, 11), (11, 40), (40, 60)):
        report = retrieval_index.add(tmp_path / "parts", corpus[first:last], TableEncoder())
        assert (report.documents, report.encoded_chunks) == (last - first, last - first)
    once, parts = (search(tmp_path / n, QUERIES, k=60, mode=mode) for n in ("once", "parts"))
    for one, other in zip(once, parts, strict=True):
        assert len(one) == len(other) > 0
        scores = {hit.document_id: hit.score for hit in one}
        # Equal scores may stand in another order; fused ones differ where the order does.
        if mode != "hybrid":
            np.testing.assert_allclose(
                [hit.score for hit in other], [hit.score for hit in one], atol=1e-5
            )
            for hit in other:
                assert hit.score == pytest.approx(scores[hit.document_id], abs=1e-5)
        assert set(ids(one)) == set(ids(other))


def test_update_counts_and_encodes_only_what_changed(path):
    encoder = TableEncoder()
    new = [*numbered(5), ("d7", "A new text for seven."), ("n1", "An added one.")]
    report = retrieval_index.update(path, new, encoder)
    assert (report.documents, report.replaced, report.unchanged) == (2, 1, 5)
    assert report.encoded_chunks == encoder.encoded == 2
    with retrieval_index.open(path, TableEncoder()) as index:
        assert (index.info()["documents"], len(index), index.version) == (21, 21, 2)
        assert index.document("d7").text == "A new text for seven."
        assert ids(index.search("A new text for seven.", k=1)) == ["d7"]
    before = (path / "manifest.json").read_bytes()
    report = retrieval_index.update(path, new, encoder)
    assert (report.documents, report.unchanged, encoder.encoded) == (0, 7, 2)
    assert (path / "manifest.json").read_bytes() == before


@pytest.mark.parametrize("change", ["text", "title", "metadata"])
def test_update_notices_every_change(tmp_path, change):
    old = Document("a", "Text.", "Title", {"n": 1})
    new = {"text": ("Other.", "Title", {"n": 1}), "title": ("Text.", "Other", {"n": 1}),
           "metadata": ("Text.", "Title", {"n": 2})}[change]  # fmt: skip
    build([old], tmp_path / "i", TableEncoder()).close()
    report = retrieval_index.update(tmp_path / "i", [Document("a", *new)], TableEncoder())
    assert (report.replaced, report.unchanged) == (1, 0)
    with retrieval_index.open(tmp_path / "i") as index:
        assert list(index.documents()) == [Document("a", *new)]


def test_of_one_id_in_an_update_the_first_counts(path):
    same = numbered(20)[3]
    with pytest.warns(RetrievalIndexWarning, match="duplicate_id 1"):
        report = retrieval_index.update(path, [same, ("d3", "Later.")], TableEncoder())
    assert (report.documents, report.unchanged) == (0, 1)
    with pytest.warns(RetrievalIndexWarning, match="duplicate_id 1"):
        report = retrieval_index.update(path, [("d3", "First."), same], TableEncoder())
    assert (report.documents, report.replaced, report.unchanged) == (1, 1, 0)
    with retrieval_index.open(path) as index:
        assert index.document("d3").text == "First."


def test_add_passes_over_ids_that_are_there(path):
    encoder = TableEncoder()
    with pytest.warns(RetrievalIndexWarning, match="existing_id 1"):
        report = retrieval_index.add(path, [("d3", "Other."), ("n", "New.")], encoder)
    assert (report.documents, report.skipped, encoder.encoded) == (1, {"existing_id": 1}, 1)
    with pytest.raises(retrieval_index.CorpusError, match="holds a document with the id 'd3'"):
        retrieval_index.add(path, [("d3", "Other.")], encoder, strict=True)
    assert not list(path.parent.glob(".*"))


def test_texts_that_repeat(tmp_path):
    corpus = [("a", "Same."), ("b", "Same."), ("c", "Other.")]
    index = build(corpus, tmp_path / "keep", TableEncoder())
    assert (index.info()["documents"], index.report.repeated_texts) == (3, 1)
    with pytest.warns(RetrievalIndexWarning, match="duplicate_text 1"):
        index = build(corpus, tmp_path / "skip", TableEncoder(), duplicates="skip")
    assert (index.info()["documents"], index.report.repeated_texts) == (2, 1)
    assert sorted(d.id for d in index.documents()) == ["a", "c"]


def test_delete_by_id_and_by_filter(tmp_path):
    corpus = [Document(f"d{i}", f"Text {i}.", "", {"n": i}) for i in range(12)]
    path = tmp_path / "i"
    build(corpus, path, TableEncoder()).close()
    assert retrieval_index.delete(path, "d1") == 1
    assert retrieval_index.delete(path, ["d2", "d2", "d3"]) == 2
    assert retrieval_index.delete(path, where={"n": {"$in": [3, 4, 5]}}) == 2
    for mode in ("dense", "lexical", "hybrid"):
        assert set(ids(search(path, "Text", k=50, mode=mode))) == {
            f"d{i}" for i in (0, 6, 7, 8, 9, 10, 11)
        }
    with retrieval_index.open(path) as index:
        assert index.document("d4") is None and len(index) == 7


def test_missing_ids_delete_nothing_unless_ignored(path):
    before = (path / "manifest.json").read_bytes()
    with pytest.raises(DocumentNotFoundError, match=r"no document x, y\. Nothing was deleted"):
        retrieval_index.delete(path, ["d1", "x", "y"])
    assert retrieval_index.delete(path, ["x"], missing="ignore") == 0
    assert retrieval_index.delete(path, where={"n": 1}) == 0
    assert (path / "manifest.json").read_bytes() == before
    assert retrieval_index.delete(path, ["d1", "x"], missing="ignore") == 1
    with pytest.raises(DocumentNotFoundError):
        retrieval_index.delete(path, "d1")
    for bad in ({}, {"ids": "d1", "where": {"n": 1}}, {"ids": [3]}, {"ids": "d2", "missing": "x"}):
        with pytest.raises(ArgumentError):
            retrieval_index.delete(path, **bad)


def test_empty_index_lives_on(path, tmp_path):
    assert retrieval_index.delete(path, [f"d{i}" for i in range(20)]) == 20
    assert files(path) == ["manifest.json"]
    assert retrieval_index.verify(path)["documents"] == 0
    for mode in ("dense", "lexical", "hybrid"):
        assert search(path, "Document", mode=mode) == []
    assert retrieval_index.compact(path) is False
    assert retrieval_index.export(path, tmp_path / "x")["passages"] == 0
    assert np.load(tmp_path / "x" / "vectors.npy").shape == (0, 24)
    retrieval_index.add(path, [("d3", "Again.")], TableEncoder())
    assert ids(search(path, "Again.")) == ["d3"]


def test_deleted_then_added_again(path):
    retrieval_index.delete(path, "d3")
    report = retrieval_index.add(path, [("d3", "Another third.")], TableEncoder())
    assert report.documents == 1
    hits = search(path, "Another third.", k=50)
    assert hits[0].text == "Another third." and ids(hits).count("d3") == 1
    retrieval_index.verify(path)


def test_few_documents_for_a_large_kind_of_index(tmp_path):
    # Two documents cannot fill eight inverted lists: they get an index that fits them.
    path = tmp_path / "i"
    build(numbered(40), path, TableEncoder(), index="IVF8,SQ8").close()
    retrieval_index.add(path, [("x", "Two."), ("y", "Few.")], TableEncoder())
    with retrieval_index.open(path, TableEncoder()) as index:
        kinds = [segment["vectors"]["factory"] for segment in index.info()["segments"]]
        assert kinds == ["IVF8,SQ8", "Flat"]
        assert ids(index.search("Few.", k=1)) == ["y"]
    retrieval_index.delete(path, [f"d{i}" for i in range(38)])
    assert retrieval_index.compact(path)
    assert sorted(ids(search(path, "Few.", k=9))) == ["d38", "d39", "x", "y"]
    with pytest.raises(ArgumentError, match="8 lists for 2 vectors"):
        build(numbered(2), tmp_path / "j", TableEncoder(), index="IVF8,SQ8")


# --- compaction ----------------------------------------------------------------------------------


@pytest.mark.parametrize("factory", ["Flat", "SQ8"])
def test_compaction_erases_deleted_text(tmp_path, factory):
    path = tmp_path / "i"
    corpus = [*numbered(12), ("secret", "The password is xylophone.")]
    build(corpus, path, TableEncoder(), index=factory).close()
    retrieval_index.delete(path, "secret")
    assert found_in_bytes(path, b"xylophone")  # marked only, as the documentation says
    assert retrieval_index.compact(path)
    assert not found_in_bytes(path, b"xylophone") and not found_in_bytes(path, b"secret")
    assert not found_in_bytes(path, b"xylophon")  # nor its stem among the words
    vector = TableEncoder().unit(["The password is xylophone."])[0].astype("<f4").tobytes()
    assert not found_in_bytes(path, vector)
    assert retrieval_index.compact(path) is False


def found_in_bytes(path, needle):
    return any(needle in p.read_bytes() for p in path.rglob("*") if p.is_file())


def test_spans_and_headings_survive_compaction(tmp_path):
    text = "# One\n\nAlpha beta gamma.\n\n## Two\n\nDelta epsilon zeta eta theta.\n"
    corpus = [Document(f"d{i}", text.replace("Alpha", f"Alpha{i}"), f"T{i}") for i in range(4)]
    path = tmp_path / "i"
    build(corpus[:2], path, TableEncoder(), chunking="headings", chunk_size=9).close()
    retrieval_index.add(path, corpus[2:], TableEncoder())
    retrieval_index.delete(path, "d1")

    def passages():
        with retrieval_index.open(path) as index:
            blocks = list(index.passages())
            rows = [
                (p.document_id, p.start, p.end, p.heading, p.text) for b, _ in blocks for p in b
            ]
            return rows, np.concatenate([vectors for _, vectors in blocks])

    before, vectors = passages()
    assert any("One > Two" in row[3] for row in before)
    retrieval_index.compact(path)
    after, again = passages()
    assert after == before
    np.testing.assert_array_equal(again, vectors)
    texts = {d.id: d.text for d in corpus}
    assert all(texts[name][start:end] == part for name, start, end, _, part in after)


def test_compaction_of_a_damaged_index_is_refused(path):
    retrieval_index.delete(path, "d1")
    vectors = next(path.rglob("vectors.faiss"))
    data = bytearray(vectors.read_bytes())
    data[-1] ^= 1
    vectors.write_bytes(data)
    with pytest.raises(retrieval_index.CorruptIndexError, match=r"vectors\.faiss has SHA-256"):
        retrieval_index.compact(path)
