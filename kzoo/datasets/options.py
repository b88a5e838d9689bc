"""What may be said about a data source, and the refusal of what does not apply to it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from kzoo.datasets.errors import DatasetError

_TASKS = ("classification", "regression", "multilabel", "tag", "span")


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
