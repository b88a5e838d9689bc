"""`kzoo.TextClassifier`: pooled trunk, dropout, one dense layer of logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import keras
import numpy as np
from numpy.typing import NDArray

from kzoo.backbones.loading import Trunk
from kzoo.errors import AdapterError, InputError
from kzoo.metrics import MacroF1
from kzoo.models.base import Model
from kzoo.models.head import ClassifierHead
from kzoo.models.holdout import hold_out, stream_labels
from kzoo.models.inputs import Rows, rows_of
from kzoo.models.labels import find_labels, to_ids
from kzoo.models.pooling import pooled
from kzoo.models.spec import ModelSpec
from kzoo.seeds import derive_seed
from kzoo.strategy import in_strategy_scope
from kzoo.training.batches import is_text_dataset
from kzoo.training.optimizer import default_optimizer
from kzoo.training.orders import first_pass
from kzoo.training.schedule import WarmupLinearDecay
from kzoo.training.xla import resolve_jit

_OPEN = 2  # outputs of a head whose classes are not known yet


@keras.saving.register_keras_serializable(package="kzoo")
class TextClassifier(Model):
    """Classifies texts or pairs of texts; outputs float32 logits (batch, num_classes).

    `fit`, `evaluate` and `predict` take raw strings. Where `num_classes` was not given, the first
    `fit` counts the classes and sizes the head. A model that was not compiled compiles itself with
    the recipe's training defaults.

    Args:
        trunk: Built backbone with tokenizer.
        spec: The model's data.
        name: Keras name.
    """

    def __init__(self, trunk: Trunk, spec: ModelSpec, name: str | None = None) -> None:
        super().__init__(trunk, spec, name)
        self._recipe_schedule = False

    def make_outputs(self, backbone: Any, spec: ModelSpec) -> Any:
        """Logits on the pooled trunk."""
        x = pooled(backbone, spec.head.pooling)
        seed = derive_seed(spec.seed, "head-dropout")
        x = keras.layers.Dropout(spec.head.dropout, seed=seed, name="head_dropout")(x)
        return ClassifierHead(
            spec.num_classes or _OPEN, derive_seed(spec.seed, "head"), name="head"
        )(x)

    # --- Classes ---------------------------------------------------------------------------

    @property
    def head(self) -> ClassifierHead:
        """The last layer."""
        return self.get_layer("head")  # type: ignore[no-any-return]

    @property
    def num_classes(self) -> int | None:
        """Number of classes, or None before they are known."""
        return self.spec.num_classes

    @property
    def labels(self) -> list[str] | None:
        """Names of the classes in the order of the outputs, or None."""
        return list(self.spec.labels) if self.spec.labels is not None else None

    def set_labels(self, labels: Sequence[str]) -> None:
        """Names the classes; sizes the head where the classes were not known.

        Raises:
            InputError: The names are not distinct, or their number is not `num_classes`.
        """
        labels = tuple(str(label) for label in labels)
        if len(set(labels)) != len(labels):
            raise InputError("`labels` must be distinct.")
        if self.num_classes not in (None, len(labels)):
            raise InputError(
                f"`labels` has {len(labels)} names, but the model has {self.num_classes} classes."
            )
        self._set_classes(len(labels), labels)

    @in_strategy_scope
    def _set_classes(self, num_classes: int, labels: tuple[str, ...] | None) -> None:
        if num_classes != self.head.units:
            self.head.resize(num_classes)
            # The graph ends in the head, so that this one shape is all that changes with it.
            self.outputs[0]._shape = (None, num_classes)
        was_open = self.spec.num_classes is None
        self.spec = self.spec.model_copy(update={"num_classes": num_classes, "labels": labels})
        if was_open:
            self.adapters_changed()

    def _learn_classes(self, x: Any, y: Any) -> None:
        """Counts the classes of training data, where they are not known."""
        if is_text_dataset(x):
            if self.num_classes is None:
                self._set_found(find_labels(stream_labels(x), None))
            return
        rows = rows_of(x, y)
        if rows is None:
            return
        if len(rows.texts) == 0:
            raise InputError("`x` is empty. At least one text of each class is needed.")
        if rows.labels is None:
            raise InputError("`y` is missing: fit needs a label for each text.")
        found = find_labels(np.asarray(rows.labels), rows.names)
        if self.num_classes is None:
            self._set_found(found)
        elif self.labels is None and not isinstance(found, int):
            self.set_labels(found)

    def _set_found(self, found: tuple[str, ...] | int) -> None:
        if isinstance(found, int):
            self._set_classes(found, None)
        else:
            self.set_labels(found)

    def label_ids(self, rows: Rows) -> NDArray[np.int32]:
        """Class ids (n,) of a label column."""
        return to_ids(np.asarray(rows.labels), self.labels, self._classes(), rows.names)

    def stream_label_ids(self, dataset: Any) -> Any:
        """Maps streamed labels to class ids, with the same errors."""
        return lambda column: to_ids(column, self.labels, self._classes())

    def _classes(self) -> int:
        if self.num_classes is None:
            raise InputError(
                "`num_classes` is not known yet. Call fit, or pass `num_classes=` or `labels=` to "
                "kzoo.load."
            )
        return self.num_classes

    # --- Keras -----------------------------------------------------------------------------

    @in_strategy_scope
    def compile(
        self,
        optimizer: Any = None,
        loss: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        jit_compile: bool | str = "auto",
        learning_rate: float | None = None,
        **kwargs: Any,
    ) -> None:
        """As `keras.Model.compile`, with the recipe's values for what is left out.

        Args:
            optimizer: Default: Adam (AdamW with weight decay) with the recipe's rate and clipping,
                and linear warm-up and decay over each `fit`.
            loss: Default: sparse categorical cross-entropy of logits.
            metrics: Default: accuracy and macro-F1.
            weighted_metrics: As in Keras.
            jit_compile: `True`, `False`, or `"auto"`: XLA on GPU and TPU, not on CPU.
            learning_rate: Peak rate of the default optimizer.
            **kwargs: Passed on.
        """
        self._compile_request = {
            "optimizer": optimizer,
            "loss": loss,
            "metrics": metrics,
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
        if metrics is None and weighted_metrics is None:
            # Not names: "accuracy" guesses its kind from shapes, which fails on an open head.
            metrics = [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
            if self.num_classes is not None:
                metrics.append(MacroF1(self.num_classes))
        super().compile(
            optimizer=optimizer,
            loss=loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=metrics,
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
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        **kwargs: Any,
    ) -> Any:
        """As `keras.Model.fit`, on raw text too.

        Args:
            x: Texts in any form that `prepare` takes, a `kzoo.datasets` dataset (its `train` split
                is fitted, its `validation` split validated on), or what Keras takes.
            y: Labels: ints 0 ... n - 1, or strings (their map is saved with the model).
            batch_size: Default: the recipe's.
            epochs: Default: the recipe's.
            verbose: As in Keras.
            callbacks: As in Keras.
            validation_split: Share of the rows, taken from the end, to validate on.
            validation_data: (x, y), (x, y, weights), a split or a tf.data.Dataset.
            shuffle: A new order in each epoch, by length buckets.
            class_weight: Class id or label name -> weight.
            sample_weight: float (n,).
            **kwargs: `adapter_names` (see `prepare`); others are passed on.

        Returns:
            The Keras History.

        Raises:
            InputError: Empty data, one class only, labels that do not fit.
        """
        if hasattr(x, "splits"):
            dataset = x
            x = dataset["train"]
            if validation_data is None and "validation" in dataset.splits:
                validation_data = dataset["validation"]
        epochs = epochs or self.default_epochs
        if self.is_text(x):
            if validation_split:
                x, y, sample_weight, validation_data = hold_out(
                    rows_of(x, y, sample_weight), validation_split
                )
            self._learn_classes(x, y)
            if class_weight is not None and self.labels is not None:
                ids = {label: i for i, label in enumerate(self.labels)}
                class_weight = {ids.get(key, key): w for key, w in class_weight.items()}
            first = first_pass(self, kwargs.get("initial_epoch", 0))
            if not self.compiled:
                self.compile()
            names = kwargs.pop("adapter_names", None)
            options = {"few_shapes": self.jit_compile, "adapter_names": names}
            x = self.prepare(x, y, sample_weight, batch_size, shuffle, first, **options)
            y = sample_weight = batch_size = None
            validation_split = 0.0
            shuffle = False  # done; Keras would warn that it cannot
        if not self.compiled:
            self.compile()
        if validation_data is not None:
            validation_data = self._prepare_validation(validation_data)
        if self._recipe_schedule:
            callbacks = self.with_schedule(callbacks)
        return super().fit(
            x,
            y,
            batch_size=batch_size,
            epochs=epochs,
            verbose=verbose,
            callbacks=callbacks,
            validation_split=validation_split,
            validation_data=validation_data,
            shuffle=shuffle,
            class_weight=class_weight,
            sample_weight=sample_weight,
            **kwargs,
        )

    @property
    def default_epochs(self) -> int:
        """The recipe's epochs."""
        return self.spec.training.epochs

    @property
    def uses_recipe_schedule(self) -> bool:
        """Whether the model was compiled with the recipe's optimizer."""
        return self._recipe_schedule

    def with_schedule(self, callbacks: Any) -> Any:
        """Keras callbacks with the recipe's warm-up and decay in front."""
        schedule = WarmupLinearDecay(self.spec.training.warmup)
        if isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks.append(schedule)
            return callbacks
        several = callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]
        return [schedule, *(c for c in several if c is not None)]

    def _prepare_validation(self, data: Any) -> Any:
        parts = data if isinstance(data, tuple) and not hasattr(data, "inputs") else (data,)
        if not self.is_text(parts[0]):
            return data
        x, y, weights = (*parts, None, None)[:3]
        return self.prepare(x, y, weights, few_shapes=self.jit_compile, by_length=True)

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        **kwargs: Any,
    ) -> Any:
        """As `keras.Model.evaluate`, on raw text too."""
        if hasattr(x, "splits"):
            x = x["test"]
        if self.is_text(x):
            self._classes()
            if not self.compiled:
                self.compile()
            names = kwargs.pop("adapter_names", None)
            options = {"few_shapes": self.jit_compile, "adapter_names": names}
            x = self.prepare(x, y, sample_weight, batch_size, by_length=True, **options)
            y = sample_weight = batch_size = None
        return super().evaluate(
            x, y, batch_size=batch_size, verbose=verbose, sample_weight=sample_weight, **kwargs
        )

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """float32 logits (n, num_classes), rows in the order given."""
        self._classes()
        return super().predict(x, *args, **kwargs)

    def predict_proba(self, x: Any, **kwargs: Any) -> NDArray[np.float32]:
        """float32 probabilities (n, num_classes)."""
        logits = np.asarray(self.predict(x, **kwargs), "float32")
        return np.asarray(keras.ops.softmax(logits, axis=-1))

    def predict_labels(self, x: Any, **kwargs: Any) -> list[str] | list[int]:
        """The most probable label of each text: its name, or its id where there are no names."""
        ids = np.argmax(self.predict(x, **kwargs), axis=-1).tolist()
        return [self.labels[i] for i in ids] if self.labels is not None else ids

    # --- Saving ----------------------------------------------------------------------------

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

    def head_state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The classes and the last layer."""
        facts = {
            "num_classes": self._classes(),
            "labels": self.labels,
            "pooling": self.spec.head.pooling,
        }
        return facts, {variable.name: variable for variable in self.head.weights}

    def accept_head(self, facts: dict[str, Any]) -> None:
        """Takes the classes of a saved head."""
        if facts["pooling"] != self.spec.head.pooling:
            raise AdapterError(
                f"The saved head stands on {facts['pooling']} pooling, this model's on "
                f"{self.spec.head.pooling}. Load with `with_head=False`."
            )
        if self.num_classes not in (None, facts["num_classes"]):
            raise AdapterError(
                f"The saved head has {facts['num_classes']} classes, this model "
                f"{self.num_classes}. Load with `with_head=False`, or into a fresh model."
            )
        labels = facts["labels"]
        if self.labels is not None and labels is not None and self.labels != labels:
            raise AdapterError(
                f"The saved head has the labels {labels[:5]}..., this model {self.labels[:5]}... "
                "Load with `with_head=False`, or into a fresh model."
            )
        self._set_classes(facts["num_classes"], tuple(labels) if labels is not None else None)
