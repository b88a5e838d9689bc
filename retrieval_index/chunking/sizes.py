"""How large chunks are unless someone says otherwise, and how large they may be."""

from __future__ import annotations

from retrieval_index.arguments import check_positive
from retrieval_index.chunking.methods.table import CHARACTERS, DOCUMENTS, find_method
from retrieval_index.errors import ArgumentError

# A 256-token encoder (the MiniLM family) is the reference. English has about 1.3 tokens a word and
# technical text up to 1.6: 160 words fit. Longer windows are not the default for encoders that
# take more, as one vector for a long text blurs what it says.
MAX_DEFAULT_TOKENS = 256
DEFAULT_WORDS = 160
TOKENS_LEFT_FREE = 8  # [CLS], [SEP], and words that split otherwise at the cut
CHARACTERS_A_WORD = 6  # of English, the space included
OVERLAP_SHARE = 8  # the default overlap is an eighth of the size


def default_size(units: str, max_tokens: int | None) -> int:
    """Returns the size of chunks for an encoder that reads `max_tokens` (None: any number)."""
    limit = min(max_tokens or MAX_DEFAULT_TOKENS, MAX_DEFAULT_TOKENS)
    if units == "tokens":
        return max(1, limit // 2, limit - TOKENS_LEFT_FREE)
    words = limit * DEFAULT_WORDS // MAX_DEFAULT_TOKENS
    return max(1, words * CHARACTERS_A_WORD if units == CHARACTERS else words)


def check_sizes(size: int | None, overlap: int | None, method: str = "tokens") -> None:
    """Checks what can be checked before the encoder is known.

    Args:
        size: Chunk size, or None when it is still to be chosen.
        overlap: Overlap, or None.
        method: Name of a method of chunking.

    Raises:
        ArgumentError: If the method is unknown, unless `size >= 1` and `0 <= overlap < size`, or
            if either is given with the method "none".
    """
    if find_method(method).units == DOCUMENTS and not (size is None and overlap is None):
        raise ArgumentError(
            "`chunk_size` and `overlap` have no meaning with `method` 'none', which makes one "
            f"passage of each document; received: {size!r} and {overlap!r}."
        )
    if size is not None:
        check_positive("chunk_size", size)
    if overlap is None:
        return
    if isinstance(overlap, bool) or not isinstance(overlap, int) or overlap < 0:
        raise ArgumentError(f"`overlap` must be a whole number from 0 on; received: {overlap!r}.")
    if size is not None and overlap >= size:
        raise ArgumentError(
            f"`overlap` must be smaller than `chunk_size` ({size}), or chunks would not move on; "
            f"received: {overlap}. An eighth of it ({size // OVERLAP_SHARE}) is usual."
        )
