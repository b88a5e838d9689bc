"""`kzoo.heads.Span`: the part of a context that answers a question (extractive QA)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kzoo.errors import InputError
from kzoo.heads import HEADS
from kzoo.heads.at_tokens import AtTokens
from kzoo.metrics.spans import answer_scores
from kzoo.reads.read import Rows, Targets
from kzoo.reads.windows import Windows, WindowsInput
from kzoo.trunk.layer import Trunk

_NEVER = -1e9


@dataclass(frozen=True)
class Found:
    """A span of a context.

    Args:
        text: What stands there, cut out of the context as it was given; empty for no answer.
        start: First character in the context.
        end: Behind its last character.
        score: Sum of the logits of its first and last token.
    """

    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class SpanAnswer:
    """What is read off one context.

    Args:
        text: The answer; empty where the question has none.
        start: Its first character in the context; 0 for no answer.
        end: Behind its last character.
        probability: Of this among `candidates`.
        candidates: The best spans, best first, of different characters each; no answer is one of
            them where there can be none.
        null_score: By how much no answer scores above the best span.
    """

    text: str
    start: int
    end: int
    probability: float
    candidates: list[Found]
    null_score: float


@HEADS.register("span")
@keras.saving.register_keras_serializable(package="kzoo")
class Span(AtTokens):
    """Spans of contexts; outputs float32 (batch, length, 2), logits of first and last token.

    Stands behind a `kzoo.WindowsInput`, whose rows are (question, context) pairs. Labels of a row
    are its answers as in SQuAD: a dict `{"text": [...], "answer_start": [...]}` (empty lists for a
    question without an answer), or one (first character, text). The first of several is learned. A
    window that does not hold it learns to point at its first token, as BERT does
    (arXiv:1810.04805, 4.3).

    Args:
        max_answer_tokens: Longest answer. Default 30.
        candidates: How many spans `predict_values` gives. Default 20.
        null_threshold: There is no answer where no answer's score is more than so much above that
            of the best span. Default: 0 where training data had questions without an answer, else
            there always is one; `tune` finds the best.
        **kwargs: As `kzoo.heads.Head`.
    """

    kind = "span"
    target_shape = (2,)

    def __init__(
        self,
        max_answer_tokens: int = 30,
        candidates: int = 20,
        null_threshold: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if max_answer_tokens < 1 or candidates < 1:
            raise InputError("`max_answer_tokens` and `candidates` must be at least 1.")
        self.max_answer_tokens = max_answer_tokens
        self.candidates = candidates
        self.null_threshold = null_threshold

    def make_input(self, trunk: Trunk) -> Any:
        """See `Head`."""
        return WindowsInput(trunk)

    def first_facts(self) -> dict[str, Any]:
        """See `Head`."""
        return {"units": 2, "null_threshold": self.null_threshold}

    def call(self, x: Any, mask: Any = None, training: bool | None = None) -> Any:
        """float32 (batch, length, 2); -1e9 at padding.

        Args:
            x: dict with `tokens` (batch, length, width) and `mask`, or tokens.
            mask: bool (batch, length), for tokens that come without a dict.
            training: Whether dropout is on.
        """
        logits = self.answered(x, training)
        mask = x.get("mask") if isinstance(x, Mapping) else mask
        if mask is None:
            return logits
        return ops.where(ops.expand_dims(ops.cast(mask, "bool"), -1), logits, _NEVER)

    # --- Labels --------------------------------------------------------------------------------

    def learn(self, column: NDArray[Any], names: Sequence[str] | None = None) -> None:
        """See `Head`: whether there are questions without an answer."""
        if any(not _answers(row, number)[0] for number, row in enumerate(column)):
            for answer in self.acting():
                if answer.facts["null_threshold"] is None:
                    answer.facts["null_threshold"] = 0.0

    def align(self, column: NDArray[Any], windows: Windows) -> Targets:
        """See `Head`.

        Raises:
            InputError: An answer that does not stand where it says.
        """
        firsts = [_first_answer(row, n, windows.texts[n]) for n, row in enumerate(column)]
        labels = np.zeros((len(windows.encoded), 2), "int32")
        at = windows.places
        for window, row in enumerate(at.rows):
            if firsts[row] is None:
                continue
            start, end = firsts[row]
            own = windows.tokens(window)
            context = np.flatnonzero(at.sides[own] == 1)
            if not len(context):
                continue
            starts, ends = at.starts[own][context], at.ends[own][context]
            touched = np.flatnonzero((ends > start) & (starts < end))
            if len(touched) and starts[0] <= start and ends[-1] >= end:
                labels[window] = context[touched[0]], context[touched[-1]]

        def targets(rows: Rows, length: int) -> tuple[Any, Any]:
            return labels[rows], np.ones(len(rows), "float32")

        return targets

    # --- Losses, metrics, meaning ----------------------------------------------------------------

    def default_loss(self) -> Any:
        """Mean of the cross-entropies of first and last token."""
        return SpanCrossentropy()

    def default_weighted_metrics(self) -> list[Any]:
        """Share of the windows whose first and last token are both right."""
        return [keras.metrics.MeanMetricWrapper(both_right, name="exact_span")]

    def read_off(self, outputs: NDArray[Any], windows: Windows) -> list[SpanAnswer]:
        """See `Head`; the best spans over all windows of each context."""
        found: list[list[Found]] = [[] for _ in windows.texts]
        null = np.full(len(windows.texts), np.inf)
        at = windows.places
        for window, row in enumerate(at.rows):
            own = windows.tokens(window)
            logits = np.asarray(outputs[window, : own.stop - own.start], "float64")
            null[row] = min(null[row], logits[0].sum())
            context = np.flatnonzero(at.sides[own] == 1)
            for first, last, score in best_spans(
                logits[context], self.max_answer_tokens, self.candidates
            ):
                start = int(at.starts[own][context[first]])
                end = int(at.ends[own][context[last]])
                found[row].append(Found(windows.texts[row][start:end], start, end, score))
        return [self._answer(own, float(score)) for own, score in zip(found, null, strict=True)]

    def _answer(self, found: list[Found], null: float) -> SpanAnswer:
        """The best of all windows; a span that two windows hold counts once."""
        kept: dict[tuple[int, int], Found] = {}
        for span in sorted(found, key=lambda span: -span.score):
            if len(kept) < self.candidates:
                kept.setdefault((span.start, span.end), span)
        best = max(kept.values(), key=lambda span: span.score, default=Found("", 0, 0, -np.inf))
        nothing, above = Found("", 0, 0, null), null - best.score
        threshold = self.facts["null_threshold"]
        candidates = list(kept.values())
        if threshold is not None:
            candidates = sorted([*candidates, nothing], key=lambda span: -span.score)
        chosen = nothing if threshold is not None and above > threshold else best
        shares = np.exp([span.score - chosen.score for span in candidates if kept])
        share = float(1 / shares.sum()) if len(shares) else 0.0
        return SpanAnswer(chosen.text, chosen.start, chosen.end, share, candidates, above)

    def value_scores(self, column: Sequence[Any], values: Sequence[Any]) -> dict[str, float]:
        """Exact match and F1 of SQuAD's evaluation, from 0 to 1."""
        texts = [_answers(row, number)[0] for number, row in enumerate(column)]
        scores = answer_scores([value.text for value in values], texts)
        return {key: scores[key] for key in scores if not key.endswith("total")}

    def tune_threshold(self, column: Sequence[Any], values: Sequence[SpanAnswer]) -> float:
        """Sets the threshold for no answer to the one with the best F1, as SQuAD 2.0's script does.

        Args:
            column: Labels of n rows, of validation data.
            values: What `model.predict_values` gave for these.

        Returns:
            The threshold; kept and saved with the output layer.

        Example:
            >>> model.head.tune_threshold(dev_answers, model.predict_values(dev_pairs))
        """
        texts = [_answers(row, number)[0] for number, row in enumerate(column)]
        spans = [
            next((span.text for span in value.candidates if span.text), "") for value in values
        ]
        scores = answer_scores(spans, texts, [value.null_score for value in values])
        for answer in self.acting():
            answer.facts["null_threshold"] = scores["best_f1_thresh"]
        self.changed()
        return scores["best_f1_thresh"]

    def accept(self, facts: Mapping[str, Any], owner: str | None) -> None:
        """See `Head`."""
        super().accept(facts, owner)
        self.of(owner).facts["null_threshold"] = facts["null_threshold"]

    def get_config(self) -> dict[str, Any]:
        """See `Head`."""
        return {
            **super().get_config(),
            "max_answer_tokens": self.max_answer_tokens,
            "candidates": self.candidates,
            "null_threshold": self.null_threshold,
        }


