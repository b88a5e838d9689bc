"""Worker of `index_overhead.py`: encodes passages alone, builds an index, or replays a build.

"encode" encodes the passages in the batches of a build, and keeps the vectors; "build" builds the
index; "replay" builds it with an encoder that takes the kept vectors out of memory, so that all the
time it takes is what building costs besides encoding.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from _compare import Result, serve
from _memory import PeakMemory
from _stage_clock import StageClock, time_build
from numpy.typing import NDArray

WARM_UP = ["A first text, so that nothing is loaded or compiled later.", "Another."]


class Replay:
    """Returns vectors that exist, by text.

    Args:
        encoder: The encoder that made them; tells the tokens, and encodes other texts.
        texts: The texts.
        vectors: Their vectors.
    """

    def __init__(self, encoder: Any, texts: list[str], vectors: NDArray[np.float32]) -> None:
        self._rows = {text: row for row, text in enumerate(texts)}
        self._vectors = vectors
        self._encode = encoder.encode
        self.name = encoder.name
        self.fingerprint = encoder.fingerprint
        self.dimension = encoder.dimension
        self.max_tokens = encoder.max_tokens
        if hasattr(encoder, "token_offsets"):
            self.token_offsets = encoder.token_offsets

    def encode(self, texts: list[str], /) -> NDArray[np.float32]:
        """The vectors of these texts; others, the queries that tune and measure, are encoded."""
        rows = [self._rows.get(text, -1) for text in texts]
        found: NDArray[np.float32] = self._vectors[rows]
        others = [place for place, row in enumerate(rows) if row < 0]
        if others:
            found[others] = self._encode([texts[place] for place in others])
        return found


def work(request: dict[str, Any]) -> Result:
    """Runs one side."""
    import retrieval_index

    encoder = retrieval_index.resolve_encoder(request["encoder"])
    out = Path(request["out"])
    vectors = Path(request["vectors"])
    encoder.encode(list(WARM_UP))
    if request["side"] == "encode":
        texts = passages(request, encoder)
        began = _now()
        found = encoded(encoder, texts, request["batch_size"], request["shard_size"])
        taken = _since(began)
        if not vectors.exists():
            np.save(vectors, found)
            vectors.with_suffix(".json").write_text(json.dumps(texts), encoding="utf-8")
        characters = sum(map(len, texts))
        return {**taken, "passages": len(texts), "characters": characters}
    with StageClock() as clock, PeakMemory() as memory:
        if request["side"] == "replay":
            known = json.loads(vectors.with_suffix(".json").read_text(encoding="utf-8"))
            encoder = Replay(encoder, known, np.load(vectors))
            time_build(clock)
        # An index that is there would be replaced, which is other work.
        shutil.rmtree(out, ignore_errors=True)
        began = _now()
        index = retrieval_index.build(
            request["corpus"],
            out,
            encoder,
            chunk_size=request["chunk_size"],
            language=request["language"],
            index=request["index"],
            batch_size=request["batch_size"],
            shard_size=request["shard_size"],
            progress=False,
        )
        taken = _since(began)
    with index:
        return {
            **taken,
            "passages": len(index),
            "inside_encoder": index.report.encode_seconds,
            "peak_resident": memory.resident,
            "stages": clock.seconds,
        }


def passages(request: dict[str, Any], encoder: Any) -> list[str]:
    """What a build of the corpus gives the encoder, in order."""
    from retrieval_index.chunking.chunker import Chunker
    from retrieval_index.corpus.document import ProblemLog
    from retrieval_index.corpus.opening import open_corpus

    chunker = Chunker.for_encoder(encoder, request["chunk_size"], None, "tokens")
    entries = open_corpus(request["corpus"]).read(ProblemLog())
    split = chunker.split_many(entry.document for entry in entries)
    return [chunk.encoded for _, chunks in split for chunk in chunks]


def encoded(encoder: Any, texts: list[str], batch_size: int, shard_size: int) -> NDArray[Any]:
    """Encodes the texts in the batches in which a build does: by length within each shard."""
    vectors = np.empty((len(texts), encoder.dimension), np.float32)
    for rows in _batches(texts, batch_size, shard_size):
        vectors[rows] = encoder.encode([texts[row] for row in rows])
    return vectors


def _batches(texts: list[str], batch_size: int, shard_size: int) -> Iterator[list[int]]:
    for first in range(0, len(texts), shard_size):
        shard = range(first, min(first + shard_size, len(texts)))
        order = sorted(shard, key=lambda i: (-len(texts[i]), i))
        for start in range(0, len(order), batch_size):
            yield order[start : start + batch_size]


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _since(began: tuple[float, float]) -> Result:
    now = _now()
    return {"seconds": now[0] - began[0], "cpu_seconds": now[1] - began[1]}


if __name__ == "__main__":
    serve(work)
