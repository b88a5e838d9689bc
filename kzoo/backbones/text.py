"""Raw strings to the backbone's inputs, with the ids that HF gives."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kzoo.backbones.families import Family
from kzoo.backbones.virtual_tokens import VirtualTokens, framed
from kzoo.errors import InputError

TextRow = str | tuple[str, str]
IntArray = NDArray[np.int32]


@dataclass(frozen=True)
class Places:
    """Where tokens stand in their texts; flat arrays beside those of `EncodedTexts`.

    Args:
        sides: int32 (total,), 0 for the first text of a pair, 1 for the second, -1 for special and
            virtual tokens.
        starts: int32 (total,), first character in its text.
        ends: int32 (total,), behind its last character.
        words: int32 (total,), number of the word as the tokenizer splits the text before it makes
            subwords; -1 for special and virtual tokens.
        rows: int64 (n,), which text each row of tokens is of; of one text there may be several.
    """

    sides: IntArray
    starts: IntArray
    ends: IntArray
    words: IntArray
    rows: NDArray[np.int64]


@dataclass(frozen=True)
class EncodedTexts:
    """Token ids of many texts, one after the other in flat arrays (a ragged batch).

    Args:
        ids: int32 (total,), token ids.
        segments: int32 (total,), 0 for the first text of a pair, 1 for the second.
        offsets: int64 (n + 1,); row i is `ids[offsets[i]:offsets[i + 1]]`.
        truncated: How many rows were cut to `max_tokens`.
        places: Where the tokens stand in the texts, of texts that were cut into windows.
    """

    ids: IntArray
    segments: IntArray
    offsets: NDArray[np.int64]
    truncated: int = 0
    places: Places | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """int64 (n,), tokens in each row."""
        return np.diff(self.offsets)


class TextProcessor:
    """Tokenises, truncates and pads for one backbone.

    Args:
        tokenizer_json: HF tokenizer as JSON text.
        family: The backbone's family; decides which inputs are made.
        max_tokens: Longest row in tokens, special tokens included. A pair is cut at its longer
            side first, as HF's `longest_first` does.

    Raises:
        InputError: `max_tokens` leaves no room for text, or the family takes none.
    """

    def __init__(self, tokenizer_json: str, family: Family, max_tokens: int) -> None:
        import tokenizers

        if family.kind == "vision":
            raise InputError(f"`family` {family.name} takes images, not texts.")
        self.tokenizer_json = tokenizer_json
        self.family = family
        self.max_tokens = max_tokens
        self.tokenizer = tokenizers.Tokenizer.from_str(tokenizer_json)
        self.tokenizer.no_padding()  # published files carry their own padding and truncation
        self.tokenizer.no_truncation()
        self.special = int(self.tokenizer.num_special_tokens_to_add(is_pair=True))
        opened = self.tokenizer.encode("a")
        special = list(takewhile(bool, opened.special_tokens_mask))
        opening = opened.ids[: len(special)]
        self._opening = bool(opening)
        self.use_prompts(())
        self.pad_id = self._first_known(family.pad_tokens)
        self._decoder_start = self._first_known(family.decoder_start)
        # What stands before a target's first word: </s> <s> in BART, <pad> in T5.
        self.decoder_opening = (self._decoder_start, *opening)

    def _first_known(self, tokens: Sequence[str]) -> int:
        """Id of the first of these tokens that the vocabulary has, else 0."""
        ids = (self.tokenizer.token_to_id(token) for token in tokens)
        return next((int(token) for token in ids if token is not None), 0)

    def use_prompts(self, prompts: Sequence[VirtualTokens], longest: int | None = None) -> None:
        """Decides which virtual tokens every input gets from now on.

        Args:
            prompts: In their order.
            longest: A limit below `max_tokens`, virtual tokens included.

        Raises:
            InputError: They leave no room for text. Nothing has changed then.
        """
        limit = min(self.max_tokens, longest or self.max_tokens)
        self._room(prompts, limit)
        self.prompts, self._limit = tuple(prompts), limit
        self._fingerprint: str | None = None

    def _room(self, prompts: Sequence[VirtualTokens], limit: int) -> int:
        virtual = sum(prompt.count for prompt in prompts)
        if limit - virtual <= self.special:
            raise InputError(
                f"`max_tokens` must be more than the {self.special} special tokens of a pair"
                + (f" and the prompt's {virtual}" if virtual else "")
                + f". Received: {limit}"
            )
        return limit - virtual

    @property
    def limit(self) -> int:
        """Longest row now: `max_tokens`, or less where an adapter takes positions."""
        return self._limit

    @property
    def fingerprint(self) -> str:
        """Equal for processors that give equal ids for every text."""
        if self._fingerprint is None:  # the JSON has megabytes, and every batch may ask
            facts = f"{self.family.inputs}|{self.max_tokens}|{self.tokenizer_json}"
            if self.prompts or self._limit != self.max_tokens:
                facts += f"|{self.prompts}|{self._limit}"
            self._fingerprint = hashlib.sha256(facts.encode()).hexdigest()
        return self._fingerprint

    def tokenize(
        self,
        rows: Sequence[TextRow],
        prompts: Sequence[Sequence[VirtualTokens]] | None = None,
        stride: int | None = None,
        reserve: int = 0,
    ) -> EncodedTexts:
        """Token ids without padding, virtual tokens included.

        Args:
            rows: Texts or (text, text) pairs.
            prompts: The virtual tokens of each row. Default: those of `use_prompts`.
            stride: Where given, a text that is too long is not cut off, but becomes several rows of
                tokens that overlap by so many; of a pair its second text, with the first in front
                of each (itself cut to half of the room). The result has `places`.
            reserve: Tokens that are to be written behind each row. Where there are any, a text that
                is too long loses its beginning instead of its end.

        Returns:
            The ragged batch.

        Raises:
            InputError: A row is neither a string nor a pair of strings; its number is named. Or
                `stride` leaves no room.
        """
        rows = check_rows(rows)
        own = [self.prompts] * len(rows) if prompts is None else [tuple(p) for p in prompts]
        if len(own) != len(rows):
            raise InputError(f"`prompts` must have one entry a row. Received: {len(own)}")
        windows: list[list[Any]] = [[]] * len(rows)
        frames = {f: framed(f, self._opening, self.family.kind == "encoder") for f in set(own)}
        truncated = 0
        for frame in dict.fromkeys(own):
            numbers = [number for number, prompt in enumerate(own) if prompt == frame]
            texts = [rows[number] for number in numbers]
            room = self._room(frame, self._limit - reserve)
            if stride is None:
                side = "left" if reserve else "right"
                self.tokenizer.enable_truncation(room, strategy="longest_first", direction=side)
            else:
                texts = self._overlapping(texts, room, stride)
            for number, encoding in zip(numbers, self.tokenizer.encode_batch(texts), strict=True):
                truncated += bool(encoding.overflowing) and stride is None
                windows[number] = [encoding] if stride is None else _windows(encoding)

        every = [
            (frames[own[n]], window) for n, several in enumerate(windows) for window in several
        ]
        offsets = np.concatenate([[0], np.cumsum([len(e) + sum(map(len, f)) for f, e in every])])
        total = int(offsets[-1])

        def flat(of: Any, virtual: Any = None) -> IntArray:
            """A value of each token; of virtual ones their ids, or `virtual`."""
            chunks: list[Any] = []
            for (start, behind), encoding in every:
                values = of(encoding)
                if len(start) + len(behind):
                    before, after = start.tolist(), behind.tolist()
                    if virtual is not None:
                        before, after = [virtual] * len(start), [virtual] * len(behind)
                    values = [*before, *values[:1], *after, *values[1:]]
                chunks.append(values)
            return np.fromiter((value for row in chunks for value in row), "int32", total)

        places = None
        if stride is not None:
            places = Places(
                flat(lambda e: [-1 if side is None else side for side in e.sequence_ids], -1),
                flat(lambda e: [start for start, _ in e.offsets], 0),
                flat(lambda e: [end for _, end in e.offsets], 0),
                flat(lambda e: [-1 if word is None else word for word in e.word_ids], -1),
                np.repeat(np.arange(len(rows)), [len(several) for several in windows]),
            )
        return EncodedTexts(
            flat(lambda e: e.ids),
            flat(lambda e: e.type_ids, 0),
            offsets.astype("int64"),
            truncated,
            places,
        )

    def _overlapping(self, texts: list[TextRow], room: int, stride: int) -> list[TextRow]:
        """Sets the tokenizer to windows; first texts of pairs come back cut to half of the room."""
        half = (room - self.special) // 2
        if not 0 <= stride < half:
            raise InputError(
                f"`stride` must be from 0 to {half - 1}, less than half of the {room} tokens that "
                f"there is room for. Received: {stride}"
            )
        if texts and isinstance(texts[0], tuple):
            firsts = [text[0] for text in texts]
            spans = self.token_offsets(firsts)
            texts = [
                (first if len(own) <= half else first[: own[half - 1][1]], text[1])
                for first, own, text in zip(firsts, spans, texts, strict=True)
            ]
            self.tokenizer.enable_truncation(room, stride=stride, strategy="only_second")
        else:
            self.tokenizer.enable_truncation(room, stride=stride, strategy="only_first")
        return texts

    def token_ids(self, text: str) -> list[int]:
        """Ids of one text without special tokens, never truncated."""
        self.tokenizer.no_truncation()
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def pad(
        self, encoded: EncodedTexts, rows: Sequence[int] | NDArray[np.int64], length: int
    ) -> dict[str, IntArray]:
        """The backbone's inputs for some rows.

        The decoder of an encoder-decoder gets the row's text too, moved one place to the right
        behind its start token, as HF's T5 and BART do where they are given nothing else; virtual
        tokens are for the encoder.

        Args:
            encoded: A ragged batch.
            rows: Row numbers.
            length: Tokens to pad to; at least the longest of the rows.

        Returns:
            Input name -> int32 (len(rows), length).
        """
        shape = (len(rows), length)
        token_ids = np.full(shape, self.pad_id, "int32")
        segments = np.zeros(shape, "int32")
        mask = np.zeros(shape, "int32")
        for i, row in enumerate(rows):
            start, stop = encoded.offsets[row], encoded.offsets[row + 1]
            token_ids[i, : stop - start] = encoded.ids[start:stop]
            segments[i, : stop - start] = encoded.segments[start:stop]
            mask[i, : stop - start] = 1
        every = {"token_ids": token_ids, "segment_ids": segments, "padding_mask": mask}
        if self.family.kind == "encoder-decoder":
            every |= {"encoder_token_ids": token_ids, "encoder_padding_mask": mask}
            every |= self._decoder_inputs(token_ids, mask)
        return {name: every[name] for name in self.family.inputs}

    def pad_decoder(
        self, targets: EncodedTexts, rows: Sequence[int] | NDArray[np.int64], length: int
    ) -> dict[str, IntArray]:
        """The decoder's inputs for some rows, where it has texts of its own.

        Args:
            targets: A ragged batch of what the decoder gets, its start token included.
            rows: Row numbers.
            length: Tokens to pad to; at least the longest of the rows.

        Returns:
            `decoder_token_ids` and `decoder_padding_mask`, int32 (len(rows), length).
        """
        ids = np.full((len(rows), length), self.pad_id, "int32")
        mask = np.zeros_like(ids)
        for i, row in enumerate(rows):
            own = targets.ids[targets.offsets[row] : targets.offsets[row + 1]]
            ids[i, : len(own)], mask[i, : len(own)] = own, 1
        return {"decoder_token_ids": ids, "decoder_padding_mask": mask}

    def _decoder_inputs(self, token_ids: IntArray, mask: IntArray) -> dict[str, IntArray]:
        first_virtual = min((p.first for p in self.prompts), default=np.iinfo("int32").max)
        moved = np.full_like(token_ids, self.pad_id)
        moved_mask = np.zeros_like(mask)
        for i in range(len(token_ids)):
            real = token_ids[i][(mask[i] == 1) & (token_ids[i] < first_virtual)]
            moved[i, : max(len(real), 1)] = [self._decoder_start, *real[:-1]]
            moved_mask[i, : max(len(real), 1)] = 1
        return {"decoder_token_ids": moved, "decoder_padding_mask": moved_mask}

    def encode(self, rows: Sequence[TextRow], length: int | None = None) -> dict[str, IntArray]:
        """Tokenises and pads in one call.

        Args:
            rows: n texts or pairs.
            length: Tokens to pad to. Default: the longest row.

        Returns:
            Input name -> int32 (n, length).
        """
        encoded = self.tokenize(rows)
        longest = int(encoded.lengths.max(initial=1))
        return self.pad(encoded, np.arange(len(encoded)), max(length or 0, longest))

    def token_offsets(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """Character spans of each text's tokens, without special tokens and never truncated."""
        self.tokenizer.no_truncation()
        encodings = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [list(encoding.offsets) for encoding in encodings]


