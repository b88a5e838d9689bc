"""What is no filter, and what the error says about it."""

import datetime
import subprocess
import sys

import numpy as np
import pytest

from retrieval_index.errors import ArgumentError
from retrieval_index.filters import field_rows, parse_filter


def nested(depth):
    where = {"a": 1}
    for _ in range(depth):
        where = {"$not": where}
    return where


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (None, "`where` must be a mapping"),
        ("lang", "`where` must be a mapping"),
        ([{"a": 1}], "`where` must be a mapping"),
        ({"year": {"$gtt": 5}}, "`where.year.$gtt` is no operator. Did you mean $gt?"),
        ({"year": {"gte": 5}}, "`where.year.gte` is no operator. Did you mean $gte?"),
        ({"year": {"$GTE": 5}}, "Did you mean $gte?"),
        ({"year": {"$regex": "x"}}, "Known here: $eq, $ne, $in, $nin, $gt"),
        ({"author": {"name": "Xu"}}, 'To reach into an object write "author.name"'),
        ({"year": {5: 1}}, "`where.year.5` is no operator"),
        ({"$adn": [{"a": 1}]}, "`where.$adn` is no operator. Did you mean $and?"),
        ({"$nor": [{"a": 1}]}, "Known here: $and, $or, $not"),
        ({"$gte": 5}, '`where.$gte` must stand under the name of a field: {"year": {"$gte": 5}}'),
        ({"$and": []}, "`where.$and` is empty"),
        ({"$or": []}, "`where.$or` is empty"),
        ({"$and": {"a": 1}}, "`where.$and` must be a list of conditions"),
        ({"$or": [{"a": 1}, {}]}, "`where.$or[1]` is empty"),
        ({"$or": [{"a": 1}, 5]}, "`where.$or[1]` must be a mapping"),
        ({"$not": {}}, "`where.$not` is empty"),
        ({"$not": []}, "`where.$not` must be a mapping"),
        ({"$and": [{"a": {"$in": [1, {}]}}]}, "`where.$and[0].a.$in[1]` must be a text"),
        ({"tag": []}, 'For one of several values use {"$in": [...]}'),
        ({"tag": {"$eq": ["a"]}}, "`where.tag.$eq` must be a text"),
        ({"tag": {"$in": "a"}}, "`where.tag.$in` must be a list of values; received: 'a'"),
        ({"tag": {"$nin": {"a": 1}}}, "`where.tag.$nin` must be a list"),
        ({"tag": {"$exists": 1}}, "`where.tag.$exists` must be true or false; received: 1"),
        ({"tag": {"$not": 5}}, "`where.tag.$not` must be operators"),
        ({"tag": {"$not": {}}}, "`where.tag.$not` is empty"),
        ({"tag": {}}, "`where.tag` is empty"),
        ({"year": {"$gt": True}}, "`where.year.$gt` must be a number or a text"),
        ({"year": {"$lt": None}}, "`where.year.$lt` must be a number or a text"),
        ({"year": {"$gt": 1, "$lt": "b"}}, "`where.year` must have bounds of one type"),
        ({"year": float("nan")}, "`where.year` must be a text, a number"),
        ({"year": datetime.date(2024, 5, 31)}, "`isoformat()`"),
        ({"year": b"x"}, "`where.year` must be a text"),
        ({"_id": 5}, "`where._id` must be a text, as _id is one; received: 5"),
        ({"_title": {"$in": ["a", None]}}, "`where._title.$in[1]` must be a text"),
        ({"": 1}, "names of fields"),
        ({5: 1}, "names of fields"),
        (nested(60), "at most 50 deep"),
        (nested(100_000), "at most 50 deep"),
    ],
)
def test_errors_name_the_place(where, message):
    with pytest.raises(ArgumentError) as caught:
        parse_filter(where)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 400


def test_accepted_forms():
    parsed = parse_filter({"year": {"$gte": np.int64(3), "$lt": np.float32(8)}})
    assert parsed == parse_filter({"year": {"$gte": 3, "$lt": 8.0}})
    assert parsed.matches({"year": 3}) and not parsed.matches({"year": 8})
    assert parse_filter(parsed) is parsed
    assert parse_filter({"t": {"$in": {"a"}}}) == parse_filter({"t": {"$in": ("a", "a")}})
    assert parse_filter({"t": "a"}) == parse_filter({"t": {"$eq": "a"}})
    parse_filter(nested(40))


def test_equal_filters_hash_alike_and_types_stay_apart():
    assert len({parse_filter({"a": value}) for value in (1, 1.0, True, "1", None)}) == 4
    kept = {parse_filter({"a": {"$in": [1, "x"]}}): "answer"}
    assert kept[parse_filter({"a": {"$in": [1.0, "x"]}})] == "answer"


def test_metadata_that_is_no_json():
    for value in (object(), {1, 2}, b"x", float("nan")):
        with pytest.raises(ArgumentError, match=r"`metadata` must be JSON data; 'a\.b'"):
            list(field_rows({"a": {"b": value}}))


def test_import_is_cheap():
    code = (
        "import sys, retrieval_index.filters; "
        "sys.exit(any(m in sys.modules for m in ('numpy', 'faiss', 'keras')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
