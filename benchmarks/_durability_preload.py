"""Imports, once, all that a change needs, so that processes forked from here start at once."""

import _durability_work  # noqa: F401
import bm25s  # noqa: F401
import faiss  # noqa: F401

import retrieval_index.building.builder
import retrieval_index.lexical.analyzer
import retrieval_index.lexical.writer
import retrieval_index.maintenance.adding
import retrieval_index.maintenance.changing
import retrieval_index.maintenance.compacting
import retrieval_index.maintenance.merging
import retrieval_index.maintenance.snapshotting  # noqa: F401
