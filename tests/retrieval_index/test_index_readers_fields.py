"""Columns by name, ids, values, and the digest of a document."""

import json

import pytest
from corpus_samples import put, read

from retrieval_index.corpus.document import Document
from retrieval_index.corpus.fields import FieldMap, field_map
from retrieval_index.errors import ArgumentError, CorpusError

# --- columns by name ------------------------------------------------------------------------------

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
