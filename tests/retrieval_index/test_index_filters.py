"""Filters: SQL, Python and a naive third reading of the dialect agree on random cases."""

import json
import math
import operator
import random
import sqlite3

import numpy as np
import pytest

from retrieval_index.errors import CorruptIndexError
from retrieval_index.filters import SCHEMA, field_rows, parse_filter

DOCUMENTS = "CREATE TABLE documents (number INTEGER PRIMARY KEY, id TEXT UNIQUE, title TEXT);"


def database(documents):
    """A file as an index writes it, of (id, title, metadata)."""
    connection = sqlite3.connect(":memory:")
    connection.executescript(DOCUMENTS + SCHEMA)
    for number, (id, title, metadata) in enumerate(documents):
        connection.execute("INSERT INTO documents VALUES (?, ?, ?)", (number, id, title))
        rows = [(*row, number) for row in field_rows(metadata)]
        connection.executemany("INSERT INTO fields VALUES (?, ?, ?, ?)", rows)
    return connection


def found(documents, where):
    """Ids that fit by SQL, after a look whether Python says the same."""
    condition = parse_filter(where)
    mask = condition.documents(database(documents), len(documents))
    assert mask.shape == (len(documents),) and mask.dtype == np.bool_
    fits = [condition.matches(metadata, id, title) for id, title, metadata in documents]
    assert fits == mask.tolist(), where
    return [documents[i][0] for i in np.flatnonzero(mask)]


# ---- by hand -------------------------------------------------------------------------------------

LIBRARY = [
    ("a", "Alpha", {"lang": "en", "year": 1999, "tag": ["law", "tax"], "author": {"name": "Xu"}}),
    (
        "b",
        "",
        {"lang": "de", "year": 2001.0, "tag": [], "author": [{"name": "Y"}, {"name": "Xu"}]},
    ),
    ("c", "Gamma", {"lang": None, "year": "2001", "tag": "tax", "open": True}),
    ("d", "Alpha", {"year": [1990, 2020], "open": 1, "author": {}}),
    ("e", "Eta", {}),
]


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ({"lang": "en"}, "a"),
        ({"lang": None}, "c"),
        ({"lang": {"$ne": "en"}}, "bcde"),
        ({"lang": {"$ne": None}}, "abde"),
        ({"lang": {"$exists": True}}, "abc"),
        ({"lang": {"$exists": False}}, "de"),
        ({"year": 2001}, "b"),
        ({"year": "2001"}, "c"),
        ({"year": {"$gte": 1999, "$lt": 2010}}, "ab"),
        ({"$and": [{"year": {"$gte": 1999}}, {"year": {"$lt": 2010}}]}, "abd"),
        ({"year": {"$gt": "2000"}}, "c"),
        ({"year": {"$not": {"$gt": 2000}}}, "ace"),
        ({"year": {"$gt": 1999, "$ne": 2020}}, "b"),
        ({"tag": "tax"}, "ac"),
        ({"tag": {"$in": ["law", "no"]}}, "a"),
        ({"tag": {"$nin": ["law", "no"]}}, "bcde"),
        ({"tag": {"$in": []}}, ""),
        ({"tag": {"$nin": []}}, "abcde"),
        ({"tag": {"$exists": True}}, "abc"),
        ({"author.name": "Xu"}, "ab"),
        ({"author": {"$exists": True}}, "abd"),
        ({"open": True}, "c"),
        ({"open": 1}, "d"),
        ({"open": {"$gte": 0}}, "d"),
        ({"_id": "b"}, "b"),
        ({"_id": {"$in": ["a", "e", "x"]}}, "ae"),
        ({"_id": {"$gt": "b", "$lte": "d"}}, "cd"),
        ({"_title": "Alpha"}, "ad"),
        ({"_title": {"$ne": ""}}, "acde"),
        ({"_id": {"$exists": True}}, "abcde"),
        ({"$or": [{"lang": "en"}, {"open": 1}]}, "ad"),
        ({"$or": [{"lang": "en"}, {"open": 1}], "year": {"$lt": 1995}}, "d"),
        ({"$not": {"lang": "en", "year": 1999}}, "bcde"),
        ({"$not": {"$or": [{"lang": "en"}, {"lang": "de"}]}}, "cde"),
        ({}, "abcde"),
    ],
)
def test_by_hand(where, ids):
    assert "".join(found(LIBRARY, where)) == ids


