"""How large one entry may be; a corpus may be of any length.

Every reader holds one entry at a time, so these bounds and not the corpus decide about memory, also
when a few kilobytes of gzip unfold to gigabytes.
"""

from __future__ import annotations

MAX_ENTRY_BYTES = 64 << 20  # one line, row or text file, decompressed
MAX_PDF_BYTES = 1 << 30  # a PDF is mostly pictures, of which nothing is kept
MAX_PDF_PAGES = 20_000
MAX_ARRAY_VALUES = 1_000  # in one metadata value: more is a picture or a sound, not a fact about it
COLUMN_WINDOW = 1_000  # records within which every column that is named by `fields` must turn up


def shown_bytes(count: int) -> str:
    """Returns a count of bytes in MiB."""
    return f"{count / (1 << 20):,.0f} MiB"
