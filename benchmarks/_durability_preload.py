"""Imports, once, all that a change needs, so that processes forked from here start at once."""

import _durability_work  # noqa: F401
import bm25s  # noqa: F401
import faiss  # noqa: F401

import retrieval_index.adding
import retrieval_index.builder
import retrieval_index.compacting
import retrieval_index.deleting
import retrieval_index.lexical.analyzer
import retrieval_index.lexical.writer
import retrieval_index.merging
import retrieval_index.snapshotting  # noqa: F401
