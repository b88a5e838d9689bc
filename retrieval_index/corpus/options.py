"""What a reader is told besides the place of its corpus."""

from __future__ import annotations

from dataclasses import dataclass, field

from retrieval_index.corpus.decoding import Decoding
from retrieval_index.corpus.fields import FieldMap


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How records become documents.

    Attributes:
        fields: Columns that were named, or None for the default ones.
        decoding: From bytes to text.
        require_ids: Whether a record without an id is a problem, instead of being given one that is
            derived from its text.
    """

    fields: FieldMap | None = None
    decoding: Decoding = field(default_factory=Decoding)
    require_ids: bool = False

    @property
    def columns(self) -> FieldMap:
        """The columns, named or default."""
        return self.fields or FieldMap()


DEFAULT_OPTIONS = ReadOptions()
