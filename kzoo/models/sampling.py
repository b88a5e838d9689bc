"""How the next token is chosen from logits: rules, samplers and beams, row by row in numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kzoo.errors import InputError

Logits = NDArray[np.float32]
Ids = NDArray[np.int32]


@dataclass(frozen=True)
class Rules:
    """Rules on logits, those of HF transformers' `generate`.

    Args:
        repetition_penalty: Logits of tokens that the row has, prompt included, are divided by it
            where positive and multiplied where negative (Keskar et al. 2019, arXiv:1909.05858,
            section 4.1, as HF does it). 1 is none.
        no_repeat_ngram_size: No n tokens in a row stand twice in a row, prompt included (Paulus et
            al. 2017, arXiv:1705.04304). 0 is none.
    """

    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0

    def __post_init__(self) -> None:
        if not self.repetition_penalty > 0:
            raise InputError(
                f"`repetition_penalty` must be above 0. Received: {self.repetition_penalty}"
            )
        if self.no_repeat_ngram_size < 0:
            raise InputError(
                f"`no_repeat_ngram_size` must be at least 0. Received: {self.no_repeat_ngram_size}"
            )

    def apply(self, logits: Logits, ids: Ids) -> Logits:
        """The logits (vocabulary,) behind the tokens `ids`, with the rules."""
        size, logits = self.no_repeat_ngram_size, logits.copy()
        if self.repetition_penalty != 1:
            seen = np.unique(ids[ids < len(logits)])  # virtual tokens have no logits
            own = logits[seen]
            scale = np.float32(self.repetition_penalty)
            logits[seen] = np.where(own < 0, own * scale, own / scale)
        if 0 < size <= len(ids):
            grams = np.lib.stride_tricks.sliding_window_view(ids, size)
            same = (grams[:, :-1] == ids[len(ids) - size + 1 :]).all(-1)
            last = grams[same, -1]
            logits[last[last < len(logits)]] = -np.inf
        return logits


@dataclass(frozen=True)
class Sampling:
    """Settings of a sampler.

    Args:
        kind: "greedy", "sample" or "beam".
        temperature: Logits are divided by it.
        top_k: Only so many of the most probable tokens. Default: all.
        top_p: Of these, the most probable ones until their sum is above it. Default: all.
        num_beams: Of "beam".
        seed: Of "sample".
        other: A sampler that kzoo knows nothing of; its `get_next_token` chooses.
    """

    kind: str
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    num_beams: int = 1
    seed: int | None = None
    other: Any = None

    @classmethod
    def of(cls, sampler: Any) -> Sampling:
        """The settings of a `keras_hub.samplers` object, or of the one with this name.

        Raises:
            InputError: There is no such sampler, or it needs more than the next logits.
        """
        from keras_hub import samplers

        try:
            found = samplers.get(sampler)
        except ValueError as error:
            raise InputError(f"`sampler` {sampler!r} is none of keras_hub.samplers.") from error
        if isinstance(found, samplers.ContrastiveSampler):
            raise InputError("`sampler` 'contrastive' needs hidden states; kzoo has logits only.")
        settings: dict[str, Any] = {
            "temperature": float(found.temperature),
            "seed": getattr(found, "seed", None),
        }
        kind = type(found)
        if kind is samplers.GreedySampler:
            return cls("greedy")
        if kind is samplers.BeamSampler:
            if found.return_all_beams:
                raise InputError(
                    "`sampler` has return_all_beams; use num_return_sequences=... instead."
                )
            return cls("beam", settings["temperature"], num_beams=found.num_beams)
        if kind is samplers.RandomSampler:
            return cls("sample", **settings)
        if kind is samplers.TopKSampler:
            return cls("sample", top_k=found.k, **settings)
        if kind is samplers.TopPSampler:
            return cls("sample", top_k=found.k, top_p=found.p, **settings)
        return cls("sample", other=found)

    def chances(self, logits: Logits) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Tokens that may be drawn, the most probable first, and their probabilities."""
        size = len(logits)
        kept = min(self.top_k or size, size)
        tokens = np.arange(size)
        if kept < size:
            tokens = np.argpartition(-logits, kept - 1)[:kept]
        tokens = tokens[np.argsort(-logits[tokens], kind="stable")]
        scaled = logits[tokens].astype("float64") / self.temperature
        chances = np.exp(scaled - scaled[0])
        if self.top_p is not None:
            # As KerasHub: of the whole distribution, not of the top_k.
            every = np.exp(logits.astype("float64") / self.temperature - scaled[0]).sum()
            before = np.cumsum(chances / every) - chances / every
            count = max(1, int(np.searchsorted(before, self.top_p, side="right")))
            tokens, chances = tokens[:count], chances[:count]
        return tokens, chances / chances.sum()

    def choose(self, logits: Logits, draw: np.random.Generator) -> int:
        """The next token of one row."""
        if self.kind == "greedy":
            return int(logits.argmax())
        if self.other is not None:
            probabilities = self.other.compute_probabilities(logits[None])
            return int(np.asarray(self.other.get_next_token(probabilities))[0])
        tokens, chances = self.chances(logits)
        place = np.searchsorted(np.cumsum(chances), draw.random(), side="right")
        return int(tokens[min(int(place), len(tokens) - 1)])


