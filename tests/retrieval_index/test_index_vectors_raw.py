"""The file of raw rows."""

import numpy as np
import pytest
from vectors_samples import clustered

from retrieval_index.errors import ArgumentError, CorruptIndexError
from retrieval_index.vectors.reading import RawWriter, read_raw, write_raw
from retrieval_index.vectors.rows import block_rows, in_blocks


def test_rows_come_back_as_they_were_and_lie_where_the_header_says_nothing(tmp_path):
    rows = clustered(100)
    path = tmp_path / "rows.f32"
    assert write_raw([rows[:30], rows[30:30], rows[30:]], 32, path) == 100
    assert path.read_bytes() == rows.astype("<f4").tobytes()
    read = read_raw(path, 100, 32)
    assert np.array_equal(read, rows) and not read.flags.writeable
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "rows.f32"
    write_raw([clustered(10)], 32, path)
    before = path.read_bytes()
    with pytest.raises(RuntimeError), RawWriter(path, 32) as writer:
        writer.append(clustered(5, seed=1))
        raise RuntimeError
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_of_another_size_is_refused(tmp_path):
    path = tmp_path / "rows.f32"
    write_raw([clustered(10)], 32, path)
    for count, dimension in ((9, 32), (11, 32), (10, 31)):
        with pytest.raises(CorruptIndexError, match="1,280 bytes"):
            read_raw(path, count, dimension)
    with pytest.raises(CorruptIndexError, match="cannot be opened"):
        read_raw(tmp_path / "absent.f32", 10, 32)


def test_rows_that_are_no_vectors_are_refused(tmp_path):
    broken = clustered(4)
    broken[2, 5] = np.nan
    for rows, message in (
        (clustered(4)[:, :31], r"shape \(n, 32\)"),
        (clustered(4)[0], r"shape \(n, 32\)"),
        (np.full((2, 32), "a"), "numbers"),
        (broken, "row 2 holds NaN"),
    ):
        with pytest.raises(ArgumentError, match=message):
            write_raw([rows], 32, tmp_path / "rows.f32")
    assert not list(tmp_path.iterdir())


def test_blocks_do_not_depend_on_the_parts_they_come_in():
    dimension = 4096
    size = block_rows(dimension)
    rows = np.random.default_rng(0).normal(size=(2 * size + 7, dimension)).astype(np.float32)
    for cuts in ([], [1], [size], [size - 1, size + 1], [5, 5, 2 * size], [2 * size + 7]):
        blocks = list(in_blocks(np.split(rows, cuts), dimension))
        assert [len(block) for block in blocks] == [size, size, 7]
        assert np.array_equal(np.concatenate(blocks), rows)
