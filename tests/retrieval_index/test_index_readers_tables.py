"""Tables: CSV, TSV and Parquet."""

import pytest
from corpus_samples import put, read, samples

from retrieval_index.corpus.document import Document, ProblemLog, derived_id
from retrieval_index.corpus.opening import open_corpus
from retrieval_index.corpus.readers import parquet as parquet_reader
from retrieval_index.errors import CorpusError

# --- CSV and TSV ----------------------------------------------------------------------------------


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
    monkeypatch.setattr("retrieval_index.corpus.readers.delimited.MAX_ENTRY_BYTES", 1000)
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


# --- Parquet --------------------------------------------------------------------------------------


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
