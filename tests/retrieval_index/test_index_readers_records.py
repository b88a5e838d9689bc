"""Files of many documents: CSV, TSV, Parquet, TREC, JSON arrays, and columns by name."""

import gzip
import io
import json
import tracemalloc

import pytest
from corpus_samples import put, read, samples

from retrieval_index.corpus import parquet as parquet_reader
from retrieval_index.corpus.document import Document, derived_id
from retrieval_index.corpus.fields import FieldMap, field_map
from retrieval_index.corpus.opening import open_corpus
from retrieval_index.corpus.problem_log import ProblemLog
from retrieval_index.errors import ArgumentError, CorpusError

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


# --- CSV and TSV ---------------------------------------------------------------------------------


def test_csv_rows_that_are_wrong(tmp_path):
    path = put(
        tmp_path / "c.csv",
        'id,text,n\n1,"two\r\nlines, ""q""",x\n2,short\n\n3,"bad"x,1\n4,a,b,c\n,"derived",\n',
    )
    documents, log = read(path)
    assert documents == [
        Document("1", 'two\r\nlines, "q"', "", {"n": "x"}),
        Document(derived_id("", "derived"), "derived", "", {"n": ""}),
    ]
    assert [(p.reason, p.where) for p in log.examples] == [
        ("ragged_row", "c.csv line 4 (byte 34)"),
        ("bad_row", "c.csv line 6 (byte 43)"),
        ("ragged_row", "c.csv line 7 (byte 54)"),
    ]
    assert path.read_bytes()[34:41] == b"2,short" and path.read_bytes()[54:61] == b"4,a,b,c"
    with pytest.raises(CorpusError, match="2 cells under 3 columns"):
        read(path, strict=True)


def test_csv_quote_that_is_never_closed_is_an_error_with_its_place(tmp_path):
    path = put(tmp_path / "c.csv", 'id,text\n1,fine\n2,"open\n3,swallowed\n')
    with pytest.raises(CorpusError, match=r"c\.csv line 3 \(byte 15\).*never ends"):
        read(path)


def test_csv_row_without_end_is_refused_within_bounds(tmp_path, monkeypatch):
    monkeypatch.setattr("retrieval_index.corpus.delimited.MAX_ENTRY_BYTES", 1000)
    path = put(tmp_path / "c.csv", 'id,text\n1,"' + "line\n" * 1000)
    with pytest.raises(CorpusError, match="does not end within"):
        read(path)


def test_csv_cell_above_the_limit_of_the_csv_module(tmp_path):
    text = "long " * 60_000
    documents, _ = read(put(tmp_path / "c.csv", f'id,text\n1,"{text}"\n'), strict=True)
    assert documents[0].text == text


def test_csv_bytes_that_do_not_fit_cost_one_row(tmp_path):
    data = b'id,text\n1,"a\n\xe9\nb"\n2,"still here"\n'
    documents, log = read(put(tmp_path / "c.csv", data))
    assert [d.text for d in documents] == ["still here"]
    assert log.examples[0].where == "c.csv line 2 (byte 8)"
    assert f"byte 0xe9 at 0 of the line (byte {data.index(0xE9)} of" in log.examples[0].detail


def test_csv_separated_by_semicolons(tmp_path):
    documents, _ = read(put(tmp_path / "c.csv", "id;text\n1;a, b\n"), strict=True)
    assert documents == [Document("1", "a, b")]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-16-be"])
def test_csv_with_a_byte_order_mark(tmp_path, encoding):
    text = 'id,text\r\n1,"\u0a0a \u0a00 \u010a, é\nzwei"\r\n2,x\r\n'
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    documents, _ = read(put(tmp_path / "c.csv", (mark + text).encode(encoding)), strict=True)
    assert [d.text for d in documents] == ["\u0a0a \u0a00 \u010a, é\nzwei", "x"]


def test_tsv_quote_is_a_character_like_others(tmp_path):
    documents, _ = read(put(tmp_path / "c.tsv", 'id\ttext\n1\t"open\n2\ta "b" c\r\n'), strict=True)
    assert [d.text for d in documents] == ['"open', 'a "b" c']


@pytest.mark.parametrize(
    "name, data, message",
    [
        ("c.csv", "id,body\n1,x\n", r"no column 'text'; its columns: 'id', 'body'.*fields="),
        ("c.csv", "7,Once upon a time\n8,x\n", r"its columns: '7', 'Once upon a time'"),
        ("c.csv", "id,text,text\n1,x,y\n", "names columns twice: 'text'"),
        ("c.csv", b"id,\xff\n1,x\n", "unusable header.*0xff"),
        ("c.tsv", "id\tbody\n", "no column 'text'"),
    ],
)
def test_headers_that_are_refused(tmp_path, name, data, message):
    with pytest.raises(CorpusError, match=message):
        read(put(tmp_path / name, data))


