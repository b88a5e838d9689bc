"""Readers of corpus files that other installed packages bring."""

import gzip
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from corpus_samples import put, read

import retrieval_index
from retrieval_index import ArgumentError, CorpusError, RetrievalIndexWarning
from retrieval_index.corpus import formats
from retrieval_index.corpus.reader import Reader

# Two kinds of files in one module: of many documents, and of one.
MODULE = '''
from retrieval_index.corpus.byte_source import open_bytes, read_at_most
from retrieval_index.corpus.document import Entry
from retrieval_index.corpus.reader import Extract, Reader, UnusableFileError
from retrieval_index.corpus.records import to_document


def read_pairs(path, name, options, log):
    """Yields one document a line: `id|text|year`."""
    with open_bytes(path) as file:
        for number, line in enumerate(file, start=1):
            key, text, year = line.decode().strip().split("|")
            record = {"id": key, "text": text, "year": int(year)}
            document = to_document(record, f"{name} line {number}", log, options)
            if document is not None:
                yield Entry(document, f"{name} line {number}")


def read_shout(path, decoding):
    with open_bytes(path) as file:
        text = decoding.decode_file(read_at_most(file, 1000))
    if not text.isupper():
        raise UnusableFileError("not_loud", "it is not in capitals")
    return Extract(text.lower(), "Shouted")


PAIRS = Reader("pairs", (".pairs",), read_pairs)
SHOUT = Reader("shout", (".shout", ".yell"), document=read_shout)
NO_READER = "a text"
'''
POINTS = {"pairs": "plugged:PAIRS", "shout": "plugged:SHOUT", ".YELL": "plugged:SHOUT"}


