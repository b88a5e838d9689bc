"""Shared by the tests of retrieval_index."""

import os

import pytest


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    """What fsync does cannot be seen from inside a test, and a busy disk makes it slow.

    The crash tests still count its calls; the build that is killed has a process of its own.
    """
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