def test_csv_unnamed_column_of_row_numbers(tmp_path):
    documents, _ = read(put(tmp_path / "c.csv", ",text\n0,a\n"), strict=True)
    assert documents[0].metadata == {"column_1": "0"}


# --- JSON arrays ---------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [16, 1 << 18])
def test_json_array_is_a_stream_of_objects(tmp_path, monkeypatch, block):
    monkeypatch.setattr("retrieval_index.corpus.json_array.BLOCK", block)
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


# --- Parquet -------------------------------------------------------------------------------------


def test_parquet_values_become_json_data(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import datetime
    import decimal

    import pyarrow.parquet as pq

    table = pa.table(
        {
            "id": pa.array([1, 2, None]),
            "text": pa.array(["a", None, "c"]),
            "day": pa.array([datetime.date(2020, 1, 2)] * 3),
            "at": pa.array([datetime.datetime(2020, 1, 2, 3, 4)] * 3),
            "price": pa.array([decimal.Decimal("1.50")] * 3),
            "raw": pa.array([b"abc"] * 3),
            "score": pa.array([float("nan")] * 3),
            "tags": pa.array([["x", "y"]] * 3),
            "metadata": pa.array([{"k": 1}] * 3),
        }
    )
    pq.write_table(table, tmp_path / "c.parquet")
    documents, log = read(tmp_path / "c.parquet")
    expected = {
        "day": "2020-01-02", "at": "2020-01-02T03:04:00", "price": 1.5, "raw": "abc",
        "score": None, "tags": ["x", "y"], "k": 1,
    }  # fmt: skip
    assert documents == [
        Document("1", "a", "", expected),
        Document(derived_id("", "c"), "c", "", expected),
    ]
    assert [(p.reason, p.where) for p in log.examples] == [("no_text", "c.parquet row 2")]


def test_parquet_reads_only_the_columns_used(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    rows = {"id": ["1"], "text": ["a"], "image": [b"\xff\xfe"], "year": [1999]}
    pq.write_table(pa.table(rows), tmp_path / "c.parquet")
    assert read(tmp_path / "c.parquet")[1].skipped == {"not_utf8": 1}
    documents, _ = read(tmp_path / "c.parquet", strict=True, fields={"metadata": "year"})
    assert documents == [Document("1", "a", "", {"year": 1999})]


def test_parquet_row_with_a_broken_string(tmp_path, monkeypatch):
    pa = pytest.importorskip("pyarrow")
    monkeypatch.setattr(parquet_reader, "BATCH_ROWS", 3)
    import pyarrow.parquet as pq

    # Arrow does not look into the bytes it is told to be UTF-8.
    strings = pa.array([b"a", b"\xe9", b"c", b"d"]).view(pa.string())
    pq.write_table(pa.table({"id": ["1", "2", "3", "4"], "text": strings}), tmp_path / "c.parquet")
    documents, log = read(tmp_path / "c.parquet")
    assert [d.id for d in documents] == ["1", "3", "4"]
    assert log.examples[0].where == "c.parquet row 2" and "0xe9" in log.examples[0].detail


@pytest.mark.parametrize("keep", [0, 3, 100, -1])
def test_parquet_that_is_cut(tmp_path, keep):
    pytest.importorskip("pyarrow")
    path = put(tmp_path / "c.parquet", samples.parquet()[:keep])
    with pytest.raises(CorpusError, match=r"c\.parquet cannot be read to its end"):
        read(path)


def test_parquet_memory_does_not_grow_with_the_file(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import numpy as np
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    texts = [rng.bytes(500).hex() for _ in range(20_000)]  # 20 MB in one row group
    pq.write_table(pa.table({"text": texts}), tmp_path / "c.parquet", row_group_size=20_000)
    before, peak = pa.total_allocated_bytes(), 0
    for number, _ in enumerate(open_corpus(tmp_path / "c.parquet").read(ProblemLog())):
        if number % 256 == 0:
            peak = max(peak, pa.total_allocated_bytes() - before)
    assert number == 19_999
    assert peak < 6e6


# --- TREC ----------------------------------------------------------------------------------------

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


# --- columns by name -----------------------------------------------------------------------------

NEWS = {"doc_id": "x", "abstract": "A.", "body": "B.", "headline": "H", "year": "1999", "lang": ""}


@pytest.mark.parametrize("kind", ["csv", "jsonl", "items"])
def test_fields_by_name(tmp_path, kind):
    if kind == "csv":
        data = ",".join(NEWS) + "\n" + ",".join(NEWS.values()) + "\n"
        corpus = put(tmp_path / "c.csv", data)
    else:
        corpus = [NEWS] if kind == "items" else put(tmp_path / "c.jsonl", json.dumps(NEWS))
    fields = {"id": "doc_id", "text": ["abstract", "body"], "title": "headline"}
    others = {"year": "1999", "lang": ""}
    assert read(corpus, True, fields=fields)[0] == [Document("x", "A.\n\nB.", "H", others)]
    kept = {**fields, "metadata": ["lang"]}
    assert read(corpus, True, fields=kept)[0][0].metadata == {"lang": ""}
    typed = FieldMap(
        "doc_id", ("body",), None, ("year", "lang"), (("year", "int"), ("lang", "int"))
    )
    assert read(corpus, True, fields=typed)[0] == [
        Document("x", "B.", "", {"year": 1999, "lang": None})
    ]
    mapped = {**fields, "metadata": {"headline": float}}
    documents, log = read(corpus, fields=mapped)
    assert not documents and "'headline' is no float: 'H'" in log.examples[0].detail
    with pytest.raises(CorpusError, match=r"'abstrct', which .* \(did you mean 'abstract'\?\)"):
        read(corpus, fields={**fields, "text": ["abstrct", "body"]})


def test_types_of_metadata():
    fields = {"metadata": {"a": bool, "b": "bool", "c": "float", "d": "str"}}
    record = {"text": "t", "a": "Yes", "b": " 0 ", "c": "1.5", "d": 3}
    assert read([record], True, fields=fields)[0][0].metadata == {
        "a": True, "b": False, "c": 1.5, "d": "3",
    }  # fmt: skip
    for bad in ({"a": "maybe"}, {"c": "x"}):
        assert read([{**record, **bad}], fields=fields)[1].skipped == {"bad_metadata": 1}


def test_a_column_may_be_missing_in_some_records_but_not_in_all():
    rows = [{"body": "a"}] * 3 + [{"body": "b", "name": "n"}]
    assert len(read(rows, True, fields={"text": "body", "id": "name"})[0]) == 4
    with pytest.raises(CorpusError, match=r"names the column 'nme'.*did you mean 'name'"):
        read(rows, fields={"text": "body", "id": "nme"})
    endless = ({"body": "a"} for _ in iter(int, 1))
    with pytest.raises(CorpusError, match="names the column 'nme'"):
        read(endless, fields={"text": "body", "id": "nme"})


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"txt": "a"}, r"the key 'txt' \(did you mean 'text'\?\)"),
        ({"text": []}, "at least one column for 'text'"),
        ({"id": 5}, "must name a column for 'id'; received: 5"),
        ({"text": [""]}, "must name a column for 'text'"),
        ({"metadata": 5}, "must name columns for 'metadata'"),
        ({"metadata": {"year": "date"}}, "may convert metadata to str, int, float, bool"),
        ("text", "must map 'id'"),
    ],
)
def test_fields_that_are_refused(fields, message):
    with pytest.raises(ArgumentError, match=message):
        field_map(fields)


