"""Readers: what becomes a document, and what becomes of everything else."""

import gzip
import itertools
import json
import warnings

import pytest

from retrieval_index import CorpusError, Document, RetrievalIndexWarning, build
from retrieval_index.corpus.document import MAX_EXAMPLES, ProblemLog, derived_id
from retrieval_index.corpus.opening import open_corpus


def read(corpus, strict=False):
    log = ProblemLog(strict)
    return [entry.document for entry in open_corpus(corpus).read(log)], log


def write_lines(path, *lines):
    data = b"\n".join(
        line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines
    )
    path.write_bytes(data + b"\n")
    return path


GOOD = {"_id": "4983", "title": "A title", "text": "Some text.", "metadata": {"year": 1999}}


def test_beir_and_plain_fields(tmp_path):
    path = write_lines(
        tmp_path / "c.jsonl", GOOD, {"id": 7, "text": "Seven.", "url": "x"}, {"text": "Nameless."}
    )
    documents, log = read(path)
    assert documents == [
        Document("4983", "Some text.", "A title", {"year": 1999}),
        Document("7", "Seven.", "", {"url": "x"}),
        Document(derived_id("", "Nameless."), "Nameless.", "", {}),
    ]
    assert not log.skipped


def test_derived_id_is_stable():
    # A change of this value renames documents in every index that is built again.
    assert derived_id("", "Nameless.") == "761aadd16e1214a1"
    assert derived_id("a", "b") != derived_id("b", "a")


# bytes of the line, reason, part of the detail
BAD_LINES = [
    (b'{"id": "x", "text": ', "not_json", "not JSON"),
    (b"[" * 100_000, "not_json", "not JSON"),
    (b'["a", "b"]', "not_an_object", "not list"),
    (b"null", "not_an_object", "not NoneType"),
    (b'{"id": "x"}', "no_text", "received: nothing"),
    (b'{"id": "x", "text": 3}', "no_text", "received: 3"),
    (b'{"id": "x", "text": " \\n\\t"}', "blank", "both blank"),
    (b'{"id": "x", "text": "caf\xe9"}', "not_utf8", "byte 0xe9 at 24"),
    (b'{"id": "x", "text": "\\ud800"}', "not_utf8", "lone surrogate"),
    (b'{"id": ["x"], "text": "t"}', "bad_id", "received: ['x']"),
    (b'{"id": "x", "text": "t", "title": 5}', "bad_title", "received: 5"),
    (b'{"id": "x", "text": "t", "metadata": 5}', "bad_metadata", "received: 5"),
    (b'{"id": "x", "text": "t", "metadata": {"a": NaN}}', "bad_metadata", "no JSON"),
]


@pytest.mark.parametrize("line, reason, detail", BAD_LINES)
def test_bad_line_is_counted_with_its_place(tmp_path, line, reason, detail):
    first = json.dumps(GOOD).encode()
    path = write_lines(tmp_path / "c.jsonl", first, line, {"id": "last", "text": "Still read."})
    documents, log = read(path)
    assert [document.id for document in documents] == ["4983", "last"]
    assert log.skipped == {reason: 1}
    assert log.examples[0].where == f"c.jsonl line 2 (byte {len(first) + 1})"
    assert detail in log.examples[0].detail
    with pytest.raises(
        CorpusError, match=r"unusable entry at c\.jsonl line 2 \(byte \d+\).*strict"
    ):
        read(path, strict=True)


def test_examples_are_bounded_but_counts_are_not():
    _, log = read([3] * (MAX_EXAMPLES + 5))
    assert log.skipped == {"not_a_record": MAX_EXAMPLES + 5}
    assert len(log.examples) == MAX_EXAMPLES


def test_byte_order_mark_blank_lines_and_crlf(tmp_path):
    line = json.dumps(GOOD).encode()
    path = tmp_path / "c.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + line + b"\r\n\r\n  \n" + line.replace(b"4983", b"5"))
    documents, _ = read(path, strict=True)
    assert [document.id for document in documents] == ["4983", "5"]


def test_gzip_is_read_and_a_cut_stream_refused(tmp_path):
    lines = b"".join(json.dumps({"id": i, "text": f"t{i}"}).encode() + b"\n" for i in range(5000))
    path = tmp_path / "c.jsonl.gz"
    path.write_bytes(gzip.compress(lines))
    assert len(read(path)[0]) == 5000
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(CorpusError, match="cannot be read to its end"):
        read(path)


def test_file_is_read_as_a_stream(tmp_path):
    path = write_lines(tmp_path / "c.jsonl", GOOD, b"broken", {"id": "z", "text": "Zed."})
    log = ProblemLog()
    entries = open_corpus(path).read(log)
    assert next(entries).document.id == "4983"
    assert not log.skipped  # the second line was not looked at yet


