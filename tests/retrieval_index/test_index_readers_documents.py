"""Files that are one document: text, Markdown, PDF; and folders of them."""

import gzip
import sys

import pytest
from corpus_samples import put, read, samples

from retrieval_index.corpus.document import Document
from retrieval_index.errors import CorpusError


def one(path, data, **options):
    """Returns text and title of a file."""
    documents, log = read(put(path, data), **options)
    assert not log.skipped, log.summary()
    (document,) = documents
    assert document.id == path.name and document.metadata == {"path": path.name}
    return document.text, document.title


# --- text -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", ["", ".gz", ".zst"])
def test_text_is_kept_as_it_is(tmp_path, packed):
    if packed == ".zst":
        pytest.importorskip("zstandard")
    pack = {"": bytes, ".gz": gzip.compress, ".zst": samples.zst}[packed]
    data = pack("\ufeffEins,\r\nzwei,\rdräi \f\x0b.\n".encode())
    assert one(tmp_path / f"a.txt{packed}", data) == ("Eins,\nzwei,\ndräi \f\x0b.\n", "")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_byte_order_mark_wins_over_the_encoding(tmp_path, encoding):
    assert one(tmp_path / "a.txt", "Grüße".encode(encoding), encoding="cp1252")[0] == "Grüße"


def test_encoding_of_files_without_a_mark(tmp_path):
    path = tmp_path / "a.txt"
    assert one(path, "Grüße €".encode("cp1252"), encoding="cp1252")[0] == "Grüße €"
    assert one(path, "日本".encode("utf-16-le"), encoding="UTF_16")[0] == "日本"
    assert one(path, b"caf\xe9!", encoding_errors="replace")[0] == "caf\ufffd!"
    assert one(path, b"caf\xe9!", encoding_errors="ignore")[0] == "caf!"


@pytest.mark.parametrize("packed", [False, True])
def test_offset_of_a_bad_byte_counts_the_mark_and_is_that_of_the_text(tmp_path, packed):
    data = b"\xef\xbb\xbfcaf\xc3\xa9 \xe9"
    path = put(tmp_path / "a.txt", gzip.compress(data) if packed else data)
    assert read(path)[1].examples[0].detail == f"byte 0xe9 at {data.index(0xE9)} is not UTF-8"
    log = read(put(tmp_path / "b.txt", b"a\x81"), encoding="cp1252")[1]
    assert log.skipped == {"not_decodable": 1}
    assert log.examples[0].detail == "byte 0x81 at 1 is not CP1252"


def test_text_file_above_the_limit_is_counted_also_when_packed(tmp_path, monkeypatch):
    monkeypatch.setattr("retrieval_index.corpus.readers.plain_text.MAX_ENTRY_BYTES", 1000)
    put(tmp_path / "a.txt.gz", gzip.compress(b"a" * 100_000_000, 9))
    put(tmp_path / "b.txt", "b" * 1000)
    documents, log = read(tmp_path)
    assert [d.id for d in documents] == ["b.txt"] and log.skipped == {"too_large": 1}


LONG = "# " * 50_000 + " " * 50_000 + "x" + "#" * 50_000  # what slow expressions stumble over


@pytest.mark.parametrize(
    "text, title",
    [
        ("Intro\n\n## The *head* ## \n# Other", "The *head*"),
        ("\r\n   # C#\r\nText", "C#"),
        ("# C# ##\nText", "C#"),
        ("    # code\n#nospace\nText", ""),
        (f"# {LONG} ##\n{LONG}", LONG),
    ],
)
def test_title_of_markdown(tmp_path, text, title):
    assert one(tmp_path / "a.markdown", text)[1] == title


# --- PDF ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deflate", [False, True])
def test_pdf_text_title_and_pages(tmp_path, deflate):
    pytest.importorskip("pypdf")
    data = samples.pdf(["One A.", "", "Three."], deflate=deflate)
    text, title = one(tmp_path / "a.pdf", data)
    # The character map of the compressed one says that A is AB.
    assert text == f"One {'AB' if deflate else 'A'}.\n\n\f\n\n\fThree."
    assert title == "A PDF title"
    assert text.count("\f", 0, text.index("Three")) + 1 == 3  # the page
    packed = one(tmp_path / "b.pdf.gz", gzip.compress(data))
    assert packed == (text, title)


def test_pdf_with_object_streams_or_the_empty_password(tmp_path):
    pytest.importorskip("pypdf")
    expected = "First page.\n\n\fSecond page."
    assert one(tmp_path / "a.pdf", samples.pdf_object_streams())[0] == expected
    assert one(tmp_path / "b.pdf", samples.pdf_encrypted()) == (expected, "A PDF title")


def test_pdf_problems_are_counted(tmp_path, capfd, monkeypatch):
    pytest.importorskip("pypdf")
    put(tmp_path / "damaged.pdf", samples.pdf()[:200])
    put(tmp_path / "empty.pdf", b"")
    put(tmp_path / "locked.pdf", samples.pdf_encrypted("secret"))
    put(tmp_path / "none.pdf", b"This is no PDF.")
    put(tmp_path / "scan.pdf", samples.pdf(["", ""]))
    put(tmp_path / "long.pdf", samples.pdf(["x" * 300] * 5))
    put(tmp_path / "good.pdf", samples.pdf())
    monkeypatch.setattr("retrieval_index.corpus.readers.pdf.MAX_ENTRY_BYTES", 1000)
    documents, log = read(tmp_path)
    assert [d.id for d in documents] == ["good.pdf"]
    assert {p.where: p.reason for p in log.examples} == {
        "damaged.pdf": "damaged",
        "empty.pdf": "damaged",
        "locked.pdf": "encrypted",
        "long.pdf": "too_large",
        "none.pdf": "damaged",
        "scan.pdf": "no_text",
    }
    assert capfd.readouterr() == ("", "")
    with pytest.raises(CorpusError, match=r"damaged\.pdf"):
        read(tmp_path, strict=True)


