"""From a raw record (mapping, pair, string) to a checked `Document`."""

from __future__ import annotations

import datetime
import decimal
import json
import math
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

from retrieval_index.corpus.decoding import Decoding, UndecodableError
from retrieval_index.corpus.document import Document, ProblemLog, derived_id
from retrieval_index.corpus.fields import FieldMap, shown_columns
from retrieval_index.corpus.lines import MAX_ARRAY_VALUES
from retrieval_index.corpus.reader import DEFAULT_OPTIONS, ReadOptions


def plain_value(value: Any, decoding: Decoding) -> Any:
    """Returns `value` as plain Python data, without importing the library it comes from.

    Bytes are decoded; NumPy scalars, arrays and eager tensors become numbers, strings and lists;
    dates and times become ISO 8601 strings; decimals become floats; intervals become seconds.
    Anything else stays as it is.

    Raises:
        UndecodableError: If bytes do not fit the encoding.
        ValueError: If an array has more than `MAX_ARRAY_VALUES` values.
    """
    # Most values are one of these; a subclass (numpy.str_, numpy.float64) is made plain.
    for kind in (str, bool, int, float):
        if isinstance(value, kind):
            return kind(value)
    if value is None:
        return None
    if isinstance(value, bytes | bytearray | memoryview):
        return decoding.decode(bytes(value))
    if isinstance(value, Mapping):
        return {_key(key, decoding): plain_value(item, decoding) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(item, decoding) for item in value]
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, uuid.UUID):
        return str(value)
    return _foreign_value(value, decoding)


def _key(key: Any, decoding: Decoding) -> str:
    return str(plain_value(key, decoding))


def _foreign_value(value: Any, decoding: Decoding) -> Any:
    if hasattr(value, "row_splits") and callable(getattr(value, "to_list", None)):  # ragged tensor
        return plain_value(value.to_list(), decoding)
    if callable(getattr(value, "numpy", None)):  # eager tensor
        return plain_value(value.numpy(), decoding)
    if hasattr(value, "dtype") and callable(getattr(value, "tolist", None)):  # array or scalar
        size = getattr(value, "size", 1)
        if isinstance(size, int) and size > MAX_ARRAY_VALUES:
            raise ValueError(
                f"an array of {size} values; metadata holds at most {MAX_ARRAY_VALUES}, so name "
                "the columns to keep: fields={'metadata': [...]}"
            )
        if getattr(value.dtype, "kind", "") == "M":  # `tolist` makes bare numbers of nanoseconds
            return plain_value(value.astype(str).tolist(), decoding)
        return plain_value(value.tolist(), decoding)
    return value


def without_nan(record: dict[str, Any]) -> dict[str, Any]:
    """Returns a row with None for NaN, which is how data frames write an empty cell."""
    return {
        key: None if isinstance(value, float) and math.isnan(value) else value
        for key, value in record.items()
    }


class _Raw(NamedTuple):
    id: Any
    text: Any
    title: Any
    metadata: Any


class _Unusable(Exception):
    """A record that makes no document; its arguments are the reason and the detail."""


def to_document(
    record: object, where: str, log: ProblemLog, options: ReadOptions = DEFAULT_OPTIONS
) -> Document | None:
    """Returns the document that a record stands for, or None after recording what is wrong.

    Args:
        record: A `Document`, a mapping with `text` and optionally `_id` or `id`, `title`,
            `metadata` (further keys become metadata), an `(id, text)` pair, or a plain text.
        where: Place of the record, for messages.
        log: Receives the problem when the record cannot be used.
        options: Other names of the keys, whether an id is required, and the encoding of bytes.

    Returns:
        A document with an id, some non-blank text or title, and JSON-ready metadata; or None.

    Raises:
        CorpusError: If the record cannot be used and the log is strict.
    """
    try:
        return _document(record, options)
    except _Unusable as problem:
        reason, detail = problem.args
    except UndecodableError as error:
        reason, detail = error.reason, error.detail
    except RecursionError:
        reason, detail = "bad_metadata", "`metadata` is nested too deeply"
    log.add(reason, where, detail)
    return None