def test_required_ids():
    rows = [{"id": "a", "text": "t"}, {"text": "t"}, {"id": "", "text": "t"}, "t"]
    documents, log = read(rows, require_ids=True)
    assert [d.id for d in documents] == ["a"]
    assert log.skipped == {"no_id": 3}


@pytest.mark.parametrize(
    "record, reason",
    [
        ({"id": 10**5000, "text": "t"}, "bad_id"),
        ({"id": 1.5, "text": "t"}, "bad_id"),
        ({"id": 1, "text": 10**5000}, "no_text"),
        ({"id": 1, "text": "t", "x": "\ud800"}, "not_utf8"),
        ({"id": 1, "text": "t", "x": {5, 6}}, "bad_metadata"),
    ],
)
def test_values_no_index_can_hold(record, reason):
    assert read([record])[1].skipped == {reason: 1}


def test_digest_is_stable_and_tells_title_from_text():
    # A change of this value hides repeated texts between indexes of two versions.
    assert Document("a", "text", "title").digest.hex() == "356fb89f9686ff2e5ccbd1d68f13fe37"
    assert Document("a", "t", "x", {"y": 1}).digest == Document("b", "t", "x").digest
    assert Document("a", "b\nc", "a").digest != Document("a", "c", "a\nb").digest
    assert len(Document("a", "\ud800").digest) == 16


# --- all of them as streams ----------------------------------------------------------------------


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
