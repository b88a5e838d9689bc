"""What language models share: training on tokens, and generation with a cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import keras
import numpy as np
from numpy.typing import NDArray

from kzoo.adapters.composition import Parallel, PerRow
from kzoo.backbones.loading import Trunk
from kzoo.backbones.text import EncodedTexts, TextRow, check_rows
from kzoo.backbones.virtual_tokens import strip_virtual
from kzoo.errors import InputError, WeightsError, did_you_mean
from kzoo.models.base import Model
from kzoo.models.decoding import CachedDecoding, end_token
from kzoo.models.language_rows import LanguageRows
from kzoo.models.spec import ModelSpec
from kzoo.strategy import in_strategy_scope
from kzoo.training.batches import batches
from kzoo.training.optimizer import default_optimizer
from kzoo.training.orders import first_pass
from kzoo.training.schedule import WarmupLinearDecay
from kzoo.training.xla import resolve_jit


class LanguageModel(Model):
    """Predicts the next token; outputs float32 logits (batch, tokens, vocabulary).

    Subclasses say what texts become tokens of, and what stands before generation.

    Args:
        trunk: Built trunk with tokenizer.
        spec: The model's data.
        name: Keras name.

    Attributes:
        tasks: Family -> KerasHub's task, whose cached decoding runs the trunk.
        written: Names of the inputs that generation writes: ids and mask.
        end: Id of the token that ends a text.

    Raises:
        WeightsError: The trunk's family is none of `tasks`, or its tokenizer has no end token.
    """

    tasks: ClassVar[Mapping[str, str]] = {}
    written: ClassVar[tuple[str, str]] = ("token_ids", "padding_mask")

    def __init__(self, trunk: Trunk, spec: ModelSpec, name: str | None = None) -> None:
        if trunk.family.name not in self.tasks:
            raise WeightsError(
                f"`backbone` of family {trunk.family.name} generates no text as a "
                f"{type(self).__name__}. Families that do: {', '.join(self.tasks)}."
            )
        super().__init__(trunk, spec, name)
        self._recipe_schedule = False
        self.end = end_token(self.text.tokenizer)
        self._decoding = CachedDecoding(self)

    # --- What subclasses say ---------------------------------------------------------------

    def language_rows(self, texts: list[TextRow], prompts: Any) -> LanguageRows:
        """Tokens and labels of texts; `prompts` as in `TextProcessor.tokenize`."""
        raise NotImplementedError

    def begins(self, encoded: EncodedTexts) -> NDArray[np.int64]:
        """int (n,): how many tokens stand before those that generation writes."""
        raise NotImplementedError

    def decoding_inputs(
        self, encoded: EncodedTexts, rows: NDArray[np.int64], length: int
    ) -> dict[str, Any]:
        """Inputs for some rows, with what is written padded to `length`."""
        raise NotImplementedError

    # --- Training --------------------------------------------------------------------------

    def prepare(
        self,
        x: Any = None,
        y: Any = None,
        sample_weight: Any = None,
        batch_size: int | None = None,
        shuffle: bool = False,
        first_epoch: int = 0,
        few_shapes: bool = True,
        by_length: bool = False,
        adapter_names: Sequence[str] | None = None,
    ) -> Any:
        """Turns texts or pairs of them into batches of (inputs, labels, weights).

        The arguments are those of `kzoo.Model.prepare`; `y` is the second column of pairs, where x
        is the first, and `sample_weight` multiplies the weights of a row's tokens.

        Raises:
            InputError: No rows, or rows of a wrong type.
        """
        texts = _texts(x, y)
        by_row = self._row_inputs(adapter_names, len(texts))
        rows = self.language_rows(texts, self._row_prompts(by_row))
        weights = rows.weights
        if sample_weight is not None:
            each = np.asarray(sample_weight, "float32")
            if each.shape != (len(texts),):
                raise InputError(
                    f"`sample_weight` must have shape ({len(texts)},). Received: {each.shape}"
                )
            weights = weights * np.repeat(each, rows.learned.lengths)
        order = np.argsort(rows.encoded.lengths, kind="stable") if by_length else None
        return batches(
            self.text,
            rows.encoded,
            batch_size=batch_size or self.spec.training.batch_size,
            shuffle=shuffle,
            seed=self.seed,
            order=order,
            first_epoch=first_epoch,
            few_shapes=few_shapes,
            by_row=by_row,
            by_token=(rows.labels, weights),
            targets=rows.targets,
        )

    @in_strategy_scope
    def compile(
        self,
        optimizer: Any = None,
        loss: Any = None,
        weighted_metrics: Any = None,
        jit_compile: bool | str = "auto",
        learning_rate: float | None = None,
        **kwargs: Any,
    ) -> None:
        """As `keras.Model.compile`, with the recipe's values for what is left out.

        Args:
            optimizer: Default: Adam with the recipe's rate, clipping, warm-up and decay.
            loss: Default: cross-entropy, the mean over the tokens that are learned.
            weighted_metrics: Default: accuracy of the next token and perplexity.
            jit_compile: `True`, `False`, or `"auto"`: XLA on GPU and TPU, not on CPU.
            learning_rate: Peak rate of the default optimizer.
            **kwargs: Passed on.
        """
        self._compile_request = {
            "optimizer": optimizer,
            "loss": loss,
            "weighted_metrics": weighted_metrics,
            "jit_compile": jit_compile,
            "learning_rate": learning_rate,
            **kwargs,
        }
        self._recipe_schedule = optimizer is None
        if optimizer is None:
            optimizer = default_optimizer(self.spec.training, learning_rate)
        elif learning_rate is not None:
            raise InputError("`learning_rate` belongs to the default optimizer; pass one of both.")
        if weighted_metrics is None:
            import keras_hub

            weighted_metrics = [
                keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
                keras_hub.metrics.Perplexity(from_logits=True, name="perplexity"),
            ]
        super().compile(
            optimizer=optimizer,
            # The usual mean would count the padding of a batch and differ from batch to batch.
            loss=loss
            or keras.losses.SparseCategoricalCrossentropy(
                from_logits=True, reduction="mean_with_sample_weight"
            ),
            weighted_metrics=weighted_metrics,
            jit_compile=resolve_jit(jit_compile),
            **kwargs,
        )

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int | None = None,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_data: Any = None,
        shuffle: bool = True,
        sample_weight: Any = None,
        **kwargs: Any,
    ) -> Any:
        """As `keras.Model.fit`, on texts, pairs of texts or two columns of them.

        Args:
            x: Texts or pairs, as the class learns them; the first column of pairs, with the
                second as `y`; or what Keras takes.
            y: The second column.
            batch_size: Default: the recipe's.
            epochs: Default: the recipe's.
            verbose: As in Keras.
            callbacks: As in Keras.
            validation_data: Texts, pairs, or a tuple of two columns.
            shuffle: A new order in each epoch, by length buckets.
            sample_weight: float (n,).
            **kwargs: `adapter_names` (see `kzoo.Model.prepare`); others are passed on.

        Returns:
            The Keras History.
        """
        if not self.compiled:
            self.compile()
        names = kwargs.pop("adapter_names", None)
        if self.is_text(x):
            first = first_pass(self, kwargs.get("initial_epoch", 0))
            options = {"few_shapes": self.jit_compile, "adapter_names": names}
            x = self.prepare(x, y, sample_weight, batch_size, shuffle, first, **options)
            y = sample_weight = batch_size = None
            shuffle = False
        if validation_data is not None and self.is_text(validation_data):
            validation_data = self.prepare(validation_data, by_length=True)
        if self._recipe_schedule:
            given = callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]
            schedule = WarmupLinearDecay(self.spec.training.warmup)
            callbacks = [schedule, *(c for c in given if c is not None)]
        return super().fit(
            x,
            y,
            batch_size=batch_size,
            epochs=epochs or self.spec.training.epochs,
            verbose=verbose,
            callbacks=callbacks,
            validation_data=validation_data,
            shuffle=shuffle,
            sample_weight=sample_weight,
            **kwargs,
        )

    def evaluate(self, x: Any = None, y: Any = None, batch_size: Any = None, **kwargs: Any) -> Any:
        """As `keras.Model.evaluate`, on texts and pairs too: loss, accuracy, perplexity."""
        if not self.compiled:
            self.compile()
        names = kwargs.pop("adapter_names", None)
        if self.is_text(x):
            x = self.prepare(x, y, None, batch_size, by_length=True, adapter_names=names)
            y = batch_size = None
        return super().evaluate(x, y, batch_size=batch_size, **kwargs)

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
        encoded = self.text.tokenize(texts)
        begins = self.begins(encoded)
        if begins.max() + max_new_tokens > self.text.limit:
            raise InputError(
                f"`max_new_tokens` {max_new_tokens} and the {begins.max()} tokens in front of them "
                f"are more than `max_tokens` {self.text.limit}."
            )
        ends = [self.end, *([self._token(stop)] if stop is not None else [])]
        ids_name, mask_name = self.written
        order = np.argsort(encoded.lengths, kind="stable")
        size = batch_size or self.spec.training.batch_size
        found: dict[int, str] = {}
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            length = int(begins[rows].max()) + max_new_tokens
            inputs = self.decoding_inputs(encoded, rows, length)
            # KerasHub looks for end tokens in what is still to be written, and stops at padding
            # that is one.
            unwritten = inputs[mask_name] == 0
            inputs[ids_name][unwritten] = next(i for i in range(3) if i not in ends)
            output = self._decoding.task(sampler).generate(inputs, stop_token_ids=ends)
            for row, ids in zip(rows, np.asarray(output[ids_name]), strict=True):
                begin = int(begins[row])
                found[int(row)] = self._decode(ids[begin : begin + max_new_tokens], ends)
        return [found[row] for row in range(len(order))]

    def _token(self, stop: str) -> int:
        number = self.text.tokenizer.token_to_id(stop)
        if number is None:
            known = self.text.tokenizer.get_vocab()
            raise InputError(f"`stop` {stop!r} is no token.{did_you_mean(stop, known)}")
        return int(number)

    def _decode(self, ids: Any, ends: Sequence[int]) -> str:
        kept = list(ids)
        for place, token in enumerate(kept):
            if token in ends:
                kept = kept[:place]
                break
        plain = strip_virtual(np.asarray(kept, "int32"), self.backbone.vocabulary_size)
        return str(self.text.tokenizer.decode(plain))

    def adapters_changed(self) -> None:
        """See `kzoo.Model`; the decoding functions are stale too."""
        super().adapters_changed()
        if hasattr(self, "_decoding"):
            self._decoding.forget()

    def get_config(self) -> dict[str, Any]:
        """See `kzoo.Model`; and whether `fit` adds the recipe's schedule."""
        return {**super().get_config(), "recipe_schedule": self._recipe_schedule}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Any = None) -> Self:
        """See `kzoo.Model`."""
        model = super().from_config(config, custom_objects)
        model._recipe_schedule = config["recipe_schedule"]
        return model

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        """Compiles as the saved model was, its schedule and optimizer state included."""
        schedule = self._recipe_schedule
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)
        self._recipe_schedule = schedule


def _texts(x: Any, y: Any) -> list[TextRow]:
    if hasattr(x, "inputs") and not hasattr(x, "layers"):
        x = x.inputs
    if y is not None:
        x = (list(x), list(y))
    if len(x) == 0 or (isinstance(x, tuple) and len(x[0]) == 0):
        raise InputError("`x` is empty. At least one text is needed.")
    return check_rows(x)
