"""What `generate` does between tokenizer and decoding: settings, rows that are written, stops."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kzoo.backbones.text import EncodedTexts
from kzoo.backbones.virtual_tokens import strip_virtual
from kzoo.errors import InputError
from kzoo.models.decoding import rounded
from kzoo.models.sampling import Beams, Rules, Sampling
from kzoo.reads.language import END_TOKENS, TURN_ENDS
from kzoo.seeds import derive_seed


@dataclass
class Writing:
    """Settings of `generate`.

    Args:
        max_new_tokens: At most so many tokens behind each prompt.
        sampler: `"greedy"`, `"top_k"`, `"top_p"`, `"random"`, `"beam"` or a `keras_hub.samplers`
            object. Beams are HF's: the best mean log-probability a token.
        stop: A text, or several, to stop at beside the end token; of one or more tokens, and no
            part of what is written.
        num_return_sequences: Completions of each prompt. Default: one, and no list around it.
        seed: Of samplers that draw. A row's draws depend on the seed and its prompt, not on its
            neighbours; equal prompts draw differently. Default: the sampler's, else NumPy's global
            state, which `keras.utils.set_random_seed` sets.
        repetition_penalty: See `kzoo.models.sampling.Rules`.
        no_repeat_ngram_size: See there.
    """

    max_new_tokens: int = 50
    sampler: Any = "greedy"
    stop: str | Sequence[str] | None = None
    num_return_sequences: int | None = None
    seed: int | None = None
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise InputError(
                f"`max_new_tokens` must be at least 1. Received: {self.max_new_tokens}"
            )
        self.sampling = Sampling.of(self.sampler)
        self.rules = Rules(self.repetition_penalty, self.no_repeat_ngram_size)
        stops = [self.stop] if isinstance(self.stop, str) else list(self.stop or ())
        if not all(isinstance(text, str) and text for text in stops):
            raise InputError(f"`stop` must be texts that are not empty. Received: {self.stop!r}")
        self.stops = tuple(stops)
        count, beams = self.num_return_sequences or 1, self.sampling.num_beams
        if count < 1 or (self.sampling.kind == "greedy" and count > 1):
            raise InputError(
                f"`num_return_sequences` {count} needs a sampler that draws, or beams: the greedy "
                "one has one completion."
            )
        if self.sampling.kind == "beam" and count > beams:
            raise InputError(f"`num_return_sequences` {count} is more than the {beams} beams.")
        if self.seed is None:
            self.seed = self.sampling.seed
        if self.seed is None and self.sampling.kind == "sample":
            self.seed = int(np.random.randint(2**31))

    @property
    def copies(self) -> int:
        """Rows of the cache for each prompt."""
        return max(self.num_return_sequences or 1, self.sampling.num_beams)


@dataclass
class Row:
    """A completion that is being written."""

    writer: Writer
    draw: np.random.Generator
    ids: list[int] = field(default_factory=list)
    done: bool = False

    def add(self, token: int) -> None:
        """Takes the next token."""
        self.ids.append(token)
        self.done = (
            token in self.writer.ends
            or len(self.ids) == self.writer.options.max_new_tokens
            or bool(self.writer.options.stops and self.writer.cut(self.ids)[1])
        )

    @property
    def text(self) -> str:
        """What is written, without end and stop."""
        return self.writer.cut(self.ids)[0]

    @property
    def sure(self) -> str:
        """The beginning of `text` that no further token can change."""
        text = self.text
        if self.done:
            return text
        while text.endswith("\N{REPLACEMENT CHARACTER}"):  # bytes of a character that is not whole
            text = text[:-1]
        starts = (stop[:n] for stop in self.writer.options.stops for n in range(1, len(stop)))
        return text[: len(text) - max((len(s) for s in starts if text.endswith(s)), default=0)]


class Writer:
    """Writes behind prompts.

    Args:
        model: A `LanguageModel`.
        options: Settings.
    """

    def __init__(self, model: Any, options: Writing) -> None:
        self._model, self.options = model, options
        self._tokenizer = tokenizer = model.processor.tokenizer
        special = {t.content: i for i, t in tokenizer.get_added_tokens_decoder().items()}
        # Special tokens are no part of a decoded text.
        stops = (*END_TOKENS, *TURN_ENDS, *options.stops)
        self.ends = list(
            dict.fromkeys([model.end, *(special[stop] for stop in stops if stop in special)])
        )

    def cut(self, ids: Sequence[int]) -> tuple[str, bool]:
        """The text of tokens up to the first end or stop, and whether there was a stop."""
        end = next((place for place, token in enumerate(ids) if token in self.ends), len(ids))
        size = self._model.backbone.vocabulary_size
        plain = strip_virtual(np.asarray(ids[:end], "int32"), size)
        text = str(self._tokenizer.decode(plain))
        places = [place for stop in self.options.stops if (place := text.find(stop)) >= 0]
        return (text[: min(places)], True) if places else (text, False)

    def rows(self, encoded: EncodedTexts) -> list[list[Row]]:
        """The rows of each prompt, with nothing written."""
        seen: dict[tuple[int, ...], int] = {}
        count, found = self.options.num_return_sequences or 1, []
        for start, stop in zip(encoded.offsets[:-1], encoded.offsets[1:], strict=True):
            ids = encoded.ids[start:stop]
            own = zlib.crc32(ids.astype("<i4").tobytes())
            first = seen.get(key := tuple(ids.tolist()), 0)
            seen[key] = first + count
            seeds = [derive_seed(self.options.seed or 0, own, first + n) for n in range(count)]
            found.append([Row(self, np.random.default_rng(seed)) for seed in seeds])
        return found

    def write(
        self,
        encoded: EncodedTexts,
        numbers: NDArray[np.int64],
        rows: Sequence[Sequence[Row]],
        adapters: NDArray[np.int32] | None,
    ) -> Iterator[None]:
        """Writes one batch, and gives control back after every token.

        Rows of different lengths begin together where the shortest prompt ends; the others read on
        until their own prompt ends. So every token stands where it stands in a batch of one.

        Args:
            encoded: The prompts.
            numbers: Which of them.
            rows: The rows of each of these.
            adapters: The adapter of each of these.
        """
        model, options, most = self._model, self.options, self.options.max_new_tokens
        begins = model.begins(encoded)[numbers]
        first, last = int(begins.min()), int(begins.max()) + most
        length = rounded(last, model.processor.limit)
        inputs = model.decoding_inputs(encoded, numbers, length)
        name, copies = model.written[0], options.copies
        ids = inputs[name]
        inputs = {**inputs, name: ids[:, : rounded(first, length)]}
        cache = model.decoding().prefill(inputs, length, adapters)
        if copies > 1:
            order = np.repeat(np.arange(len(ids)), copies)
            cache, ids, begins = cache.rows(order), ids[order], begins[order]
        beams: dict[int, Beams] = {}
        sampling, rules = options.sampling, options.rules
        for place in range(first, last):
            logits = model.decoding().step(ids[:, place - 1], place - 1, cache)
            order = np.arange(len(ids))
            for number, own in enumerate(rows):
                start = number * copies
                if begins[start] > place or all(row.done for row in own):
                    continue
                if sampling.kind != "beam":
                    for at, row in enumerate(own, start):
                        if not row.done:
                            behind = rules.apply(logits[at], ids[at, :place])
                            ids[at, place] = sampling.choose(behind, row.draw)
                            row.add(int(ids[at, place]))
                    continue
                if begins[start] == place:
                    beams[number] = Beams(
                        ids[start, :place], copies, most, self.ends, rules, sampling.temperature
                    )
                search, every = beams[number], slice(start, start + copies)
                order[every] = start + search.step(logits[every])
                ids[every, : place + 1] = search.rows
                for row, (_, found) in zip(own, search.ended, strict=False):
                    row.ids, row.done = found[search.begin :].tolist(), search.done
            yield
            if all(row.done for own in rows for row in own):
                return
            if (order != np.arange(len(ids))).any():
                cache = cache.rows(order)
