"""Files of many documents: all formats agree, JSON arrays, TREC, memory."""

import gzip
import io
import tracemalloc

import pytest
from corpus_samples import put, read, samples

from retrieval_index.corpus.document import Document, ProblemLog
from retrieval_index.corpus.opening import open_corpus
from retrieval_index.errors import CorpusError

RECORDS = samples.RECORDS
TEXTS = {
    "jsonl": samples.jsonl,
    "json": samples.json_array,
    "csv": samples.csv,
    "tsv": samples.tsv,
    "parquet": samples.parquet,
    "trec": samples.trec,
}


@pytest.mark.parametrize("packed", ["", "gz", "zst"])
@pytest.mark.parametrize("kind", TEXTS)
def test_every_format_gives_the_same_documents(tmp_path, kind, packed):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    if packed == "zst":
        pytest.importorskip("zstandard")
    pack = {"": bytes, "gz": gzip.compress, "zst": samples.zst}[packed]
    # The suffix of the packing is left out: the first bytes tell.
    documents, log = read(put(tmp_path / f"c.{kind}", pack(TEXTS[kind]())), strict=True)
    assert not log.skipped
    assert [d.id for d in documents] == [r["id"] for r in RECORDS]
    assert [d.title for d in documents] == [r["title"] for r in RECORDS]
    for document, record in zip(documents, RECORDS, strict=True):
        text = record["text"]
        if kind == "tsv":
            text = text.replace("\n", " ")
        if kind == "trec":  # markup inside of a field is taken out; two TEXT fields
            text = text.replace("<b>", "").replace("</b>", "")
            assert " ".join(document.text.split()) == " ".join(f"{text} More.".split()).replace(
                f"{record['id'][1:]}.", f"{record['id'][1:]} ."
            )
            assert document.metadata == {"date": str(record["year"])}
            continue
        assert document.text == text
        year = str(record["year"]) if kind in ("csv", "tsv") else record["year"]
        assert document.metadata["year"] == year


# --- JSON arrays ----------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [16, 1 << 18])
def test_json_array_is_a_stream_of_objects(tmp_path, monkeypatch, block):
    monkeypatch.setattr("retrieval_index.corpus.readers.json_lines.BLOCK", block)
    text = ' [ {"id": 1, "text": "ä"} ,\n{"id": 2, "text": "[{"}, 17, {"id": 3, "text": "c"}]\n '
    documents, log = read(put(tmp_path / "c.json", text))
    assert [(d.id, d.text) for d in documents] == [("1", "ä"), ("2", "[{"), ("3", "c")]
    at = text.encode().index(b"17")
    assert log.examples[0].where == f"c.json item 3 (byte {at})"
    assert log.skipped == {"not_an_object": 1}


def test_json_array_byte_that_does_not_fit(tmp_path):
    data = b'[{"id": 1, "text": "\xc3\xa4"}, {"id": 2, "text": "\xff"}, {"id": 3, "text": "x"}]'
    documents, log = read(put(tmp_path / "c.json", data))
    assert [d.id for d in documents] == ["1", "3"]
    assert log.examples[0].detail == f"byte 0xff at {data.index(0xFF)} is not UTF-8"
    documents, _ = read(tmp_path / "c.json", encoding_errors="replace")
    assert documents[1].text == "\ufffd"


@pytest.mark.parametrize(
    "text", ['[{"text": "a"}', '[{"text": "a"},', '[{"text": "a"}{', '[{"text": "a"}] x', "[{"]
)
def test_json_array_that_is_damaged(tmp_path, text):
    with pytest.raises(CorpusError, match=r"damaged JSON array at byte \d+.*jq"):
        read(put(tmp_path / "c.json", text))


def test_json_array_in_a_jsonl_file_too(tmp_path):
    documents, _ = read(put(tmp_path / "c.jsonl", '[\n {"id": 1, "text": "a"}\n]'), strict=True)
    assert documents == [Document("1", "a")]
    assert read(put(tmp_path / "e.json", "[]"))[0] == []