class Beams:
    """Beam search of one row, as HF's `generate` does it with its defaults.

    Of 2 k continuations the k best that go on are kept. What ends is kept by its mean
    log-probability a token, the end included; a row is over when no beam can become better than its
    k ended ones.

    Args:
        opening: The row's tokens.
        count: k, the number of beams.
        most: Tokens behind the opening.
        ends: Ids that end a text.
        rules: Applied to log-probabilities.
        temperature: Logits are divided by it.
    """

    def __init__(
        self,
        opening: Ids,
        count: int,
        most: int,
        ends: Sequence[int],
        rules: Rules,
        temperature: float = 1.0,
    ) -> None:
        self.rows = np.tile(opening, (count, 1))
        self.begin, self.most = len(opening), most
        self.scores = np.full(count, -1e9)
        self.scores[0] = 0.0  # all beams are alike: one of them continues
        self.ended: list[tuple[float, Ids]] = []
        self.done = False
        self._ends, self._rules, self._temperature = list(ends), rules, temperature

    def step(self, logits: Logits) -> NDArray[np.int64]:
        """Continues by one token, and says which beam each beam continues.

        Args:
            logits: (beams, vocabulary).
        """
        count, size = logits.shape
        wide = logits.astype("float64") / self._temperature
        wide -= wide.max(-1, keepdims=True)
        wide -= np.log(np.exp(wide).sum(-1, keepdims=True))
        chances = [
            self._rules.apply(own.astype("float32"), ids)
            for own, ids in zip(wide, self.rows, strict=True)
        ]
        totals = (np.stack(chances) + self.scores[:, None]).ravel()
        best = np.argpartition(-totals, 2 * count - 1)[: 2 * count]
        best = best[np.argsort(-totals[best], kind="stable")]
        parents, tokens = best // size, (best % size).astype("int32")
        length = self.rows.shape[1] + 1 - self.begin
        over = np.isin(tokens, self._ends)
        last = length == self.most
        rows = np.concatenate([self.rows[parents], tokens[:, None]], axis=1)
        for place in np.flatnonzero((over | last)[:count]):
            self.ended.append((float(totals[best[place]] / length), rows[place]))
        self.ended = sorted(self.ended, key=lambda pair: -pair[0])[:count]
        goes_on = np.flatnonzero(~over)[:count]
        self.rows, self.scores = rows[goes_on], totals[best[goes_on]]
        enough = len(self.ended) == count and self.ended[-1][0] >= self.scores[0] / length
        self.done = bool(last or enough)
        return np.asarray(parents[goes_on], "int64")
