"""What language models share: generation with a cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from kzoo.adapters.acting.composition import Parallel, PerRow
from kzoo.backbones.families import FAMILIES
from kzoo.backbones.text import EncodedTexts, TextProcessor
from kzoo.backbones.virtual_tokens import strip_virtual
from kzoo.errors import InputError, WeightsError, did_you_mean
from kzoo.models.model import Model
from kzoo.reads.language import end_token
from kzoo.training.optimizer import resolve_jit
from kzoo.trunk.layer import Trunk


class CachedDecoding:
    """Makes KerasHub's task for a model, once; a plain object, so that Keras tracks nothing in it.

    Args:
        model: Whose trunk decodes. Adapters act in it as they do in the model.
    """

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self._task: Any = None
        self._sampler: Any = None

    def task(self, sampler: Any) -> Any:
        """The `keras_hub.models.CausalLM` or `Seq2SeqLM`, compiled with this sampler."""
        import keras_hub

        if self._task is None:
            cls = getattr(keras_hub.models, self._model.task_name)
            trainable = {id(v): v.trainable for v in self._model.backbone.weights}
            self._task = cls(backbone=self._model.backbone, preprocessor=None)
            for variable in self._model.backbone.weights:
                variable.trainable = trainable[id(variable)]
        if self._sampler is None or sampler != self._sampler:
            self._task.compile(sampler=sampler, jit_compile=resolve_jit("auto"))
            self._sampler = sampler
        return self._task

    def forget(self) -> None:
        """Drops compiled functions."""
        self._sampler = None


class LanguageModel(Model):
    """Predicts the next token; outputs float32 logits (batch, tokens, vocabulary).

    Subclasses say what stands before generation.

    Attributes:
        task_field: Field of `Family` with KerasHub's task, whose cached decoding runs the trunk.
        written: Names of the inputs that generation writes: ids and mask.
        end: Id of the token that ends a text.

    Raises:
        WeightsError: The trunk's family has no such task, or its tokenizer has no end token.
    """

    task_field: ClassVar[str]
    written: ClassVar[tuple[str, str]] = ("token_ids", "padding_mask")
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
        max_new_tokens: int,
        sampler: Any,
        batch_size: int | None,
        stop: str | None,
    ) -> list[str]:
        """What `generate` of the subclasses does; `argument` is their name of `texts`."""
        if isinstance(self.adapters.composition, (PerRow, Parallel)):
            raise InputError("generate() runs one composition: activate an adapter or a Stack.")
        if isinstance(texts, str) or len(texts) == 0:
            raise InputError(f"`{argument}` must be a list of at least one text.")
        if max_new_tokens < 1:
            raise InputError(f"`max_new_tokens` must be at least 1. Received: {max_new_tokens}")
        encoded = self.processor.tokenize(texts)
        begins = self.begins(encoded)
        if begins.max() + max_new_tokens > self.processor.limit:
            raise InputError(
                f"`max_new_tokens` {max_new_tokens} and the {begins.max()} tokens in front of them "
                f"are more than `max_tokens` {self.processor.limit}."
            )
        ends = [self.end, *([self._token(stop)] if stop is not None else [])]
        ids_name, mask_name = self.written
        order = np.argsort(encoded.lengths, kind="stable")
        size = batch_size or self.training_settings.batch_size
        found: dict[int, str] = {}
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            length = int(begins[rows].max()) + max_new_tokens
            inputs = self.decoding_inputs(encoded, rows, length)
            # KerasHub looks for end tokens in what is still to be written, and stops at padding
            # that is one.
            unwritten = inputs[mask_name] == 0
            inputs[ids_name][unwritten] = next(i for i in range(3) if i not in ends)
            output = self.decoding().task(sampler).generate(inputs, stop_token_ids=ends)
            for row, ids in zip(rows, np.asarray(output[ids_name]), strict=True):
                begin = int(begins[row])
                found[int(row)] = self._decode(ids[begin : begin + max_new_tokens], ends)
        return [found[row] for row in range(len(order))]

    def _token(self, stop: str) -> int:
        number = self.processor.tokenizer.token_to_id(stop)
        if number is None:
            known = self.processor.tokenizer.get_vocab()
            raise InputError(f"`stop` {stop!r} is no token.{did_you_mean(stop, known)}")
        return int(number)

    def _decode(self, ids: Any, ends: Sequence[int]) -> str:
        kept = list(ids)
        for place, token in enumerate(kept):
            if token in ends:
                kept = kept[:place]
                break
        plain = strip_virtual(np.asarray(kept, "int32"), self.backbone.vocabulary_size)
        return str(self.processor.tokenizer.decode(plain))

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
