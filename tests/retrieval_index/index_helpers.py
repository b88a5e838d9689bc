"""Encoders and data for the tests of retrieval_index (importable from its subprocesses too)."""

from __future__ import annotations

import hashlib
import time

import numpy as np


class TableEncoder:
    """A random but reproducible direction for each text, so that no two scores tie.

    Counts the texts it encodes; raises once `fail_after` of them were asked for.
    """

    max_tokens = None

    def __init__(self, dimension=24, fingerprint="table-1", fail_after=None, delay=0.0):
        self.dimension = dimension
        self.fingerprint = fingerprint
        self.name = "table:test"
        self.fail_after = fail_after
        self.delay = delay
        self.encoded = 0

    def encode(self, texts):
        if self.fail_after is not None and self.encoded + len(texts) > self.fail_after:
            raise RuntimeError("the encoder broke")
        self.encoded += len(texts)
        time.sleep(self.delay)
        return np.stack([self.vector(text) for text in texts])

    def vector(self, text):
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
        return np.random.default_rng(seed).normal(size=self.dimension).astype(np.float32)

    def unit(self, texts):
        vectors = np.stack([self.vector(text) for text in texts]).astype(np.float64)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def numbered(count):
    """Documents of one chunk each."""
    return [
        (f"d{i}", f"Document number {i} speaks of topic {i * 7919 % 1009}.") for i in range(count)
    ]


def slow_build(out, count):
    """What the subprocess that gets killed runs."""
    import retrieval_index

    retrieval_index.build(
        numbered(count), out, TableEncoder(delay=0.05), shard_size=8, batch_size=4
    )
