"""`kzoo.TextGenerator`: a causal language model with adapters that completes texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import keras
import numpy as np

from kzoo.adapters.composition import Parallel, PerRow
from kzoo.backbones.loading import Trunk
from kzoo.backbones.virtual_tokens import strip_virtual
from kzoo.errors import InputError, WeightsError, did_you_mean
from kzoo.models.base import Model
from kzoo.models.language_rows import language_rows
from kzoo.models.spec import ModelSpec
from kzoo.training.batches import batches
from kzoo.training.optimizer import default_optimizer
from kzoo.training.schedule import WarmupLinearDecay
from kzoo.training.xla import resolve_jit

# Family -> KerasHub's task, whose cached decoding runs the trunk.
TASKS = {
    "gpt2": "GPT2CausalLM",
    "llama": "LlamaCausalLM",
    "mistral": "MistralCausalLM",
    "qwen2": "QwenCausalLM",
    "qwen3": "Qwen3CausalLM",
    "gemma": "GemmaCausalLM",
}
# What families end a text with, the most special first.
END_TOKENS = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|im_end|>")


@keras.saving.register_keras_serializable(package="kzoo")
class TextGenerator(Model):
    """Predicts the next token; outputs float32 logits (batch, tokens, vocabulary).

    `fit` and `evaluate` take texts, or (prompt, completion) pairs of which only the completion is
    learned. `generate` completes prompts with a key-value cache; adapters act in it.

    Args:
        trunk: Built decoder with tokenizer.
        spec: The model's data.
        name: Keras name.
    """

    def __init__(self, trunk: Trunk, spec: ModelSpec, name: str | None = None) -> None:
        if trunk.family.name not in TASKS:
            raise WeightsError(
                f"`backbone` of family {trunk.family.name} generates no text. "
                f"Families that do: {', '.join(TASKS)}."
            )
        super().__init__(trunk, spec, name)
        self._recipe_schedule = False
        self.end = _end_token(self.text.tokenizer)
        self._tasks: _Tasks = _Tasks(self)

    def make_outputs(self, backbone: Any, spec: ModelSpec) -> Any:
        """Logits of the trunk's own output layer."""
        logits = backbone.token_embedding(backbone.output, reverse=True)
        return keras.layers.Activation("linear", dtype="float32", name="logits")(logits)

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
        """Turns texts or (prompt, completion) pairs into batches of (inputs, labels, weights).

        The arguments are those of `kzoo.Model.prepare`; `y` is a column of completions, where x
        is one of prompts, and `sample_weight` multiplies the weights of a row's tokens.

        Raises:
            InputError: No rows, or rows of a wrong type.
        """
        texts = _texts(x, y)
        rows = language_rows(self.text, texts, self.end, self.backbone.vocabulary_size)
        weights = rows.weights
        if sample_weight is not None:
            each = np.asarray(sample_weight, "float32")
            if each.shape != (len(texts),):
                raise InputError(
                    f"`sample_weight` must have shape ({len(texts)},). Received: {each.shape}"
                )
            weights = weights * np.repeat(each, rows.encoded.lengths)
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
            by_row=self._row_inputs(adapter_names, len(texts)),
            by_token=(rows.labels, weights),
        )

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
        """As `keras.Model.fit`, on texts, (prompt, completion) pairs or two columns of them.

        Args:
            x: Texts, pairs, prompts (with completions as `y`), or what Keras takes.
            y: Completions.
            batch_size: Default: the recipe's.
            epochs: Default: the recipe's.
            verbose: As in Keras.
            callbacks: As in Keras.
            validation_data: Texts, pairs or (prompts, completions).
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
            first = kwargs.get("initial_epoch", 0)
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

    def generate(
        self,
        prompts: Sequence[str],
        max_new_tokens: int = 50,
        sampler: Any = "greedy",
        batch_size: int | None = None,
        stop: str | None = None,
    ) -> list[str]:
        """Completes texts.

        Args:
            prompts: n texts.
            max_new_tokens: At most so many tokens behind each prompt.
            sampler: `"greedy"`, `"top_k"`, `"top_p"`, `"beam"`, ... or a `keras_hub.samplers`
                object.
            batch_size: Prompts at a time. Default: the recipe's.
            stop: Text of a token to stop at beside the end token.

        Returns:
            n completions, without the prompts.

        Raises:
            InputError: No prompts, or prompts that leave no room.
        """
        if isinstance(self.adapters.composition, (PerRow, Parallel)):
            raise InputError("generate() runs one composition: activate an adapter or a Stack.")
        if isinstance(prompts, str) or len(prompts) == 0:
            raise InputError("`prompts` must be a list of at least one text.")
        encoded = self.text.tokenize(prompts)
        longest = int(encoded.lengths.max()) + max_new_tokens
        if longest > self.text.max_tokens:
            raise InputError(
                f"`max_new_tokens` {max_new_tokens} and the longest prompt's "
                f"{longest - max_new_tokens} tokens are more than `max_tokens` "
                f"{self.text.max_tokens}."
            )
        ends = [self.end, *([self._token(stop)] if stop is not None else [])]
        order = np.argsort(encoded.lengths, kind="stable")
        size = batch_size or self.spec.training.batch_size
        found: dict[int, str] = {}
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            inputs = self.text.pad(encoded, rows, int(encoded.lengths[rows].max()) + max_new_tokens)
            # KerasHub looks for end tokens in what is still to be written, and stops at padding
            # that is one.
            unwritten = inputs["padding_mask"] == 0
            inputs["token_ids"][unwritten] = next(i for i in range(3) if i not in ends)
            output = self._tasks.get(sampler).generate(inputs, stop_token_ids=ends)
            for row, ids in zip(rows, np.asarray(output["token_ids"]), strict=True):
                begin = int(encoded.lengths[row])
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
        if hasattr(self, "_tasks"):
            self._tasks.forget()

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


class _Tasks:
    """KerasHub's decoding around the model's own trunk; in a plain object, which owns nothing."""

    def __init__(self, model: TextGenerator) -> None:
        self._model = model
        self._task: Any = None
        self._sampler: Any = None

    def get(self, sampler: Any) -> Any:
        """The task, decoding with this sampler."""
        import keras_hub

        if self._task is None:
            cls = getattr(keras_hub.models, TASKS[self._model.family.name])
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


def _end_token(tokenizer: Any) -> int:
    for token in END_TOKENS:
        number = tokenizer.token_to_id(token)
        if number is not None:
            return int(number)
    raise WeightsError(f"The tokenizer has no end token; looked for {', '.join(END_TOKENS)}.")


def _texts(x: Any, y: Any) -> Any:
    if hasattr(x, "inputs") and not hasattr(x, "layers"):
        x = x.inputs
    if y is not None:
        x = (list(x), list(y))
    if len(x) == 0 or (isinstance(x, tuple) and len(x[0]) == 0):
        raise InputError("`x` is empty. At least one text is needed.")
    from kzoo.backbones.text import check_rows

    return check_rows(x)
