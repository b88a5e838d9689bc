"""Names of encoders that carry options: "<provider>:<source>?<option>=<value>&..."."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from urllib.parse import parse_qsl, urlencode

from retrieval_index.errors import EncoderError


def with_options(source: str, options: Mapping[str, object]) -> str:
    """Returns "source?option=value&...", percent-encoded; options that are None are left out."""
    given = {key: str(value) for key, value in options.items() if value is not None}
    return f"{source}?{urlencode(given, safe='/:')}" if given else source


def split_options(name: str, provider: str, known: Collection[str]) -> tuple[str, dict[str, str]]:
    """Returns the source and the options of a name.

    Args:
        name: What stands behind "<provider>:".
        provider: For messages.
        known: Options there are.

    Raises:
        EncoderError: If there is no source, or an option that is unknown, repeated or malformed.
    """
    if os.path.exists(name):  # a file whose name holds a question mark
        return name, {}
    source, mark, query = name.partition("?")
    if not source:
        raise EncoderError(
            f"`encoder` must be written '{provider}:<path or name>'; received: '{provider}:{name}'."
        )
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if mark else []
    except ValueError as error:
        raise EncoderError(
            f"`encoder` must be written '{provider}:<path or name>?<option>=<value>&...'; "
            f"received: '{provider}:{name}' ({error})."
        ) from error
    options = dict(pairs)
    unknown = sorted(set(options) - set(known))
    if unknown or len(options) < len(pairs):
        what = f"the unknown option {unknown[0]!r}" if unknown else "an option twice"
        raise EncoderError(
            f"`encoder` '{provider}:{name}' has {what}; there are: {', '.join(sorted(known))}."
        )
    return source, options
