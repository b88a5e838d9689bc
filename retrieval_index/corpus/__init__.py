"""Readers: from a file, a folder or an iterable to a stream of documents."""