def best_spans(logits: NDArray[Any], longest: int, count: int) -> list[tuple[int, int, float]]:
    """The spans with the largest sums of logits.

    Args:
        logits: float (tokens, 2), of first and last token.
        longest: Most tokens of a span.
        count: How many.

    Returns:
        (first token, last token, sum), best first; of equal ones that which begins and ends first.
    """
    tokens = len(logits)
    width = min(longest, tokens)
    if not tokens:
        return []
    ends = np.lib.stride_tricks.sliding_window_view(
        np.concatenate([logits[:, 1], np.full(width - 1, -np.inf)]), width
    )
    sums = (logits[:, :1] + ends).ravel()  # (first token, tokens more)
    order = np.argsort(-sums, kind="stable")[:count]
    return [
        (int(i // width), int(i // width + i % width), float(sums[i]))
        for i in order
        if np.isfinite(sums[i])
    ]


def _answers(row: Any, number: int) -> tuple[list[str], list[int]]:
    """Texts and first characters of the answers of a row; empty for none."""
    try:
        if isinstance(row, Mapping):
            texts = [str(text) for text in row["text"]]
            starts = [int(start) for start in row["answer_start"]]
        elif row is None or len(row) == 0:
            return [], []
        else:
            start, text = row
            texts, starts = [str(text)], [int(start)]
        if isinstance(row, Mapping) and isinstance(row["text"], str):
            raise TypeError("one text")
        if len(texts) != len(starts):
            raise ValueError("not as many texts as starts")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"`y` row {number} must be {{'text': [...], 'answer_start': [...]}} or (first "
            f"character, text). Received: {row!r:.80}"
        ) from error
    return texts, starts


def _first_answer(row: Any, number: int, context: str) -> tuple[int, int] | None:
    texts, starts = _answers(row, number)
    if not texts:
        return None
    start, text = starts[0], texts[0]
    if not text or context[start : start + len(text)] != text or start < 0:
        where = context.find(text) if text else -1
        hint = f" It stands at {where}." if where >= 0 else ""
        raise InputError(
            f"`y` row {number}: the answer {text!r:.40} does not stand at character {start} of its "
            f"context.{hint}"
        )
    return start, start + len(text)


@keras.saving.register_keras_serializable(package="kzoo")
class SpanCrossentropy(keras.losses.Loss):  # type: ignore[misc]
    """Mean of the cross-entropies of first and last token over the tokens of a row.

    Args:
        **kwargs: As `keras.losses.Loss`.
    """

    def __init__(self, name: str = "span_crossentropy", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """(batch,), of int (batch, 2) and logits (batch, length, 2)."""
        shares = ops.log_softmax(ops.cast(y_pred, "float32"), axis=1)
        places = ops.expand_dims(ops.cast(y_true, "int32"), 1)
        return -ops.mean(ops.take_along_axis(shares, places, axis=1)[:, 0], axis=-1)


@keras.saving.register_keras_serializable(package="kzoo")  # type: ignore[untyped-decorator]
def both_right(y_true: Any, y_pred: Any) -> Any:
    """float (batch,), 1 where the best first and the best last token are the true ones."""
    best = ops.argmax(y_pred, axis=1)
    return ops.cast(ops.all(ops.cast(y_true, best.dtype) == best, axis=-1), "float32")