def test_numbers_are_exact_to_64_bits_and_floats_beyond():
    big = 2**53
    documents = [
        (str(i), "", {"n": n})
        for i, n in enumerate([big, big + 1, float(big), 2**63 - 1, 2**63, -(2**63), 10**400, 0.1])
    ]
    assert found(documents, {"n": big}) == ["0", "2"]
    assert found(documents, {"n": big + 1}) == ["1"]
    assert found(documents, {"n": {"$gt": float(big), "$lt": 2**62}}) == ["1"]
    assert found(documents, {"n": 2**63 - 1}) == ["3"]
    assert found(documents, {"n": 2**63}) == found(documents, {"n": 2.0**63}) == ["4"]
    assert found(documents, {"n": 2**63 + 1}) == ["4"]  # the same float
    assert found(documents, {"n": {"$lt": 0}}) == ["5"]
    assert found(documents, {"n": {"$gte": 10**500}}) == ["6"]
    assert found(documents, {"n": 0.1}) == ["7"]


def test_texts_that_databases_stumble_over():
    texts = [
        "",
        "a\0b",
        "a",
        "it's",
        '"; DROP TABLE fields; --',
        "É",
        "\ud800",
        "😀",
        "z",
        "%",
        "*",
    ]
    documents = [(f"{i}", "", {"t": text, text: 1}) for i, text in enumerate(texts)]
    for number, text in enumerate(texts):
        assert found(documents, {"t": text}) == [str(number)]
        if text:
            assert str(number) in found(documents, {text: 1})
    # By code point, as Python orders texts.
    order = sorted(range(len(texts)), key=lambda i: texts[i].replace("\ud800", "\ufffd"))
    for place, number in enumerate(order):
        above = sorted(order[place + 1 :])
        expected = [str(i) for i in above]
        operand = {"t": {"$gt": texts[number]}}
        assert sorted(found(documents, operand), key=int) == expected


def test_a_key_with_a_dot_and_its_nested_spelling_are_one():
    documents = [
        ("0", "", {"a.b": 1}),
        ("1", "", {"a": {"b": 1}}),
        ("2", "", {"a": [[{"b": 1}]], "a.b": 2}),
        ("3", "", {"a": "b"}),
    ]
    assert found(documents, {"a.b": 1}) == ["0", "1", "2"]
    assert found(documents, {"a": {"$exists": True}}) == ["1", "2", "3"]


def test_rows():
    metadata = {"a": [1, 1.0, True, "1", None, [2]], "b": {"c": {}}, "d": (), 5: 2**70}
    assert list(field_rows(metadata)) == [
        ("a", "container", 0),
        ("a", "number", 1),
        ("a", "bool", 1),
        ("a", "text", "1"),
        ("a", "null", 0),
        ("a", "number", 2),
        ("b", "container", 0),
        ("b.c", "container", 0),
        ("d", "container", 0),
        ("5", "number", 2.0**70),
    ]
    read_back = json.loads(json.dumps(metadata))
    assert list(field_rows(read_back)) == list(field_rows(metadata))
    deep = {"x": "leaf"}
    for _ in range(5000):
        deep = {"x": deep}
    assert sum(1 for _ in field_rows(deep)) == 5001


# ---- random --------------------------------------------------------------------------------------

