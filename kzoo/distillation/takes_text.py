"""`fit`, `evaluate` and `predict` of a Distiller, on raw text as well as on arrays."""

from __future__ import annotations

from typing import Any

from kzoo.distillation import text
from kzoo.distillation.checks import align_labels
from kzoo.distillation.errors import DistillationError
from kzoo.training.orders import first_pass


class TakesText:
    """Prepares raw text before Keras' own methods see it; stands in front of them in the MRO."""

    teacher: Any
    student: Any
    compiled: bool
    _recipe_schedule: bool

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int | None = None,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Trains the student, as `keras.Model.fit` does, on arrays, `tf.data` or raw text.

        Args:
            x: what Keras takes; or raw text, if student or teacher prepares text: a list or array
                of strings or of pairs of strings, a split of a dataset, `tf.data` of strings; or
                a `kzoo.datasets` dataset (its `train` split, validated on its `validation`).
            y: labels: ints, or for text also strings.
            batch_size: samples per step. Defaults to `None`: 32, for text the student's own choice.
            epochs: passes over the data. Defaults to `None`: the student's recipe, else 1. With the
                recipe's optimizer, its warm-up and decay of the learning rate apply too.
            validation_data: `(x, y)`, `(x, y, sample_weight)`, or `x` alone where it brings labels.
            **kwargs: the rest of `keras.Model.fit`, under Keras' names.

        Returns:
            A `keras.callbacks.History`.

        Raises:
            DistillationError: if nothing says which loss to use, or text cannot be prepared.
        """
        if hasattr(x, "splits"):
            if validation_data is None and "validation" in x.splits:
                validation_data = x["validation"]
            x = x["train"]
        self._ensure_compiled()
        validation_size = kwargs.get("validation_batch_size") or batch_size
        if self._prepares(x):
            if validation_split:
                raise DistillationError(
                    f"`validation_split`: received {validation_split}; raw text is not split "
                    "here. Pass `validation_data`."
                )
            first = first_pass(self, kwargs.get("initial_epoch", 0))
            x = self._batches(x, y, sample_weight, batch_size, shuffle, first)
            y = sample_weight = batch_size = None
            shuffle = False  # done by then
        # After the training data, which are what the student may learn its labels from.
        if validation_data is not None:
            validation_data = self._validation_data(validation_data, validation_size)
        if self._recipe_schedule:
            callbacks = self.student.with_schedule(callbacks)
        return super().fit(  # type: ignore[misc]
            x=x,
            y=y,
            batch_size=batch_size,
            epochs=epochs or getattr(self.student, "default_epochs", 1),
            verbose=verbose,
            callbacks=callbacks,
            validation_split=validation_split,
            validation_data=validation_data,
            shuffle=shuffle,
            class_weight=class_weight,
            sample_weight=sample_weight,
            **kwargs,
        )

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Losses and metrics without dropout, as `keras.Model.evaluate`; takes what `fit` takes.

        Returns:
            A list of floats, or with `return_dict=True` a dict by metric name.
        """
        if hasattr(x, "splits"):
            x = x["test"]
        self._ensure_compiled()
        if self._prepares(x):
            x = self._batches(x, y, sample_weight, batch_size, shuffle=False)
            y = sample_weight = batch_size = None
        return super().evaluate(  # type: ignore[misc]
            x=x, y=y, batch_size=batch_size, verbose=verbose, sample_weight=sample_weight, **kwargs
        )

    def predict(
        self, x: Any, batch_size: int | None = None, verbose: Any = "auto", **kwargs: Any
    ) -> Any:
        """The student's outputs, as `keras.Model.predict`; takes what `fit` takes.

        Returns:
            A NumPy array or structure of arrays.
        """
        if text.takes_text(self.student) and text.is_text(x):
            x = self.student.prepare(x, **({"batch_size": batch_size} if batch_size else {}))
            batch_size = None
        return super().predict(  # type: ignore[misc]
            x, batch_size=batch_size, verbose=verbose, **kwargs
        )

    def _ensure_compiled(self) -> None:
        if not self.compiled:
            self.compile()  # type: ignore[attr-defined]

    def _prepares(self, x: Any) -> bool:
        able = text.takes_text(self.student) or text.takes_text(self.teacher)
        return able and text.is_text(x)

    def _batches(
        self,
        x: Any,
        y: Any,
        sample_weight: Any,
        batch_size: int | None,
        shuffle: bool,
        first_epoch: int = 0,
    ) -> Any:
        align_labels(self.teacher, self.student)
        return text.prepare(
            self.teacher, self.student, x, y, sample_weight, batch_size, shuffle, first_epoch
        )

    def _validation_data(self, data: Any, batch_size: int | None) -> Any:
        parts = data if isinstance(data, tuple) and 1 < len(data) <= 3 else (data,)
        x, y, sample_weight = (*parts, None, None)[:3]
        if not self._prepares(x):
            return data
        return self._batches(x, y, sample_weight, batch_size, shuffle=False)