def _windows(encoding: Any) -> list[Any]:
    """An encoding and what did not fit into it, in order."""
    return [encoding, *encoding.overflowing]


def check_rows(rows: Any, name: str = "x") -> list[TextRow]:
    """Normalises what users pass as texts to a list of strings or of 2-tuples.

    Accepted: a list, tuple-of-two-columns, numpy array of strings (n,) or (n, 2), or a list of
    pairs. A *tuple* of two sequences of strings is two columns (as Keras passes inputs); a *list*
    of 2-tuples is n pairs.

    Raises:
        InputError: Anything else; the first bad row is named.
    """
    if isinstance(rows, str):
        raise InputError(f"`{name}` must be a list of texts, not one text. Received: a string")
    if isinstance(rows, tuple) and len(rows) == 2 and not isinstance(rows[0], str):
        first, second = check_rows(rows[0], name), check_rows(rows[1], name)
        if len(first) != len(second):
            raise InputError(
                f"`{name}` as a tuple must hold two columns of equal length. "
                f"Received: {len(first)} and {len(second)} texts"
            )
        return [(a, b) for a, b in zip(first, second, strict=True)]  # type: ignore[misc]
    if isinstance(rows, np.ndarray):
        rows = rows.tolist()
    checked: list[TextRow] = []
    for number, row in enumerate(rows):
        if isinstance(row, bytes):
            row = row.decode("utf-8", errors="replace")
        if isinstance(row, (list, tuple)) and len(row) == 2:
            row = tuple(row)
        pair = isinstance(row, tuple) and len(row) == 2 and all(isinstance(p, str) for p in row)
        if not (isinstance(row, str) or pair):
            raise InputError(
                f"`{name}` row {number} must be a string or a pair of strings. "
                f"Received: {row!r:.80} of type {type(row).__name__}"
            )
        for text in (row,) if isinstance(row, str) else row:
            if not text.isascii() and any("\ud800" <= sign <= "\udfff" for sign in text):
                raise InputError(
                    f"`{name}` row {number} holds half of a surrogate pair, which is no text: "
                    f"{text!r:.80}. Clean it: text.encode('utf-8', 'replace').decode()"
                )
        checked.append(row)
    if checked and len({isinstance(row, str) for row in checked}) > 1:
        raise InputError(f"`{name}` mixes single texts and pairs. Pass one kind.")
    return checked
