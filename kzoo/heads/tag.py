"""`kzoo.heads.Tag`: a tag for each word (token classification), read off as entities."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kzoo.errors import AdapterError, InputError, did_you_mean
from kzoo.heads import HEADS
from kzoo.heads.answers import Answer
from kzoo.heads.at_tokens import AtTokens
from kzoo.heads.batch_means import TokenCrossentropy
from kzoo.heads.chain import (
    ChainAccuracy,
    ChainAnswer,
    ChainEntityF1,
    ChainLoss,
    best_tags,
    unpacked,
)
from kzoo.heads.classes import ClassHead
from kzoo.heads.labels import find_labels
from kzoo.heads.tag_labels import OUTSIDE, as_bio, fits, holds_spans, span_of, spans_to_tags
from kzoo.metrics.entities import SCHEMES, entities, entity_scores
from kzoo.metrics.keras_entity_f1 import EntityF1
from kzoo.metrics.keras_token_accuracy import TokenAccuracy
from kzoo.reads.read import Rows, Targets, padded
from kzoo.reads.windows import Windows, WordsInput
from kzoo.trunk.layer import Trunk

UNLEARNED = -1  # the label of what is no first token of a word


@dataclass(frozen=True)
class Entity:
    """A part of a text.

    Args:
        label: Its type.
        start: First character in the text.
        end: Behind its last character.
        text: What stands there, cut out of the text as it was given.
        words: (first word, behind the last word).
        score: Mean probability of its words' tags; None with a CRF.
    """

    label: str
    start: int
    end: int
    text: str
    words: tuple[int, int]
    score: float | None


@dataclass(frozen=True)
class Tagged:
    """What is read off one text.

    Args:
        words: As the tokenizer splits the text, or as they were given.
        tags: One each; the outside tag for a word that has no token (a control character).
        entities: In their order.
    """

    words: list[str]
    tags: list[Any]
    entities: list[Entity]


@HEADS.register("tag")
@keras.saving.register_keras_serializable(package="kzoo")
class Tag(AtTokens, ClassHead):
    """Tags of words; outputs float32 logits (batch, length, tags).

    Stands behind a `kzoo.WordsInput`. The label of a word stands at its first token and no other
    counts, as in BERT (arXiv:1810.04805, 5.3); of a text that was cut into windows, in the window
    where most tokens surround it. Labels of a row are a tag for each of its words (where rows are
    lists of words), or entities as (first character, behind the last, type) of a text, which
    become B- and I- tags of the words that they touch.

    Args:
        labels: The tags, in the order of the outputs. Default: found by the first `fit`.
        scheme: What the tags say: `bio` (IOB2), `iobes`, or `plain` (each tag is a class of words);
            or `iob1`, which is read as `bio`. Default: seen from the tags.
        crf: Whether chains of tags are learned, by a linear-chain CRF in which tags that cannot
            follow one another never do; see `kzoo.heads.chain` for what the outputs are then.
        **kwargs: As `kzoo.heads.Head`.
    """

    kind = "tag"
    target_shape = (None,)
    weight_shape = (None,)

    def __init__(
        self,
        labels: Sequence[str] | None = None,
        scheme: str | None = None,
        crf: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(labels=labels, **kwargs)
        if scheme not in (None, "iob1", *SCHEMES):
            raise InputError(
                f"`scheme` must be one of {', '.join(SCHEMES)}, iob1. Received: {scheme!r}"
            )
        self.given_scheme = scheme
        self.crf = crf

    def make_answer(self, facts: Mapping[str, Any]) -> Answer:
        """See `Head`."""
        kind = ChainAnswer if self.crf else Answer
        return kind(facts, self.width, self.answer_seed)

    def answer(self, x: Any) -> Any:
        """See `Head`; with a CRF its scores in front.

        Raises:
            AdapterError: Rows have adapters of their own, and the head a CRF, which is one for all.
        """
        emissions = super().answer(x)
        if not self.crf:
            return emissions
        acting = self.acting()
        if len(acting) > 1:
            raise AdapterError(
                f"The head `{self.name}` has a CRF, which is one for all rows of a batch: activate "
                "one adapter at a time."
            )
        return acting[0].packed(emissions, self.scheme)  # type: ignore[attr-defined]

    def make_input(self, trunk: Trunk) -> Any:
        """See `Head`."""
        return WordsInput(trunk)

    def call(self, x: Any, mask: Any = None, training: bool | None = None) -> Any:
        """float32 (batch, length, tags).

        Args:
            x: dict with `tokens` (batch, length, width), or these.
            mask: Not needed: what stands at padding is not learned.
            training: Whether dropout is on.
        """
        return self.answered(x, training)

    @property
    def scheme(self) -> str:
        """`bio`, `iobes` or `plain`."""
        if self.given_scheme is not None:
            return "bio" if self.given_scheme == "iob1" else self.given_scheme
        return next(scheme for scheme in SCHEMES if fits(self.labels or (), scheme))

    @property
    def has_entities(self) -> bool:
        """Whether tags are of entities, and not classes of words such as parts of speech."""
        labels = self.labels
        return labels is not None and (self.scheme != "plain" or OUTSIDE in labels)

    # --- Labels --------------------------------------------------------------------------------

    def find(self, column: NDArray[Any], names: Sequence[str] | None) -> Sequence[Any] | int:
        """See `ClassHead`: the tags, those of entities in both forms."""
        rows = [self._row(row, number) for number, row in enumerate(column)]
        tags = list(chain.from_iterable(row for row in rows if not holds_spans(row)))
        kinds = {span[2] for row in rows if holds_spans(row) for span in row}
        tags += [f"{prefix}-{kind}" for kind in sorted(kinds) for prefix in "BI"]
        if kinds:
            tags.append(OUTSIDE)
        if not tags:
            raise InputError(f"`{self.name}` has no tag in any of its {len(column)} rows.")
        if not isinstance(tags[0], str) and names is None:
            return int(max(tags)) + 1
        return find_labels(np.asarray(tags), names)

    def align(self, column: NDArray[Any], windows: Windows) -> Targets:
        """See `Head`.

        Entities that begin or end within a word are counted in one warning; the word is tagged as
        a whole, with the first of two entities in it.
        """
        inside = 0
        ids = []
        for number, row in enumerate(column):
            row = self._row(row, number)
            words = windows.words[number]
            if holds_spans(row) or (not row and windows.given is None):
                tags, bad = spans_to_tags(row, words, windows.texts[number], number)
                inside += bad
            else:
                tags = row
            if windows.given is None and tags is row:
                raise InputError(
                    f"`{self.name}` row {number} has tags for words, but `x` has texts. Pass lists "
                    "of words, such as text.split(), or entities (start, end, type)."
                )
            if len(tags) != len(words):
                raise InputError(
                    f"`{self.name}` row {number} has {len(tags)} tags for {len(words)} words."
                )
            self._check_begun(tags, number)
            ids.append(self._ids(tags, number))
        if inside:
            warnings.warn(
                f"`{self.name}`: {inside} entities begin or end within a word, or in the word of "
                "another; the words are tagged as a whole.",
                stacklevel=2,
            )
        starts = np.cumsum([0, *map(len, ids)])
        texts, words, places = windows.firsts
        labels = np.full(len(windows.encoded.ids), UNLEARNED, "int32")
        labels[places] = np.concatenate([*ids, np.empty(0, "int32")])[starts[texts] + words]
        offsets = windows.encoded.offsets

        def targets(rows: Rows, length: int) -> tuple[Any, Any]:
            own = padded(labels, offsets, rows, length, UNLEARNED)
            return own, (own != UNLEARNED).astype("float32")

        return targets

    def _check_begun(self, tags: Sequence[Any], number: int) -> None:
        """Refuses tags that would silently be no entities."""
        if self.scheme == "plain" or not all(isinstance(tag, str) for tag in tags):
            return
        lost = {*entities(tags, self.scheme, "lenient")} - {*entities(tags, self.scheme)}
        if lost:
            kind, first, _ = min(lost, key=lambda entity: entity[1])
            raise InputError(
                f"`{self.name}` row {number}, word {first}: {tags[first]!r} begins an entity of "
                f"{kind}, which the scheme {self.scheme} does not allow. If the tags are IOB1, "
                "pass `scheme='iob1'` to the head."
            )

    def _row(self, row: Any, number: int) -> list[Any]:
        """The labels of a row: tags (strings or ints), or spans (start, end, type)."""
        if isinstance(row, (str, bytes, Mapping)) or not hasattr(row, "__len__"):
            raise InputError(
                f"`{self.name}` row {number} must be a list of tags or of entities. "
                f"Received: {row!r:.80}"
            )
        found: list[Any] = [
            v if isinstance(v, str) else int(v) if isinstance(v, (int, np.integer)) else span_of(v)
            for v in row
        ]
        if self.given_scheme == "iob1" and not holds_spans(found):
            return as_bio(found)
        return found

    def _ids(self, tags: Sequence[Any], number: int) -> NDArray[np.int32]:
        """Numbers of the tags of a row."""
        if not tags or not isinstance(tags[0], str):
            ids = np.asarray(tags, "int32")
            if len(ids) and not 0 <= ids.min() <= ids.max() < self.units:
                raise InputError(
                    f"`{self.name}` row {number} has a tag outside of 0 to {self.units - 1}."
                )
            return ids
        known = self.labels
        if known is None:
            raise InputError(
                f"`{self.name}` row {number} holds strings, but the model was made for numbers. "
                "Pass `labels=[...]`."
            )
        place = {tag: i for i, tag in enumerate(known)}
        if unknown := [tag for tag in tags if tag not in place]:
            raise InputError(
                f"`{self.name}` row {number} has {unknown[0]!r}, a tag never seen in training."
                f"{did_you_mean(unknown[0], known)}"
            )
        return np.asarray([place[tag] for tag in tags], "int32")

    # --- Losses, metrics, meaning ----------------------------------------------------------------

    def default_loss(self) -> Any:
        """Cross-entropy, the mean over the words; with a CRF the chains' likelihood."""
        if self.crf:
            return ChainLoss()
        return TokenCrossentropy(ignore_class=UNLEARNED)

    def default_metrics(self) -> list[Any]:
        """None: they count words, which weights say."""
        return []

    def default_weighted_metrics(self) -> list[Any]:
        """Accuracy of the words, and strict F1 of the entities."""
        if self.labels is None:
            return [] if self.crf else [TokenAccuracy()]
        chain_ = (self.labels, self.scheme)
        found: list[Any] = [ChainAccuracy(*chain_) if self.crf else TokenAccuracy()]
        if self.has_entities:
            found.append(ChainEntityF1(*chain_) if self.crf else EntityF1(*chain_))
        return found

    def read_off(self, outputs: NDArray[Any], windows: Windows) -> list[Any]:
        """See `Head`; a `Tagged` for each text."""
        texts, words, places = windows.firsts
        window = np.searchsorted(windows.encoded.offsets, places, side="right") - 1
        front = self.units + 2 if self.crf else 0
        logits = outputs[window, places - windows.encoded.offsets[window] + front]
        bounds = np.searchsorted(texts, np.arange(len(windows.texts) + 1))
        share: Any = [None] * len(logits)
        if self.crf:
            best = self._chains(outputs, logits, texts, bounds)
        else:
            exps = np.exp(logits - logits.max(axis=-1, keepdims=True))
            share = (exps / exps.sum(axis=-1, keepdims=True)).max(axis=-1).tolist()
            best = logits.argmax(axis=-1)
        names: Sequence[Any] = self.labels or range(self.units)
        outside = OUTSIDE if OUTSIDE in names else names[0]
        return [
            self._tagged(
                text,
                windows.words[number],
                outside,
                {
                    int(words[i]): (names[best[i]], share[i])
                    for i in range(bounds[number], bounds[number + 1])
                },
            )
            for number, text in enumerate(windows.texts)
        ]

    def _chains(
        self, outputs: NDArray[Any], logits: NDArray[Any], texts: Any, bounds: Any
    ) -> NDArray[Any]:
        """The best chain over the words of each text, whatever windows they were in."""
        place = np.arange(len(texts)) - bounds[texts]
        shape = (len(bounds) - 1, int(place.max(initial=0)) + 1)
        emissions, mask = np.zeros((*shape, self.units), "float32"), np.zeros(shape, bool)
        emissions[texts, place], mask[texts, place] = logits, True
        parameters, _ = unpacked(outputs)
        found = best_tags(parameters, emissions, mask, self.labels or (), self.scheme)
        chains: NDArray[Any] = np.asarray(found)[texts, place]
        return chains

    def _tagged(
        self, text: str, words: NDArray[np.int64], outside: Any, found: Mapping[int, Any]
    ) -> Tagged:
        pairs = [found.get(word, (outside, 1.0)) for word in range(len(words))]
        tags = [tag for tag, _ in pairs]
        return Tagged(
            [text[start:end] for start, end in words],
            tags,
            [
                Entity(
                    label,
                    start := int(words[first, 0]),
                    end := int(words[last - 1, 1]),
                    text[start:end],
                    (first, last),
                    None if self.crf else float(np.mean([p[1] for p in pairs[first:last]])),
                )
                for label, first, last in (entities(tags, self.scheme) if self.labels else ())
            ],
        )

    def value_scores(self, column: Sequence[Any], values: Sequence[Any]) -> dict[str, float]:
        """Precision, recall and F1 of the entities: type, beginning and end must be right."""
        if not self.has_entities or self.labels is None:
            return {}
        rows = [self._row(row, number) for number, row in enumerate(column)]
        true, found = [], []
        for row, value in zip(rows, values, strict=True):
            spans = holds_spans(row)
            named = [tag if isinstance(tag, str) else self.labels[tag] for tag in row if not spans]
            true.append([(k, i, j) for i, j, k in row] if spans else entities(named, self.scheme))
            found.append(
                [(e.label, *((e.start, e.end) if spans else e.words)) for e in value.entities]
            )
        score = entity_scores(true, found, None).micro
        return {
            "entity_precision": score.precision,
            "entity_recall": score.recall,
            "entity_f1": score.f1,
        }

    def get_config(self) -> dict[str, Any]:
        """See `Head`."""
        return {**super().get_config(), "scheme": self.given_scheme, "crf": self.crf}