KEYS = ["a", "b", "b.c", "b.c.d", "c", "_id", "_title"]
NUMBERS = [-1, 0, 1, 2, 0.0, -0.0, 0.5, 1.0, 2**53, 2**53 + 1, 2.0**53, 2**64, -(10**310)]
TEXTS = ["", "0", "1", "a", "b", "B", "é", "\ud8ff", "😀", "a\0"]
SCALARS = [None, True, False, *NUMBERS, *TEXTS]
COMPARE = {"$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le}


def random_value(rng, depth=0):
    kind = rng.random()
    if depth < 3 and kind < 0.2:
        return [random_value(rng, depth + 1) for _ in range(rng.randint(0, 3))]
    if depth < 3 and kind < 0.4:
        names = rng.sample(["a", "c", "d", "c.d"], rng.randint(0, 3))
        return {name: random_value(rng, depth + 1) for name in names}
    return rng.choice(SCALARS)


def random_document(rng, number):
    names = rng.sample(["a", "b", "c", "b.c", "_id", "_title"], rng.randint(0, 4))
    metadata = {name: random_value(rng) for name in names}
    return f"{rng.choice('ab1')}{number}", rng.choice(["", "a", "b", "é"]), metadata


def random_operators(rng, key, depth):
    scalars = [*TEXTS, "a1", "b2"] if key.startswith("_") else SCALARS
    ordered = [*TEXTS, "a1", "b2"] if key.startswith("_") or rng.random() < 0.4 else NUMBERS
    operators = {}
    for name in rng.sample(
        ["$eq", "$ne", "$in", "$nin", "$exists", "$not", *COMPARE], rng.choice([1, 1, 1, 2, 3])
    ):
        if name in COMPARE:
            operators[name] = rng.choice(ordered)
        elif name in ("$in", "$nin"):
            operators[name] = rng.sample(scalars, rng.randint(0, 4))
        elif name == "$exists":
            operators[name] = rng.random() < 0.5
        elif name == "$not":
            if depth < 3:
                operators[name] = random_operators(rng, key, depth + 1)
        else:
            operators[name] = rng.choice(scalars)
    return operators or {"$eq": rng.choice(scalars)}


def random_filter(rng, depth=0):
    where = {}
    for _ in range(rng.choice([1, 1, 2])):
        kind = rng.random()
        if depth < 3 and kind < 0.3:
            parts = [random_filter(rng, depth + 1) for _ in range(rng.randint(1, 3))]
            where[rng.choice(["$and", "$or"])] = parts
        elif depth < 3 and kind < 0.4:
            where["$not"] = random_filter(rng, depth + 1)
        else:
            key = rng.choice(KEYS)
            operators = random_operators(rng, key, 0)
            where[key] = operators["$eq"] if list(operators) == ["$eq"] else operators
    return where


def plain(value):
    """A scalar with its JSON type, as the dialect compares it."""
    if isinstance(value, bool) or value is None:
        return (type(value).__name__, value)
    if isinstance(value, str):
        return ("text", value.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        try:
            value = float(value)
        except OverflowError:
            value = math.inf if value > 0 else -math.inf
    return ("number", value)


def elements(value):
    """The value itself, and what is in it if it is a list."""
    yield value
    if isinstance(value, list):
        for item in value:
            yield from elements(item)


def reach(data, names):
    """Values under a dotted key, taking any number of names for one key."""
    for element in elements(data):
        if not names:
            yield element
        elif isinstance(element, dict):
            for cut in range(1, len(names) + 1):
                key = ".".join(names[:cut])
                if key in element:
                    yield from reach(element[key], names[cut:])


def naive(where, id, title, metadata):
    """The dialect once more, read off the metadata as it is."""
    return all(naive_part(key, operand, id, title, metadata) for key, operand in where.items())


def naive_part(key, operand, id, title, metadata):
    if key == "$and":
        return all(naive(part, id, title, metadata) for part in operand)
    if key == "$or":
        return any(naive(part, id, title, metadata) for part in operand)
    if key == "$not":
        return not naive(operand, id, title, metadata)
    pseudo = {"_id": [id], "_title": [title]}
    values = pseudo.get(key) or list(reach(metadata, key.split(".")))
    return naive_operators(operand if isinstance(operand, dict) else {"$eq": operand}, values)


def naive_operators(operators, values):
    scalars = [plain(value) for value in values if not isinstance(value, list | dict)]
    checks = {
        "$eq": lambda operand: plain(operand) in scalars,
        "$ne": lambda operand: plain(operand) not in scalars,
        "$in": lambda operand: any(plain(item) in scalars for item in operand),
        "$nin": lambda operand: not any(plain(item) in scalars for item in operand),
        "$exists": lambda operand: bool(values) == operand,
        "$not": lambda operand: not naive_operators(operand, values),
    }
    bounds = [(COMPARE[name], plain(b)) for name, b in operators.items() if name in COMPARE]
    in_range = any(
        all(kind == bound[0] and test(value, bound[1]) for test, bound in bounds)
        for kind, value in scalars
    )
    return (not bounds or in_range) and all(
        checks[name](operand) for name, operand in operators.items() if name in checks
    )


@pytest.mark.parametrize("seed", range(4))
def test_random_filters_and_documents(seed):
    rng = random.Random(seed)
    documents = [random_document(rng, number) for number in range(150)]
    # As an index reads metadata back.
    documents = [(id, title, json.loads(json.dumps(data))) for id, title, data in documents]
    connection = database(documents)
    answers = set()
    for _ in range(600):
        where = random_filter(rng)
        condition = parse_filter(where)
        mask = condition.documents(connection, len(documents)).tolist()
        expected = [naive(where, *document) for document in documents]
        assert mask == expected, where
        assert [condition.matches(data, id, title) for id, title, data in documents] == expected
        answers.add(tuple(mask))
    assert len(answers) > 150  # the cases are not all trivial


# ---- how -----------------------------------------------------------------------------------------


def statements(where, documents=LIBRARY):
    connection = database(documents)
    seen = []
    connection.set_trace_callback(seen.append)
    parse_filter(where).documents(connection, len(documents))
    connection.set_trace_callback(None)
    plans = [connection.execute(f"EXPLAIN QUERY PLAN {s}").fetchall() for s in seen]
    return [" ".join(row[-1] for row in plan) for plan in plans]


@pytest.mark.parametrize(
    ("where", "plan"),
    [
        ({"lang": "en"}, "key=? AND kind=? AND value=?"),
        ({"lang": {"$in": ["en", "de"]}}, "key=? AND kind=? AND value=?"),
        ({"year": {"$gte": 2000, "$lt": 2010}}, "key=? AND kind=? AND value>? AND value<?"),
        ({"year": {"$exists": True}}, "key=?"),
        ({"_id": "a"}, "id=?"),
        ({"_id": {"$in": ["a", "b"]}}, "id=?"),
        ({"_id": {"$gte": "a", "$lt": "b"}}, "id>? AND id<?"),
    ],
)
def test_comparisons_are_ranges_of_an_index(where, plan):
    (used,) = statements(where)
    assert used.startswith("SEARCH") and f"({plan})" in used


def test_many_values_and_nothing_left_to_ask():
    assert len(statements({"_id": {"$in": [str(i) for i in range(1700)]}})) == 4
    assert len(statements({"lang": "xx", "year": 1999, "tag": "tax"})) == 1


def test_answers_longer_than_a_text_may_be():
    documents = [(str(i), "", {"x": i % 2}) for i in range(1000)]
    connection = database(documents)
    whole = parse_filter({"x": 1}).documents(connection, 1000)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 500)
    np.testing.assert_array_equal(parse_filter({"x": 1}).documents(connection, 1000), whole)
    assert whole.tolist() == [i % 2 == 1 for i in range(1000)]


def test_no_documents():
    assert parse_filter({"a": {"$ne": 1}}).documents(database([]), 0).shape == (0,)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("UPDATE fields SET document = 7 WHERE document = 4", "names the document 7; there are 5"),
        ("UPDATE fields SET document = -7 WHERE document = 4", "names the document 7"),
        ("UPDATE fields SET document = 'four' WHERE document = 4", "more than integers"),
        ("DROP TABLE fields", "no such table"),
    ],
)
def test_damaged_tables(damage, message):
    connection = database([*LIBRARY[:4], ("e", "", {"lang": "xx"})])
    connection.execute(damage)
    with pytest.raises(CorruptIndexError, match=message):
        parse_filter({"lang": "xx"}).documents(connection, 5)
