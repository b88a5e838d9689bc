"""Readers of corpus files as `kzoo list --plugins` shows them; they belong to `retrieval_index`."""

from __future__ import annotations

from retrieval_index.corpus.formats import built_in, plugged_in


class CorpusReaders:
    """The suffixes that are read, in the form of a `kzoo.registry.Registry`.

    `retrieval_index` knows nobody of kzoo and finds its readers itself.
    """

    kind = "readers"

    def names(self) -> list[str]:
        """The suffixes; imports no reader of another package."""
        return sorted({*built_in(), *plugged_in()})

    def origin(self, name: str) -> str:
        """The package that a suffix's reader comes from."""
        if name in built_in():
            return "kzoo"
        point = plugged_in()[name][0]
        return point.dist.name if point.dist is not None else point.module


READERS = CorpusReaders()
