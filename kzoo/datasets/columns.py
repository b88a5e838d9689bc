"""What the user may say of a source, and which of its columns is text, second text and label."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from kzoo.errors import DatasetError

_TEXT = (
    "text",
    "sentence",
    "question",
    "query",
    "utterance",
    "content",
    "review",
    "document",
)
_PAIRS = (
    ("sentence1", "sentence2"),
    ("sentence_1", "sentence_2"),
    ("text1", "text2"),
    ("text_1", "text_2"),
    ("text_a", "text_b"),
    ("text", "text_pair"),
    ("premise", "hypothesis"),
    ("anchor", "positive"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("question", "passage"),
    ("question", "context"),
    ("query", "passage"),
    ("query", "document"),
)
_LABEL = ("label", "labels", "category", "intent", "class", "target", "sentiment")
_SCORE = ("score", "similarity", "similarity_score", "relatedness_score")
_TASKS = ("classification", "regression", "multilabel", "tag", "span", "rank", "choose")
_IDS = ("id", "_id", "idx", "guid")


@dataclass(frozen=True)
class Roles:
    """Column names by their use.

    Args:
        text: column of the text.
        pair: column of the second text, or None.
        label: column of the label, or None.
        ids: column of the row identifier, or None.
    """

    text: str
    pair: str | None = None
    label: str | None = None
    ids: str | None = None

    def as_dict(self) -> dict[str, str]:
        """The roles that are filled, for the card."""
        roles = {"text": self.text, "pair": self.pair, "label": self.label, "ids": self.ids}
        return {role: column for role, column in roles.items() if column is not None}


def is_score(column: str | None) -> bool:
    """Whether a label column of this name holds scores and not classes."""
    return column is not None and column.lower() in _SCORE


def usual_pairs(columns: Sequence[str]) -> list[tuple[str, str]]:
    """Columns that by their names are the two texts of a pair.

    Args:
        columns: the columns there are.

    Returns:
        (first text, second text) of every pair among them.
    """
    by_name = {name.lower(): name for name in columns}
    return [(by_name[a], by_name[b]) for a, b in _PAIRS if a in by_name and b in by_name]


def find_roles(columns: Sequence[str], options: Options, source: str) -> Roles:
    """Decide the use of each column.

    Args:
        columns: the columns there are.
        options: columns the user named, and whether there are labels.
        source: the file, for messages.

    Returns:
        The roles.

    Raises:
        DatasetError: if a named column is absent, no column has a known name, or several could be
            meant; the message lists the columns.
    """
    found = f"columns found in {source}: {', '.join(repr(name) for name in columns)}"
    if len(set(columns)) != len(columns):
        raise DatasetError(f"a column name occurs twice; {found}")
    for argument in ("text_column", "pair_column", "label_column"):
        named = getattr(options, argument)
        if named is not None and named not in columns:
            raise DatasetError(f"`{argument}` {named!r} is not a column; {found}")
    label = options.label_column
    if label is None and options.labelled:
        label = _only(columns, _LABEL + _SCORE, "label_column", found, (options.text_column,))
        if label is None:
            raise DatasetError(
                "no column has a usual name of a label; give `label_column`, or `labelled=False` "
                "if there are none, or `columns=[...]` if a CSV or TSV file has no header line; "
                + found
            )
    text, pair = _texts([name for name in columns if name != label], options, found)
    lowered = {name.lower(): name for name in columns if name not in (text, pair, label)}
    ids = next((lowered[name] for name in _IDS if name in lowered), None)
    return Roles(text, pair, label, ids)


def _texts(columns: list[str], options: Options, found: str) -> tuple[str, str | None]:
    text, pair = options.text_column, options.pair_column
    if text is not None:
        return text, pair
    by_name = {name.lower(): name for name in columns if name != pair}
    if pair is None:
        pairs = usual_pairs(list(by_name.values()))
        if len(pairs) == 1:
            text, pair = pairs[0]
            others = [
                name for key, name in by_name.items() if key in _TEXT and name not in (text, pair)
            ]
            if not others:
                return text, pair
            raise DatasetError(
                f"{text!r}, {pair!r} and {', '.join(map(repr, others))} could be the texts; "
                f"give `text_column` (and `pair_column`); {found}"
            )
        if pairs:
            raise DatasetError(
                "several pairs of columns could be the texts; give `text_column` and "
                f"`pair_column`; {found}"
            )
    text = _only(list(by_name.values()), _TEXT, "text_column", found)
    if text is None:
        raise DatasetError(
            "no column has a usual name of a text; give `text_column`, or `columns=[...]` if a "
            f"CSV or TSV file has no header line; {found}"
        )
    return text, pair


def _only(
    columns: Sequence[str],
    known: Sequence[str],
    argument: str,
    found: str,
    taken: tuple[str | None, ...] = (),
) -> str | None:
    candidates = [name for name in columns if name.lower() in known and name not in taken]
    if len(candidates) > 1:
        raise DatasetError(
            f"{' and '.join(map(repr, candidates))} could all be meant; give `{argument}`; {found}"
        )
    return candidates[0] if candidates else None


@dataclass(frozen=True)
class Options:
    """The keyword arguments of `kzoo.datasets.load` that depend on the source; see there."""

    text_column: str | None = None
    pair_column: str | None = None
    label_column: str | None = None
    labelled: bool = True
    task: str | None = None
    label_separator: str = "|"
    allow_unseen_labels: bool = False
    strict: bool = False
    encoding: str = "utf-8"
    columns: Sequence[str] | None = None
    quoting: bool | None = None
    data_dir: str | Path | None = None
    download: bool = True

    def __post_init__(self) -> None:
        if self.task not in (None, *_TASKS):
            raise DatasetError(
                f"`task` must be {', '.join(map(repr, _TASKS))} or None, received {self.task!r}"
            )
        if not self.label_separator:
            raise DatasetError("`label_separator` must not be empty")
        if not self.labelled and self.label_column is not None:
            raise DatasetError(
                f"`label_column` {self.label_column!r} was given with `labelled=False`; "
                "leave one of the two out"
            )

    def refuse_others(self, allowed: Collection[str], source: str) -> None:
        """Refuse every option that was set although the source has no use for it.

        Args:
            allowed: options the source understands.
            source: what the source is, for the message.

        Raises:
            DatasetError: naming the first such option.
        """
        for item in fields(self):
            if item.name not in allowed and getattr(self, item.name) != item.default:
                raise DatasetError(
                    f"`{item.name}` means nothing for {source}; leave it out"
                    + (f" (understood here: {', '.join(sorted(allowed))})" if allowed else "")
                )
