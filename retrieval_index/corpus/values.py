"""From the values of NumPy, TensorFlow, Arrow and databases to JSON data."""

from __future__ import annotations

import datetime
import decimal
import math
import uuid
from collections.abc import Mapping
from typing import Any

from retrieval_index.corpus.decoding import Decoding
from retrieval_index.corpus.limits import MAX_ARRAY_VALUES


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