def test_iterable_forms():
    documents, _ = read([Document("a", "A."), {"id": "b", "text": "B."}, ("c", "C."), "D."])
    assert [(d.id, d.text) for d in documents] == [
        ("a", "A."), ("b", "B."), ("c", "C."), (derived_id("", "D."), "D."),
    ]  # fmt: skip


def test_endless_iterable_is_not_collected():
    endless = ({"id": i, "text": "t"} for i in itertools.count())
    entries = open_corpus(endless).read(ProblemLog())
    assert [next(entries).document.id for _ in range(3)] == ["0", "1", "2"]


def test_bad_items_carry_their_number():
    _, log = read([("a", "A."), 5, ("a", "b", "c")])
    assert [problem.where for problem in log.examples] == ["item 2", "item 3"]


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "notes"
    for name, text in {
        "b.txt": "Bee.",
        "a/z.md": "Intro\n\n## The *head* ##\n\nBody.",
        "a/y.TXT": "Why.",
        "A.md": "No heading.",
        "picture.png": "?",
        ".hidden.txt": "?",
        ".git/x.txt": "?",
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_folder_is_sorted_and_recursive(folder):
    documents, log = read(folder, strict=True)
    assert [(d.id, d.title) for d in documents] == [
        ("A.md", ""), ("b.txt", ""), ("a/y.TXT", ""), ("a/z.md", "The *head*"),
    ]  # fmt: skip
    assert documents[1] == Document("b.txt", "Bee.", "", {"path": "b.txt"})
    assert log.ignored_files == {".png": 1}


def test_folder_file_that_is_not_utf8(folder):
    (folder / "c.txt").write_bytes(b"caf\xe9 au lait")
    documents, log = read(folder)
    assert len(documents) == 4
    assert log.examples[0].where == "c.txt"
    assert log.examples[0].detail == "byte 0xe9 at 3 is not UTF-8"
    with pytest.raises(CorpusError, match=r"c\.txt"):
        read(folder, strict=True)


@pytest.mark.parametrize("corpus", [5, None, b"bytes", {"id": "a", "text": "A."}])
def test_not_a_corpus(corpus):
    with pytest.raises(CorpusError, match=r"`corpus` must be a \.jsonl file"):
        open_corpus(corpus)


def test_wrong_paths(tmp_path):
    with pytest.raises(CorpusError, match="there is nothing at"):
        open_corpus(tmp_path / "absent.jsonl")
    (tmp_path / "t.docx").write_text("id,text\n")
    with pytest.raises(CorpusError, match=r"received the file .*t\.docx"):
        open_corpus(str(tmp_path / "t.docx"))


# --- through build -------------------------------------------------------------------------------


def test_problems_reach_report_and_one_warning(tmp_path):
    path = write_lines(tmp_path / "c.jsonl", GOOD, b"no json", b"nor this", GOOD, {"id": "e"})
    with pytest.warns(RetrievalIndexWarning, match="4 entries passed over") as caught:
        index = build(path, tmp_path / "i", "hashing")
    assert len(caught) == 1
    expected = {"not_json": 2, "duplicate_id": 1, "no_text": 1}
    assert index.report.skipped == expected == index.info()["skipped"]
    assert index.report.skipped_total == 4
    assert [problem.reason for problem in index.report.problems] == [
        "not_json", "not_json", "duplicate_id", "no_text",
    ]  # fmt: skip
    assert "line 4 (byte" in index.report.problems[2].where


def test_first_of_a_repeated_id_wins(tmp_path):
    with pytest.warns(RetrievalIndexWarning, match="duplicate_id 1"):
        index = build([("a", "The first."), ("a", "The second.")], tmp_path / "i", "hashing")
    assert [p.text for p in index.search("second", k=9)] == ["The first."]
    with pytest.raises(CorpusError, match="item 2: the id 'a' was used before"):
        build([("a", "The first."), ("a", "The second.")], tmp_path / "j", "hashing", strict=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["i"]


def test_clean_corpus_gives_no_warning(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build([("a", "A.")], tmp_path / "i", "hashing")


def empty_folder(tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "picture.png").write_text("?")
    return tmp_path / "c"


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda path: [], "items of a list has none"),
        (lambda path: write_lines(path / "c.jsonl", b""), r"c\.jsonl has none"),
        (lambda path: write_lines(path / "c.jsonl", b"x", b"y"), r"not_json 2.*line 1 \(byte 0\)"),
        (empty_folder, r"Files of other kinds: 1 \.png"),
    ],
)
def test_no_document_writes_nothing(tmp_path, make, message):
    corpus = make(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(CorpusError, match=f"at least one document.*{message}"):
        build(corpus, tmp_path / "i", "hashing")
    assert sorted(tmp_path.iterdir()) == before
