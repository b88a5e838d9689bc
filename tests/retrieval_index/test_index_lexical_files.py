"""Damaged and foreign lexical files: named errors, and never a crash or a pickle."""

import json
import pickle
import random

import numpy as np
import pytest

from retrieval_index.errors import CorruptIndexError, NewerFormatError, RetrievalIndexError
from retrieval_index.lexical.analyzer import Analyzer
from retrieval_index.lexical.block import DATA, INDICES, INDPTR, LENGTHS, VOCABULARY
from retrieval_index.lexical.search import LexicalSegment, search_lexical
from retrieval_index.lexical.writer import SETTINGS, LexicalWriter

pytest.importorskip("bm25s")

PLAIN = Analyzer("none")
TEXTS = [f"alpha beta{i % 3} gamma{i} " + "delta " * (i % 4) for i in range(20)]
QUERY = "alpha beta1 gamma7 delta"


@pytest.fixture
def folder(tmp_path):
    writer = LexicalWriter(tmp_path / "s", PLAIN, block_size=12)
    writer.add(TEXTS)
    writer.finish()
    return tmp_path / "s"


def use(folder):
    segment = LexicalSegment(folder, len(TEXTS))
    search_lexical([segment], [QUERY], PLAIN, 10)
    segment.verify()


def array(folder, name, change):
    path = folder / "block-0000" / name
    data = np.load(path)
    np.save(path, change(data), allow_pickle=False)


def put(data, place, value):
    data[place] = value
    return data


def test_what_was_written_passes(folder):
    use(folder)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (DATA, lambda a: a.astype(np.float64)),
        (DATA, lambda a: a[:-1]),
        (DATA, lambda a: a[None]),
        (DATA, lambda a: put(a, 0, np.nan)),
        (DATA, lambda a: put(a, 0, np.inf)),
        (DATA, lambda a: put(a, 0, -1)),
        (DATA, lambda a: put(a, 0, 100)),
        (INDICES, lambda a: put(a, 0, -1)),
        (INDICES, lambda a: put(a, 0, 12)),
        (INDICES, lambda a: put(a, 0, 2**31 - 1)),
        (INDICES, lambda a: put(a, 1, 0)),
        (INDICES, lambda a: a.astype(np.int64)),
        (INDICES, lambda a: a.astype(">i4")),
        (INDPTR, lambda a: put(a, 0, -4)),
        (INDPTR, lambda a: put(a, 1, a[-1] + 5)),
        (INDPTR, lambda a: put(a, -1, 2**62)),
        (INDPTR, lambda a: put(a, -1, -(2**62))),
        (INDPTR, lambda a: a[:-1]),
        (INDPTR, lambda a: a[:0]),
        (LENGTHS, lambda a: a[:-1]),
        (LENGTHS, lambda a: put(a, 3, -1)),
        (LENGTHS, lambda a: a * 0),
    ],
)
def test_arrays_that_do_not_fit_are_refused(folder, name, change):
    array(folder, name, change)
    with pytest.raises(CorruptIndexError, match=r"block-0000.*damaged"):
        use(folder)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was opened",))


@pytest.mark.parametrize("name", [DATA, INDICES, INDPTR, LENGTHS])
def test_pickles_archives_and_missing_files_are_refused(folder, name):
    path = folder / "block-0000" / name
    good = path.read_bytes()
    np.save(path, np.array([Bomb()], dtype=object), allow_pickle=True)
    with pytest.raises(CorruptIndexError):
        use(folder)
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CorruptIndexError):
        use(folder)
    with path.open("wb") as file:
        np.savez(file, a=np.arange(3))
    with pytest.raises(CorruptIndexError):
        use(folder)
    for length in (0, 5, 100, len(good) - 1):
        path.write_bytes(good[:length])
        with pytest.raises(CorruptIndexError):
            use(folder)
    path.unlink()
    with pytest.raises(CorruptIndexError, match="missing"):
        use(folder)


def test_a_header_that_promises_too_much_is_refused(folder):
    path = folder / "block-0000" / DATA
    good = path.read_bytes()
    at = good.index(b"(") + 1
    digits = good.index(b",", at) - at
    path.write_bytes(good[:at] + b"9" * digits + good[at + digits :])
    with pytest.raises(CorruptIndexError):
        use(folder)
    huge = b"(999999999999999999,), }"
    path.write_bytes(good[: at - 1] + huge + good[at - 1 + len(huge) :])
    with pytest.raises(CorruptIndexError):
        use(folder)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "[" * 100_000,
        '{"alpha": true}',
        '{"alpha": 0, "beta": 0}',
        '{"alpha": -1}',
        '{"alpha": 1e3}',
        '{"alpha": ' + "9" * 5000 + "}",
        "\ufeff{}",
    ],
)
def test_foreign_vocabularies_are_refused(folder, text):
    (folder / "block-0000" / VOCABULARY).write_text(text, encoding="utf-8")
    with pytest.raises(CorruptIndexError):
        use(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("blocks", [12]),
        ("blocks", [12, 8, 1]),
        ("blocks", [8, 12]),
        ("blocks", [12, 0, 8]),
        ("blocks", ["12", 8]),
        ("blocks", [True, 19]),
        ("blocks", None),
        ("k1", -1.0),
        ("k1", "0.9"),
        ("k1", float("nan")),
        ("b", 2.0),
        ("analyzer", {"language": "xx", "stopwords": True, "stemmer": True}),
        ("analyzer", {"language": ["en"], "stopwords": True, "stemmer": True}),
        ("analyzer", None),
        ("format", "1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(folder, key, value):
    path = folder / SETTINGS
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(CorruptIndexError, match=r"is damaged|passages where 20 belong"):
        use(folder)


def test_a_newer_format_and_another_count_are_named(folder):
    with pytest.raises(CorruptIndexError, match="20 passages where 21"):
        LexicalSegment(folder, 21)
    path = folder / SETTINGS
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 2}))
    with pytest.raises(NewerFormatError, match="upgrade"):
        use(folder)


@pytest.mark.filterwarnings("ignore")
def test_no_mutation_of_any_file_gives_more_than_a_named_error(folder):
    rng = random.Random(0)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    refused = 0
    for _ in range(600):
        path = rng.choice(files)
        good = path.read_bytes()
        data = bytearray(good)
        for _ in range(rng.choice([1, 1, 4, 40])):
            # The header of an array, where most of the meaning is, as often as all the rest.
            place = rng.randrange(min(len(data), rng.choice([130, len(data)])))
            data[place] = rng.choice([0, 255, 0x30, rng.randrange(256)])
        if rng.random() < 0.2:
            del data[rng.randrange(len(data)) :]
        replace(path, data)
        try:
            use(folder)
        except RetrievalIndexError:
            refused += 1
        replace(path, good)
    assert refused > 300
    use(folder)


def replace(path, data):
    path.unlink()  # a new file: the old one may still be mapped
    path.write_bytes(data)