# --- TREC -----------------------------------------------------------------------------------------

TREC = """<DOC>
<DOCNO> FT-1 </DOCNO>
<HEADLINE><P>A   headline</P></HEADLINE>
<DATE>19990101</DATE>
<TEXT>
Some &amp; text <F P=102>x</F>, 1 < 2.
</TEXT>
<TEXT>More</TEXT></DOC><DOC><DOCNO>2</DOCNO>bare <p> text</DOC>
junk
more junk
<DOC><DOCNO>3</DOCNO>open
<doc><docno>4</docno><dochdr>HTTP/1.0</dochdr><html><body>web</body></html></doc>
</DOC>
<DOC><DOCNO>5</DOCNO><TEXT></TEXT></DOC>
<DOC><DOCNO>6</DOCNO>cut off"""


def test_trec_documents_and_what_is_between_them(tmp_path):
    documents, log = read(put(tmp_path / "c.trec", TREC))
    assert documents == [
        Document("FT-1", "Some & text x , 1 < 2.\n\nMore", "A headline", {"date": "19990101"}),
        Document("2", "bare text"),
        Document("4", "web", "", {"dochdr": "HTTP/1.0"}),
    ]
    assert [(p.reason, p.where.split(" (")[0]) for p in log.examples] == [
        ("stray_text", "c.trec line 9"),
        ("unclosed_doc", "c.trec line 11"),
        ("stray_tag", "c.trec line 13"),
        ("blank", "c.trec line 14"),
        ("unclosed_doc", "c.trec line 15"),
    ]


def test_trec_fields_by_name(tmp_path):
    documents, _ = read(
        put(tmp_path / "c.trec", TREC.split("junk")[0]),
        fields={"id": "DOCNO", "text": ["HEADLINE", "TEXT"], "title": "DATE", "metadata": ()},
    )
    assert documents == [
        Document("FT-1", "A headline\n\nSome & text x , 1 < 2.\n\nMore", "19990101", {})
    ]


def test_trec_byte_that_does_not_fit_costs_every_document_of_its_line(tmp_path):
    line = b"<DOC><DOCNO>1</DOCNO>a</DOC>\n<DOC><DOCNO>2</DOCNO>\xe9</DOC><DOC><DOCNO>3</DOCNO>b"
    data = line + b"</DOC>\n<DOC><DOCNO>4</DOCNO>c</DOC>"
    documents, log = read(put(tmp_path / "c.trec", data))
    assert [d.id for d in documents] == ["1", "4"]
    assert log.skipped == {"not_utf8": 2}
    assert log.examples[0].detail == f"byte 0xe9 at {data.index(0xE9)} is not UTF-8"
    assert len(read(tmp_path / "c.trec", encoding="latin-1", strict=True)[0]) == 4


# --- all of them as streams -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "tsv", "trec"])
def test_memory_does_not_grow_with_the_file(tmp_path, kind):
    text = "word " * 200
    lines = {
        "jsonl": ("", '{"id": %d, "text": "%s"}\n', ""),
        "json": ("[", '{"id": %d, "text": "%s"},\n', '{"id": "z", "text": "z"}]'),
        "csv": ("id,text\n", '%d,"%s"\n', ""),
        "tsv": ("id\ttext\n", "%d\t%s\n", ""),
        "trec": ("", "<DOC><DOCNO>%d</DOCNO>%s</DOC>\n", ""),
    }[kind]
    body = io.StringIO()
    body.write(lines[0])
    for number in range(8_000):  # 8 MB
        body.write(lines[1] % (number, text))
    path = put(tmp_path / f"c.{kind}", gzip.compress((body.getvalue() + lines[2]).encode(), 1))
    corpus = open_corpus(path)
    tracemalloc.start()
    count = sum(1 for _ in corpus.read(ProblemLog(strict=True)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 8_000 + (kind == "json")
    assert peak < 3e6
