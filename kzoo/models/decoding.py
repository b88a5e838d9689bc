"""KerasHub's cached decoding around a model's own trunk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kzoo.training.xla import resolve_jit

if TYPE_CHECKING:
    from kzoo.models.language_model import LanguageModel


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
