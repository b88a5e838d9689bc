"""Bytes and lines below the readers: Zstandard, offsets, limits, pipes."""

import gzip
import random
import re

import pytest
from corpus_samples import put, read, samples

from retrieval_index.corpus import lines as lines_module
from retrieval_index.corpus.byte_source import open_bytes
from retrieval_index.corpus.decoding import Decoding
from retrieval_index.corpus.document import ProblemLog
from retrieval_index.corpus.lines import raw_lines
from retrieval_index.corpus.opening import open_corpus
from retrieval_index.errors import CorpusError

# --- bytes and lines ------------------------------------------------------------------------------


def test_zstandard_frames_and_sizes(tmp_path):
    zstandard = pytest.importorskip("zstandard")
    rng = random.Random(0)
    parts = [
        rng.randbytes(rng.choice((0, 1, 5_000, 300_000))) * rng.choice((1, 5)) for _ in range(9)
    ]
    packed = b"".join(zstandard.compress(part, rng.choice((1, 9))) for part in parts)
    path = put(tmp_path / "x", packed)
    with open_bytes(path) as file:
        assert file.read() == b"".join(parts)
    with open_bytes(path) as file:
        pieces = iter(lambda: file.read(rng.choice((1, 77, 100_000))), b"")
        assert b"".join(pieces) == b"".join(parts)


@pytest.mark.parametrize("damage", ["cut", "tail", "flip", "window"])
def test_zstandard_damage_is_an_error(tmp_path, damage):
    zstandard = pytest.importorskip("zstandard")
    data = samples.zst(samples.jsonl() * 200)
    if damage == "window":
        parameters = zstandard.ZstdCompressionParameters(window_log=28, enable_ldm=True)
        maker = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        data = maker.compress(samples.jsonl()) + maker.flush()
    changed = {
        "cut": data[:-7],
        "tail": data + b"\n\n{",
        "flip": data[:-2] + bytes([data[-2] ^ 1]) + data[-1:],
        "window": data,
    }[damage]
    with pytest.raises(CorpusError, match=r"c\.jsonl cannot be read to its end: .*Zstandard"):
        read(put(tmp_path / "c.jsonl", changed))


def test_zstandard_bomb_is_read_in_bounded_memory(tmp_path, monkeypatch):
    import tracemalloc

    pytest.importorskip("zstandard")
    monkeypatch.setattr(lines_module, "MAX_ENTRY_BYTES", 1 << 20)
    path = put(tmp_path / "c.jsonl", samples.zst(b"\0" * 200_000_000 + b'\n{"text": "after"}\n'))
    assert path.stat().st_size < 50_000
    tracemalloc.start()
    documents, log = read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [d.text for d in documents] == ["after"] and log.skipped == {"too_large": 1}
    assert peak < 80e6


@pytest.mark.parametrize("block", [4, 7, 64])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16-le", "utf-16-be", "utf-32-be"])
def test_lines_and_offsets(tmp_path, monkeypatch, encoding, block):
    monkeypatch.setattr(lines_module, "BLOCK", block)
    rng = random.Random(block)
    letters = "ab\r\n\n" + ("é" if encoding == "latin-1" else "é\u0a0a\u0a00\u010a\U0001000a\u2028")
    for _ in range(60):
        text = "".join(rng.choices(letters, k=rng.randrange(40)))
        data = text.encode(encoding)
        with open_bytes(put(tmp_path / "x", data)) as file:
            found = list(raw_lines(file, Decoding(encoding)))
        expected = re.findall(r"[^\n]*\n|[^\n]+", text)
        assert [line.text() for line in found] == expected
        assert b"".join(line.data for line in found) == data
        assert all(data[line.offset :].startswith(line.data) for line in found)
        assert [line.number for line in found] == list(range(1, len(found) + 1))


@pytest.mark.parametrize("block", [3, 16, 1000])
def test_lines_that_are_too_long(tmp_path, monkeypatch, block):
    monkeypatch.setattr(lines_module, "BLOCK", block)
    monkeypatch.setattr(lines_module, "MAX_ENTRY_BYTES", 10)
    data = b"123456789\n" + b"a" * 10 + b"\n" + b"b" * 500 + b"\nshort\n" + b"c" * 11
    with open_bytes(put(tmp_path / "x", data)) as file:
        found = [(line.offset, line.data) for line in raw_lines(file, Decoding())]
    assert found == [
        (0, b"123456789\n"), (10, None), (21, None), (522, b"short\n"), (528, None),
    ]  # fmt: skip


def test_pipe_as_a_corpus(tmp_path):
    import os
    import threading

    path = tmp_path / "c.jsonl"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_bytes(gzip.compress(samples.jsonl())))
    writer.start()
    documents = list(open_corpus(path).read(ProblemLog(strict=True)))
    writer.join()
    assert len(documents) == len(samples.RECORDS)
