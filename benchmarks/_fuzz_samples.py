"""Small indexes of every kind, and defects of their files, for fuzz_index.py."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _durability_work import SlowEncoder
from fuzz_corpus import damaged

import retrieval_index
from retrieval_index import Document

FACTORIES = (
    "Flat", "SQ8", "HNSW8", "HNSW8,SQ8", "IVF4,Flat", "IVF4_HNSW8,Flat", "IVF4,SQ8", "IVF4,PQ4x4fs",
    "IVF4,PQ4x4np", "IVF4,RaBitQ", "IVF4,RaBitQfs",
)  # fmt: skip
COUNT = 60
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 59, 61, 2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64, 1e308,
    -0.5, "", "x", "x" * 3000, "../../x", "\x00", "\ud800", [], {}, [[]], {"a": {"b": []}},
    "HNSW64", "IVF4,Flat", "IVF1000000,Flat", "Flat", "PQ4", "inner_product", "dense", "kzoo:x",
    "s000002",
)  # fmt: skip
Defect = Callable[[bytes, random.Random], bytes]


def make(folder: Path, factory: str) -> Path:
    """Builds an index of two segments, with deletions in both and a snapshot of before."""
    path = folder / factory.replace(",", "_")
    words = ("bador", "kefim", "logul", "mipat", "nurez")
    documents = [
        Document(
            f"d{i}", " ".join(words[(i * 7 + j) % 5] + str(j % 3) for j in range(3 + i % 4)),
            "A title" if i % 3 else "", {"n": i, "half": i % 2, "tags": ["a", f"t{i % 5}"]},
        )
        for i in range(COUNT)
    ]  # fmt: skip
    retrieval_index.build(
        documents[: 2 * COUNT // 3], path, SlowEncoder(), index=factory, chunk_size=4, overlap=1
    ).close()
    retrieval_index.add(path, documents[2 * COUNT // 3 :], SlowEncoder())
    retrieval_index.snapshot(path, "first")
    retrieval_index.delete(path, ["d3", "d55"])
    return path


def byte_defect(others: list[bytes]) -> Defect:
    """Returns what damages any bytes; pieces of `others` come into them."""

    def apply(data: bytes, random_: random.Random) -> bytes:
        try:
            return damaged(data, None, others, random_)
        except ValueError:  # nothing was left of it to take a piece from
            return b""

    return apply


def header_defect(data: bytes, random_: random.Random) -> bytes:
    """Puts another number at the place of one of 4 or 8 bytes, mostly near the beginning."""
    changed = bytearray(data)
    width = random_.choice((1, 4, 4, 8))
    reach = random_.choice((64, 256, 2000, len(data)))
    at = random_.randrange(max(1, min(reach, len(data)) - width + 1))
    old = int.from_bytes(changed[at : at + width], "little")
    number = random_.choice(
        (0, 1, -1, old + 1, old - 1, 2 * old, old // 2, 2**31, 2**31 - 1, 2**40, 2**62, 2**63 - 1,
         random_.getrandbits(8 * width), random_.randrange(1000))
    )  # fmt: skip
    changed[at : at + width] = (number % 2 ** (8 * width)).to_bytes(width, "little")
    return bytes(changed)


def json_defect(data: bytes, random_: random.Random) -> bytes:
    """Replaces, removes, doubles or adds a value of a JSON object, one to three times."""
    body = json.loads(data)
    for _ in range(random_.choice((1, 1, 1, 2, 3))):
        places: list[tuple[Any, Any]] = []
        waiting = [body]
        while waiting:
            part = waiting.pop()
            items = part.items() if isinstance(part, dict) else enumerate(part)
            for key, value in items:
                places.append((part, key))
                if isinstance(value, dict | list):
                    waiting.append(value)
        if not places:
            break
        part, key = random_.choice(places)
        what = random_.random()
        if what < 0.6:
            part[key] = random_.choice(VALUES)
        elif what < 0.7:
            del part[key]
        elif what < 0.85:  # a value from elsewhere in it
            other, other_key = random_.choice(places)
            if other_key in other if isinstance(other, dict) else other_key < len(other):
                part[key] = json.loads(json.dumps(other[other_key]))
        elif isinstance(part, dict):
            part[random_.choice(("x", "", "deleted", "raw", str(key) + "x"))] = part[key]
        else:
            part.insert(0, json.loads(json.dumps(part[key])))
    return json.dumps(body).encode()


def sql_defect(folder: Path) -> Defect:
    """Returns what changes a document store by SQL: whole for SQLite, wrong for us."""
    columns = {
        "documents": ("number", "id", "title", "text", "metadata", "digest"),
        "headings": ("number", "text"),
        "fields": ("key", "kind", "value", "document"),
    }
    values = (
        None, -1, 0, 3, 10**9, 2**63 - 1, -(2**63), 1.5, "", "x", "{", "[]", "null", '{"a": NaN}',
        "[" * 5000, b"\xff\xfe", "d1", '{"n": 1e999}',
    )  # fmt: skip

    def apply(data: bytes, random_: random.Random) -> bytes:
        path = folder / "store.sqlite"
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode=OFF")
            connection.execute("PRAGMA synchronous=OFF")
            for _ in range(random_.choice((1, 1, 2))):
                table = random_.choice(tuple(columns))
                column = random_.choice(columns[table])
                some = f"(SELECT {column} FROM {table} ORDER BY {column} LIMIT 1 OFFSET ?)"
                row = random_.randrange(COUNT // 2)
                what = random_.choice(("update", "update", "update", "delete", "drop", "cast"))
                value = random_.choice(values)
                try:
                    if what == "update":
                        sql = f"UPDATE OR IGNORE {table} SET {column} = ? WHERE {column} = {some}"
                        connection.execute(sql, (value, row))
                    elif what == "delete":
                        connection.execute(f"DELETE FROM {table} WHERE {column} = {some}", (row,))
                    elif what == "cast":
                        connection.execute(
                            f"UPDATE OR IGNORE {table} SET {column} = CAST({column} AS BLOB)"
                        )
                    else:
                        connection.execute(f"DROP TABLE {table}")
                except sqlite3.Error:
                    continue
        finally:
            connection.close()
        return path.read_bytes()

    return apply
