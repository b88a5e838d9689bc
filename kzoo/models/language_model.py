"""What language models share: generation with a cache."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from kzoo.adapters.acting.composition import Parallel, PerRow
from kzoo.adapters.acting.rows import ROW_INPUT
from kzoo.backbones.chat import is_messages, rendered
from kzoo.backbones.families import FAMILIES
from kzoo.backbones.text import EncodedTexts, TextProcessor
from kzoo.errors import InputError, WeightsError
from kzoo.models.decoding import CachedDecoding, rounded
from kzoo.models.model import Model
from kzoo.models.writing import Writer, Writing
from kzoo.reads.language import end_token
from kzoo.trunk.layer import Trunk


class LanguageModel(Model):
    """Predicts the next token; outputs float32 logits (batch, tokens, vocabulary).

    Subclasses say what stands before generation.

    Attributes:
        task_field: Field of `Family` with KerasHub's task, whose cached decoding runs the trunk.
        written: Names of the inputs that generation writes: ids and mask.
        reserves: Whether what is written stands in one row with what was given.
        end: Id of the token that ends a text.

    Raises:
        WeightsError: The trunk's family has no such task, or its tokenizer has no end token.
    """

    task_field: ClassVar[str]
    written: ClassVar[tuple[str, str]] = ("token_ids", "padding_mask")
    reserves: ClassVar[bool] = True
    _decoding: CachedDecoding | None = None

    @classmethod
    def check_trunk(cls, trunk: Trunk) -> None:
        """See `kzoo.Model`."""
        if getattr(trunk.family, cls.task_field) is None:
            able = [name for name, f in FAMILIES.items() if getattr(f, cls.task_field)]
            raise WeightsError(
                f"`backbone` of family {trunk.family.name} generates no text as a "
                f"{cls.__name__}. Families that do: {', '.join(able)}."
            )

    @property
    def task_name(self) -> str:
        """KerasHub's class that decodes."""
        return str(getattr(self.trunk.family, self.task_field))

    @property
    def processor(self) -> TextProcessor:
        """The text processor."""
        assert self.text is not None, "a language model reads texts"
        return self.text

    @property
    def end(self) -> int:
        """Id of the token that ends a text."""
        return end_token(self.processor.tokenizer)

    def chat_text(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """Chat messages as the prompt that the trunk's own template makes of them.

        `generate`, `stream` and `score` do so with each prompt that is a list of messages; for
        `fit` write it: `model.fit([(model.chat_text(messages), answer)])`.

        Args:
            messages: Dicts with `role` (`"system"`, `"user"`, `"assistant"`) and `content`. Behind
                the last one the assistant's turn is opened.

        Raises:
            InputError: There is no template, or it refuses the messages.
        """
        chat = self.trunk.chat.value
        text = rendered(chat, messages, answer=True)
        # The tokenizer writes the opening token itself.
        opening = chat.get("bos_token", "")
        written = self.processor.tokenizer.encode("").tokens[:1] == [opening]
        return text.removeprefix(opening) if written else text

    # --- What subclasses say ---------------------------------------------------------------

    def begins(self, encoded: EncodedTexts) -> NDArray[np.int64]:
        """int (n,): how many tokens stand before those that generation writes."""
        raise NotImplementedError

    def decoding_inputs(
        self, encoded: EncodedTexts, rows: NDArray[np.int64], length: int
    ) -> dict[str, Any]:
        """Inputs for some rows, with what is written padded to `length`."""
        raise NotImplementedError

    # --- Generation ------------------------------------------------------------------------

    def complete(
        self,
        texts: Sequence[str],
        argument: str,
        options: Writing,
        batch_size: int | None = None,
        adapter_names: Sequence[str] | None = None,
    ) -> list[Any]:
        """What `generate` of the subclasses does; `argument` is their name of `texts`."""
        writer = Writer(self, options)
        encoded, adapters = self._opened(texts, argument, options.max_new_tokens, adapter_names)
        rows = writer.rows(encoded)
        order = np.argsort(encoded.lengths, kind="stable")
        size = batch_size or self.training_settings.batch_size
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            own = None if adapters is None else adapters[batch]
            for _ in writer.write(encoded, batch, [rows[number] for number in batch], own):
                pass
        if options.num_return_sequences is None:
            return [own[0].text for own in rows]
        return [[row.text for row in own] for own in rows]

    def stream(self, text: Any, max_new_tokens: int = 50, **options: Any) -> Iterator[str]:
        """Writes behind one text, piece by piece.

        Args:
            text: A prompt (or chat messages) or a source.
            max_new_tokens: At most so many tokens.
            **options: `sampler`, `stop`, `seed` and the rules of `generate`.

        Yields:
            Whole characters; together they are what `generate` gives.

        Raises:
            InputError: As `generate`; or a sampler that decides at the end only, as beams do.
        """
        settings = Writing(max_new_tokens, **options)
        if settings.sampling.kind == "beam" or settings.num_return_sequences is not None:
            raise InputError("stream() writes one completion from left to right: no beams.")
        writer = Writer(self, settings)
        encoded, _ = self._opened([text], "text", max_new_tokens, None)
        ((row,),) = rows = writer.rows(encoded)
        given = 0
        for _ in writer.write(encoded, np.zeros(1, "int64"), rows, None):
            if piece := row.sure[given:]:
                given += len(piece)
                yield piece

    def score(
        self,
        prompts: Sequence[str],
        continuations: Sequence[Sequence[str]],
        batch_size: int | None = None,
        adapter_names: Sequence[str] | None = None,
    ) -> list[NDArray[np.float64]]:
        """Log-probabilities of given continuations.

        A continuation is tokenised apart from its prompt, as completions are in `fit`: no token
        stands across the boundary. A prompt that is too long loses its beginning.

        Args:
            prompts: n prompts, or sources.
            continuations: For each the texts that may follow; a space in front is theirs.
            batch_size: Rows at a time. Default: the recipe's.
            adapter_names: With `kzoo.PerRow` active, the adapter of each prompt.

        Returns:
            For each prompt float64 (continuations,): natural logarithms, summed over the tokens.
            The end of a text is not counted.

        Raises:
            InputError: Numbers of rows differ, or a continuation has no token or too many.
        """
        if len(continuations) != len(prompts) or isinstance(continuations, str):
            raise InputError(
                f"`continuations` must have one list of texts for each of the {len(prompts)} "
                f"`prompts`. Received: {len(continuations)}"
            )
        if any(isinstance(own, str) for own in continuations):
            raise InputError("`continuations` must be lists of texts. Received: a text")
        closings = [self.processor.token_ids(text) for own in continuations for text in own]
        if not closings or not all(closings):
            raise InputError("`continuations` must have at least one token each.")
        longest = max(map(len, closings))
        encoded, adapters = self._opened(prompts, "prompts", longest, adapter_names)
        owners = np.repeat(np.arange(len(prompts)), [len(own) for own in continuations])
        sums = np.zeros(len(owners))
        order = np.argsort(
            [encoded.lengths[o] + len(c) for o, c in zip(owners, closings, strict=True)]
        )
        size = batch_size or self.training_settings.batch_size
        begins = self.begins(encoded)
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            numbers, own = owners[batch], [closings[row] for row in batch]
            ends = [begins[n] + len(ids) for n, ids in zip(numbers, own, strict=True)]
            inputs = self.decoding_inputs(
                encoded, numbers, rounded(int(max(ends)), self.processor.limit)
            )
            for row, (number, ids) in enumerate(zip(numbers, own, strict=True)):
                behind = slice(begins[number], begins[number] + len(ids))
                inputs[self.written[0]][row, behind] = ids
                inputs[self.written[1]][row, behind] = 1
            if adapters is not None:
                inputs[ROW_INPUT] = adapters[numbers]
            logits = self.predict_on_batch(inputs)
            for row, (number, ids) in enumerate(zip(numbers, own, strict=True)):
                before = slice(begins[number] - 1, begins[number] - 1 + len(ids))
                wide = logits[row, before].astype("float64")
                wide -= wide.max(-1, keepdims=True)
                chances = wide[np.arange(len(ids)), ids] - np.log(np.exp(wide).sum(-1))
                sums[batch[row]] = chances.sum()
        return np.split(sums, np.cumsum([len(own) for own in continuations])[:-1])

    def _opened(
        self,
        texts: Sequence[str],
        argument: str,
        room: int,
        adapter_names: Sequence[str] | None,
    ) -> tuple[EncodedTexts, NDArray[np.int32] | None]:
        """Token ids with `room` tokens left behind them, and the adapter of each row."""
        composition = self.adapters.composition
        if isinstance(composition, Parallel):
            raise InputError("Parallel writes no texts: activate an adapter, a Stack or PerRow.")
        if isinstance(composition, PerRow) and adapter_names is None:
            raise InputError("`adapter_names` must name the adapter of each row: PerRow is active.")
        if isinstance(texts, (str, Mapping)) or len(texts) == 0:
            raise InputError(f"`{argument}` must be a list of at least one text.")
        if is_messages(texts):
            raise InputError(
                f"`{argument}` is one list of messages; pass a list of such lists: [messages]."
            )
        texts = [self.chat_text(one) if is_messages(one) else one for one in texts]
        before = 1 if self.reserves else len(self.processor.decoder_opening)
        if before + room > self.processor.limit:
            raise InputError(
                f"{room} new tokens and the {before} in front of them are more than `max_tokens` "
                f"{self.processor.limit}."
            )
        by_row = self._row_inputs(adapter_names, len(texts))
        prompts = self._prompts_of_rows(self.trunk, by_row)
        encoded = self.processor.tokenize(texts, prompts, reserve=room if self.reserves else 0)
        if not encoded.lengths.all():
            raise InputError(
                f"`{argument}` has a text without a token at {int(encoded.lengths.argmin())}."
            )
        if encoded.truncated:
            warnings.warn(
                f"{encoded.truncated} of {len(texts)} `{argument}` were cut: there is room for "
                f"{self.processor.limit} tokens (`max_tokens`)"
                + (f", of which {room} are to be new." if self.reserves else "."),
                stacklevel=3,
            )
        return encoded, by_row.get(ROW_INPUT)

    def decoding(self) -> CachedDecoding:
        """KerasHub's decoding around the trunk, made once."""
        if self._decoding is None:
            self._decoding = CachedDecoding(self)
        return self._decoding

    def trunk_changed(self) -> None:
        """See `kzoo.Model`; the decoding functions are stale too."""
        super().trunk_changed()
        if self._decoding is not None:
            self._decoding.forget()