def install(folder, points, name="plugged-package", module="plugged", source=MODULE):
    """Puts a package into a folder of `sys.path`, as pip would."""
    put(folder / f"{module}.py", source)
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    put(info / "METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = "".join(f"{key} = {value}\n" for key, value in points.items())
    put(info / "entry_points.txt", f"[retrieval_index.readers]\n{lines}")


@pytest.fixture
def site(tmp_path, monkeypatch):
    def forget():
        formats.plugged_in.cache_clear()
        formats._load.cache_clear()
        for name in [name for name in sys.modules if name.startswith("plugged")]:
            del sys.modules[name]

    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    forget()
    yield folder
    forget()


@pytest.fixture
def plugged(site):
    install(site, POINTS)
    return site


def test_a_plugged_in_corpus_is_built_and_searched(plugged, tmp_path):
    corpus = put(tmp_path / "notes.pairs", "a|the red fox|1999\nb|a grey wolf|2005\n")
    with retrieval_index.build(corpus, tmp_path / "index", "hashing", progress=False) as index:
        (hit,) = index.search("fox", k=1)
        assert (hit.document_id, hit.text, hit.metadata) == ("a", "the red fox", {"year": 1999})
        assert [p.document_id for p in index.search("wolf", where={"year": 2005})] == ["b"]


def test_plugged_in_files_are_read_wherever_others_are(plugged, tmp_path, monkeypatch):
    folder = tmp_path / "corpus"
    put(folder / "a.shout", "HELLO")
    put(folder / "b.YELL", "HO")
    put(folder / "c.pairs.gz", gzip.compress(b"c|packed|1\n"))
    put(folder / "d.shout", "quiet")
    put(folder / "e.txt", "text")
    documents, log = read(folder)
    found = {document.id: (document.title, document.text) for document in documents}
    assert found == {
        "a.shout": ("Shouted", "hello"),
        "b.YELL": ("Shouted", "ho"),
        "c": ("", "packed"),
        "e.txt": ("", "text"),
    }
    assert log.skipped == {"not_loud": 1} and not log.ignored_files
    monkeypatch.chdir(folder)
    assert [d.id for d in read("*.shout")[0]] == ["a.shout"]
    assert [d.id for d in read(["a.shout", "c.pairs.gz"])[0]] == ["a.shout", "c"]


def test_fields_hold_for_plugged_in_records(plugged, tmp_path):
    corpus = put(tmp_path / "x.pairs", "a|one|1\n")
    (document,) = read(corpus, fields={"id": "text", "text": "id"})[0]
    assert (document.id, document.text, document.metadata) == ("one", "a", {"year": 1})


def test_messages_and_lists_name_them_without_importing_them(plugged):
    message = r"\.pdf, \.pairs, \.shout, \.yell; each also with \.gz"
    with pytest.raises(CorpusError, match=message):
        read("absent.unknown")
    assert ("plugged-package", (".pairs", ".shout", ".yell"), "") in (
        retrieval_index.readable_kinds()
    )
    assert read([("a", "text")])[0]
    assert "plugged" not in sys.modules
    with pytest.raises(CorpusError, match="there is nothing at"):
        read("absent.pairs")
    assert "plugged" not in sys.modules


@pytest.mark.parametrize(
    "points, message",
    [
        ({"pairs": "plugged_nowhere:X"}, r"plugged_nowhere:X of plugged-package .*\.pairs files "),
        ({"pairs": "plugged:ABSENT"}, "cannot be imported .AttributeError"),
        ({"pairs": "plugged:NO_READER"}, "must be a .*Reader`; received: str"),
        ({"pairs": "plugged:SHOUT"}, r"must have it among its `suffixes`; .* \.shout, \.yell"),
    ],
)
def test_what_is_no_reader_is_refused(site, tmp_path, points, message):
    install(site, points)
    corpus = put(tmp_path / "x.pairs", "a|one|1\n")
    with pytest.raises(CorpusError, match=message):
        read(corpus)
    assert read(put(tmp_path / "x.txt", "others are read all the same"))[0]


def test_two_packages_of_one_suffix(site, tmp_path):
    install(site, {"pairs": "plugged:PAIRS"})
    install(site, {"pairs": "plugged_too:PAIRS"}, "other-package", "plugged_too")
    corpus = put(tmp_path / "x.pairs", "a|one|1\n")
    with pytest.raises(CorpusError, match=r"several packages .*other-package.*Uninstall"):
        read(corpus)


def test_a_suffix_that_is_built_in_stays_so(site, tmp_path):
    install(site, {"csv": "plugged:PAIRS", "pairs": "plugged:PAIRS"})
    corpus = put(tmp_path / "x.csv", "id,text\na,one\n")
    assert read(corpus)[0][0].text == "one"
    with pytest.warns(RetrievalIndexWarning, match=r"plugged:PAIRS .* is not used: \.csv files"):
        assert read(put(tmp_path / "x.pairs", "a|one|1\n"))[0]


def test_a_reader_of_json_lines_imports_no_other_package(tmp_path):
    corpus = put(tmp_path / "x.jsonl", '{"id": "a", "text": "one"}\n')
    code = f"""
        import sys
        from retrieval_index.corpus.opening import open_corpus
        from retrieval_index.corpus.document import ProblemLog
        assert list(open_corpus({str(corpus)!r}).read(ProblemLog()))
        print([m for m in ("pypdf", "pyarrow", "zstandard", "numpy", "keras") if m in sys.modules])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


# --- what a reader is -----------------------------------------------------------------------------


def test_every_file_of_the_folder_declares_its_reader():
    folder = Path(formats.readers.__path__[0])
    files = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    makers = {reader.records or reader.document for reader in formats.built_in().values()}
    assert {made.__module__.rpartition(".")[2] for made in makers} == files


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({}, "`records` or `document` must be given .* received: neither"),
        ({"records": print, "document": print}, "received: both"),
        ({"document": print, "suffixes": ()}, "`suffixes` must be a tuple"),
        ({"document": print, "suffixes": ".x"}, "`suffixes` must be a tuple"),
        ({"document": print, "suffixes": ("x",)}, "received: 'x'"),
        ({"document": print, "suffixes": (".X",)}, r"received: '\.X'"),
        ({"document": print, "suffixes": (".tar.x",)}, r"received: '\.tar\.x'"),
        ({"document": print, "suffixes": (".gz",)}, r"received: '\.gz'"),
        ({"document": print, "suffixes": (3,)}, "received: 3"),
    ],
)
def test_readers_that_cannot_be(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        Reader(**{"kind": "X", "suffixes": (".x",), **arguments})


def test_a_new_file_in_the_folder_is_a_new_reader(tmp_path, monkeypatch):
    source = MODULE.replace('"pairs", (".pairs",)', '"pairs", (".pears",)')
    put(tmp_path / "pears.py", source)
    place = [*formats.readers.__path__, str(tmp_path)]
    monkeypatch.setattr(formats.readers, "__path__", place)
    formats.built_in.cache_clear()
    try:
        assert ("pairs", (".pears",), "") in retrieval_index.readable_kinds()
        assert read(put(tmp_path / "x.pears", "a|one|1\n"))[0][0].text == "one"
        assert read(put(tmp_path / "x.shout", "HEY"))[0][0].text == "hey"
    finally:
        sys.modules.pop("retrieval_index.corpus.readers.pears", None)
        formats.built_in.cache_clear()