def _document(record: object, options: ReadOptions) -> Document:
    raw = _raw_fields(record, options)
    _check(raw)
    identifier = raw.id
    title = raw.title or ""
    if identifier in (None, ""):
        if options.require_ids:
            raise _Unusable("no_id", "it has no id, and `require_ids` asks for one")
        identifier = derived_id(title, raw.text)
    return Document(str(identifier), raw.text, title, raw.metadata)


def _raw_fields(record: object, options: ReadOptions) -> _Raw:
    if isinstance(record, Document):
        return _Raw(record.id, record.text, record.title, record.metadata)
    if isinstance(record, bytes):
        record = options.decoding.decode(record)
    if isinstance(record, str):
        return _Raw(None, record, "", {})
    if isinstance(record, Mapping):
        return _from_mapping(record, options)
    if isinstance(record, tuple | list) and len(record) == 2:
        identifier, text = (plain_value(value, options.decoding) for value in record)
        return _Raw(identifier, text, "", {})
    kind = type(record).__name__
    raise _Unusable("not_a_record", f"a document, mapping or pair was expected, not {kind}")


def _from_mapping(record: Mapping[Any, Any], options: ReadOptions) -> _Raw:
    columns = options.columns
    decoding = options.decoding

    def plain(name: str) -> Any:
        try:
            return plain_value(record.get(name), decoding)
        except ValueError as error:
            raise _Unusable("bad_value", f"`{name}` is of no use ({error})") from error

    identifiers = (plain(name) for name in columns.id_columns)
    identifier = next((value for value in identifiers if value is not None), None)
    text = _text([(name, plain(name)) for name in columns.text_columns], columns, record)
    try:
        metadata = plain_value(columns.metadata_of(record), decoding)
    except ValueError as error:
        raise _Unusable("bad_metadata", f"`metadata` is of no use: {error}") from error
    return _Raw(identifier, text, plain(columns.title_column), metadata)


def _text(parts: list[tuple[str, Any]], columns: FieldMap, record: Mapping[Any, Any]) -> Any:
    if len(parts) == 1 and columns.text is None:
        return parts[0][1]
    present = [(name, value) for name, value in parts if value is not None]
    if not present:
        wanted = " or ".join(repr(name) for name in columns.text_columns)
        raise _Unusable("no_text", f"it has no {wanted}; it has {shown_columns(record)}")
    for name, value in present:
        if not isinstance(value, str):
            raise _Unusable("no_text", f"`{name}` must be a string; received: {_shown(value)}")
    return "\n\n".join(value for _, value in present if value.strip())


def _check(raw: _Raw) -> None:
    """Raises `_Unusable` for the first thing wrong with the fields."""
    identifier, text, title, metadata = raw
    if not isinstance(text, str):
        raise _Unusable("no_text", f"`text` must be a string; received: {_shown(text)}")
    if title is not None and not isinstance(title, str):
        raise _Unusable("bad_title", f"`title` must be a string; received: {_shown(title)}")
    if isinstance(identifier, bool) or not isinstance(identifier, str | int | None):
        raise _Unusable(
            "bad_id", f"`id` must be a string or an integer; received: {_shown(identifier)}"
        )
    if not text.strip() and not (title or "").strip():
        raise _Unusable("blank", "`text` and `title` are both blank")
    if not isinstance(metadata, Mapping):
        raise _Unusable(
            "bad_metadata", f"`metadata` must be a mapping; received: {_shown(metadata)}"
        )
    try:
        written = json.dumps(dict(metadata), allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise _Unusable("bad_metadata", f"`metadata` is no JSON data ({error})") from error
    try:
        # JSON may spell lone surrogates (\ud800), which no UTF-8 file or database can hold.
        f"{identifier}{title}{text}".encode()
    except UnicodeEncodeError as error:
        detail = f"a lone surrogate at character {error.start} has no UTF-8 form"
        raise _Unusable("not_utf8", detail) from error
    except ValueError as error:  # Python refuses to write out an integer of thousands of digits
        raise _Unusable("bad_id", f"`id` is no usable number ({error})") from error
    try:
        written.encode()
    except UnicodeEncodeError as error:
        detail = "`metadata` holds a lone surrogate, which has no UTF-8 form"
        raise _Unusable("not_utf8", detail) from error


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    try:
        shown = repr(value)
    except ValueError:  # an integer of thousands of digits
        return f"a {type(value).__name__} too long to show"
    return shown if len(shown) <= 40 else f"{shown[:37]}..."