@pytest.mark.parametrize("error", [RecursionError, MemoryError, ZeroDivisionError, AttributeError])
def test_whatever_pypdf_raises_is_a_problem_of_one_file(tmp_path, monkeypatch, error):
    pypdf = pytest.importorskip("pypdf")

    def fail(self, *args, **kwargs):
        raise error("deep inside")

    monkeypatch.setattr(pypdf.PageObject, "extract_text", fail)
    log = read(put(tmp_path / "a.pdf", samples.pdf()))[1]
    assert log.skipped == {"damaged": 1} and "deep inside" in log.examples[0].detail


def test_pdf_bombs(tmp_path, monkeypatch):
    pytest.importorskip("pypdf")
    monkeypatch.setattr("retrieval_index.corpus.readers.pdf.MAX_PDF_BYTES", 10_000)
    monkeypatch.setattr("retrieval_index.corpus.readers.pdf.MAX_PDF_PAGES", 3)
    put(tmp_path / "a.pdf.gz", gzip.compress(samples.pdf() + b" " * 10_000_000))
    put(tmp_path / "b.pdf", samples.pdf(["x"] * 4))
    put(tmp_path / "c.pdf", samples.pdf(["x" * 80_000_000], deflate=True))
    assert read(tmp_path)[1].skipped == {"too_large": 2, "damaged": 1}


# --- folders --------------------------------------------------------------------------------------


def test_folder_of_everything(tmp_path):
    for package in ("pypdf", "pyarrow", "zstandard"):
        pytest.importorskip(package)
    put(tmp_path / "a.md", samples.markdown())
    put(tmp_path / "b" / "b.HTML.gz", gzip.compress(samples.html()))
    put(tmp_path / "b" / "c.pdf", samples.pdf())
    put(tmp_path / "b" / "d.jsonl.zst", samples.zst(samples.jsonl()))
    put(tmp_path / "c" / "e.parquet", samples.parquet())
    put(tmp_path / "c" / "budget.csv", "month,amount\nMay,7\n")
    put(tmp_path / "c" / "package.json", "{\n}")
    put(tmp_path / "c" / "x.tar.gz", gzip.compress(b"x"))
    put(tmp_path / "c" / "README", "x")
    put(tmp_path / ".git" / "x.txt", "x")
    documents, log = read(tmp_path)
    ids = [str(r["id"]) for r in samples.RECORDS]
    assert [d.id for d in documents] == ["a.md", "b/b.HTML.gz", "b/c.pdf", *ids, *ids]
    assert documents[1].title == "Café & more" and "Second é." in documents[1].text
    assert log.ignored_files == {".json": 1, ".tar.gz": 1, "(no suffix)": 1}
    assert [(p.reason, p.where) for p in log.examples] == [("no_text_column", "c/budget.csv")]
    assert "'month', 'amount'" in log.examples[0].detail
    with pytest.raises(CorpusError, match=r"c/budget\.csv does not have"):
        read(tmp_path, fields={"id": "id"})


def test_problem_in_a_file_of_records_names_its_path(tmp_path):
    put(tmp_path / "sub" / "c.jsonl", '{"text": "a"}\nbad\n')
    assert read(tmp_path)[1].examples[0].where == "sub/c.jsonl line 2 (byte 14)"


def test_fields_for_a_folder_without_columns(tmp_path):
    path = put(tmp_path / "a.txt", "x")
    for corpus in (tmp_path, path, [path], str(tmp_path / "*.txt")):
        with pytest.raises(CorpusError, match="`fields` names columns, but"):
            read(corpus, fields={"text": "body"})


def test_damaged_stream_in_a_folder_is_an_error(tmp_path):
    put(tmp_path / "a.txt.gz", gzip.compress(b"abc" * 1000)[:-9])
    with pytest.raises(CorpusError, match=r"a\.txt\.gz cannot be read to its end"):
        read(tmp_path)


def test_folder_with_a_pipe_and_a_dead_link(tmp_path):
    import os

    os.mkfifo(tmp_path / "p.txt")
    put(tmp_path / "q.txt", "x")
    documents, log = read(tmp_path)
    assert [d.id for d in documents] == ["q.txt"] and log.ignored_files == {".txt": 1}
    (tmp_path / "r.txt").symlink_to(tmp_path / "absent")
    with pytest.raises(CorpusError, match=r"r\.txt cannot be read"):
        read(tmp_path)


@pytest.mark.parametrize(
    "package, name",
    [("pypdf", "a.pdf"), ("pyarrow", "a.parquet"), ("zstandard", "a.txt")],
)
def test_missing_package_names_the_command(tmp_path, monkeypatch, package, name):
    monkeypatch.setitem(sys.modules, package, None)
    path = put(tmp_path / name, b"\x28\xb5\x2f\xfd" if name == "a.txt" else b"x")
    with pytest.raises(CorpusError, match=r'pip install "kzoo\[documents\]"'):
        read(path)


def test_one_file_alone(tmp_path):
    assert read(put(tmp_path / "sub" / "a.txt", "x"))[0] == [
        Document("a.txt", "x", "", {"path": "a.txt"})
    ]
