"""From the filter a user writes to its conditions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import partial
from numbers import Integral, Real

from retrieval_index.errors import ArgumentError
from retrieval_index.filters import fields
from retrieval_index.filters.filter import (
    COMPARISONS,
    PSEUDO_FIELDS,
    And,
    Between,
    Condition,
    Exists,
    Filter,
    In,
    Not,
    Or,
)

MAX_DEPTH = 50  # far beyond what a person writes, well within what Python's calls allow
SCALARS = "a text, a number, true, false or null"
_COMBINING = ("$and", "$or", "$not")
_OPERATORS = ("$eq", "$ne", "$in", "$nin", *COMPARISONS, "$exists", "$not")


def parse_filter(where: Mapping[str, object] | Filter) -> Filter:
    """Returns the filter that a mapping stands for; see `retrieval_index.filters` for the dialect.

    Args:
        where: Plain data such as `{"lang": "en"}`, or a filter that was parsed before.

    Raises:
        ArgumentError: If an operator is unknown, an operand of a wrong type, a list of conditions
            empty, or the nesting deeper than 50. The message names the place in `where`.
    """
    if isinstance(where, Filter):
        return where
    if isinstance(where, Mapping) and not where:
        return Filter(And(()))
    return Filter(_conditions(where, "where", 0))


def _conditions(where: object, path: str, depth: int) -> Condition:
    """Parses `{"field": ..., "$or": [...]}`."""
    _check_depth(path, depth)
    if not isinstance(where, Mapping):
        raise _error(path, 'a mapping such as {"lang": "en"}', where)
    if not where:
        raise ArgumentError(f"`{path}` is empty; it must hold at least one condition.")
    parts: list[Condition] = []
    for key, operand in where.items():
        here = f"{path}.{key}"
        if not isinstance(key, str) or not key:
            raise _error(path, "keys that are names of fields", key)
        if key in ("$and", "$or"):
            combined = _several(operand, here, depth)
            parts.append(And(combined) if key == "$and" else Or(combined))
        elif key == "$not":
            parts.append(Not(_conditions(operand, here, depth + 1)))
        elif key in _OPERATORS:
            raise ArgumentError(
                f"`{here}` must stand under the name of a field: "
                f'{{"year": {{"{key}": {operand!r:.40}}}}}.'
            )
        elif key.startswith("$"):
            raise ArgumentError(
                f"`{here}` is no operator.{_nearest(key, _COMBINING)} Known here: "
                f"{', '.join(_COMBINING)}, and names of fields, which do not begin with $."
            )
        else:
            parts.append(_field(fields.storable(key), operand, here, depth + 1))
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _several(operand: object, path: str, depth: int) -> tuple[Condition, ...]:
    if not isinstance(operand, list | tuple):
        raise _error(path, "a list of conditions", operand)
    if not operand:
        raise ArgumentError(f"`{path}` is empty; it must hold at least one condition.")
    return tuple(
        _conditions(item, f"{path}[{number}]", depth + 1) for number, item in enumerate(operand)
    )


def _field(key: str, operand: object, path: str, depth: int) -> Condition:
    """Parses what stands under the name of a field: a value, or operators with operands."""
    _check_depth(path, depth)
    if not isinstance(operand, Mapping):
        return In(key, (_value(key, operand, path),))
    if not operand:
        raise ArgumentError(f"`{path}` is empty; it must hold a value or an operator.")
    parts: list[Condition] = []
    bounds: dict[str, object] = {}
    for name, value in operand.items():
        here = f"{path}.{name}"
        if name not in _OPERATORS:
            raise _unknown(path, key, name)
        if name in COMPARISONS:
            bounds[name] = value
        elif name == "$not":
            if not isinstance(value, Mapping):
                raise _error(here, 'operators such as {"$lt": 5} (or use "$ne")', value)
            parts.append(Not(_field(key, value, here, depth + 1)))
        else:
            parts.append(_PARSERS[name](key, value, here))
    if bounds:
        parts.append(_between(key, bounds, path))
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _equal(key: str, operand: object, path: str) -> Condition:
    return In(key, (_value(key, operand, path),))


def _among(key: str, operand: object, path: str) -> Condition:
    if not isinstance(operand, list | tuple | set | frozenset):
        raise _error(path, "a list of values", operand)
    values = [_value(key, item, f"{path}[{number}]") for number, item in enumerate(operand)]
    return In(key, tuple(dict.fromkeys(values)))


def _exists(key: str, operand: object, path: str) -> Condition:
    if not isinstance(operand, bool):
        raise _error(path, "true or false", operand)
    return Exists(key) if operand else Not(Exists(key))


def _negated(
    parse: Callable[[str, object, str], Condition], key: str, operand: object, path: str
) -> Condition:
    return Not(parse(key, operand, path))


_PARSERS: dict[str, Callable[[str, object, str], Condition]] = {
    "$eq": _equal,
    "$ne": partial(_negated, _equal),
    "$in": _among,
    "$nin": partial(_negated, _among),
    "$exists": _exists,
}


def _between(key: str, bounds: dict[str, object], path: str) -> Condition:
    checked: list[tuple[str, fields.Value]] = []
    kinds: set[str] = set()
    for name, operand in bounds.items():
        kind, value = _value(key, operand, f"{path}.{name}")
        if kind not in (fields.NUMBER, fields.TEXT):
            raise _error(f"{path}.{name}", "a number or a text, which have an order", operand)
        kinds.add(kind)
        checked.append((name, value))
    if len(kinds) > 1:
        raise ArgumentError(
            f"`{path}` must have bounds of one type, numbers or texts; received: {bounds!r:.80}."
        )
    return Between(key, kinds.pop(), tuple(checked))


def _value(key: str, operand: object, path: str) -> fields.Typed:
    if isinstance(operand, Integral) and not isinstance(operand, bool):
        operand = int(operand)  # NumPy's integers are none of Python's
    elif isinstance(operand, Real) and not isinstance(operand, bool | int):
        operand = float(operand)
    value = fields.typed(operand)
    if value is None:
        advice = ""
        if isinstance(operand, list | tuple | set | frozenset):
            advice = ' For one of several values use {"$in": [...]}.'
        elif hasattr(operand, "isoformat"):
            advice = " Dates are texts in JSON: use `isoformat()` here and in the metadata."
        raise _error(path, SCALARS, operand, advice)
    if key in PSEUDO_FIELDS and value[0] != fields.TEXT:
        raise _error(path, f"a text, as {key} is one", operand)
    return value


def _unknown(path: str, key: str, name: object) -> ArgumentError:
    if isinstance(name, str) and not name.startswith("$") and f"${name}" not in _OPERATORS:
        hint = f' To reach into an object write "{key}.{name}".'
    else:
        hint = _nearest(str(name), _OPERATORS)
    return ArgumentError(
        f"`{path}.{name}` is no operator.{hint} Known here: {', '.join(_OPERATORS)}."
    )


def _nearest(name: str, known: tuple[str, ...]) -> str:
    close = get_close_matches("$" + name.strip().lstrip("$").lower(), known, n=1)
    return f" Did you mean {close[0]}?" if close else ""


def _check_depth(path: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ArgumentError(f"`where` must be nested at most {MAX_DEPTH} deep: {path[:80]}...")


def _error(path: str, wanted: str, received: object, advice: str = "") -> ArgumentError:
    shown = f"{received!r:.60}" if received is not None else "null"
    return ArgumentError(f"`{path}` must be {wanted}; received: {shown}.{advice}")
