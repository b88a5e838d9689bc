"""Training a student on labels and on a teacher's outputs and hidden states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import keras
from keras import ops

from kzoo.adapters.host import renew_optimizer
from kzoo.distillation import checks
from kzoo.distillation.base import SampleLoss, per_sample_weight
from kzoo.distillation.features import OUTPUT, LastPass, Taps, layer_name
from kzoo.distillation.feeding import feeds_of, host_of, padding_mask, select, specs_of
from kzoo.distillation.losses import SoftTargetKL
from kzoo.distillation.stock import as_distillation_loss, loss_value
from kzoo.errors import DistillationError
from kzoo.heads.head import Head
from kzoo.keras_internals import (
    additional_loss,
    carried_mask,
    compiled_loss,
    forget_metric,
)
from kzoo.models.raw_fit import Feed, RawFit
from kzoo.reads.columns import Table
from kzoo.strategy import in_strategy_scope, replica_count
from kzoo.training.settings import Training


@keras.saving.register_keras_serializable(package="kzoo")
class Distiller(RawFit, keras.distillation.Distiller):  # type: ignore[misc]
    """Trains `student` on `a * student_loss + (1 - a) * sum_i w_i * distillation_loss_i`.

    Both parts respect `sample_weight` and `class_weight`; the student's regularisation losses are
    added once, at full size. The student runs once per step, the teacher once, without dropout and
    without being updated; it is frozen (`teacher.trainable = False`), as in Keras.

    Teacher and student may differ in width, dtype and inputs: a batch of inputs is a dict, and each
    model takes the names it knows. With a `kzoo.Model` as student (or teacher), `fit`, `evaluate`
    and `predict` take raw strings; if the tokenisers differ, every batch is encoded with both.

    Args:
        teacher: trained `keras.Model`; its variables stay bit-equal.
        student: `keras.Model` to train.
        distillation_losses: one or a list of: kzoo's losses, Keras' `DistillationLoss`es,
            Keras losses or their names. Defaults to `None`: `SoftTargetKL(temperature=2.0)`.
        distillation_loss_weights: `w_i`, one number >= 0 per loss. Defaults to `None` (1.0 each).
        student_loss_weight: `a` from 0 (no labels needed) to 1 (teacher not run). Read when a step
            is compiled: call `compile` after changing it. Defaults to 0.5.
        name: defaults to `None` (`"distiller"`).

    Raises:
        DistillationError: if a layer name is not found, output widths or labels differ, a model
            ends in a softmax where logits are needed, trainable variables are shared, or a number
            is out of range.

    Example:

    ```python
    distiller = kzoo.Distiller(teacher, student).compile("adam", "sparse_categorical_crossentropy")
    distiller.fit(train, validation_data=dev)
    distiller.save_student("student.keras")
    ```
    """

    def __init__(
        self,
        teacher: Any,
        student: Any,
        distillation_losses: Any = None,
        distillation_loss_weights: Any = None,
        student_loss_weight: float = 0.5,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        given = distillation_losses if distillation_losses is not None else SoftTargetKL(2.0)
        losses = [
            as_distillation_loss(loss)
            for loss in (given if isinstance(given, (list, tuple)) else [given])
        ]
        if not losses:
            raise DistillationError(
                "`distillation_losses`: received an empty list; give at least one."
            )
        # The student's policy decides about loss scaling; inputs are each model's own affair.
        kwargs.setdefault("dtype", getattr(student, "dtype_policy", None))
        super().__init__(
            teacher,
            student,
            losses,
            checks.check_weights(losses, distillation_loss_weights),
            checks.check_share(student_loss_weight),
            name=name or "distiller",
            autocast=False,
            **kwargs,
        )
        # Keras' second name for `loss`: one number, one name in the logs.
        forget_metric(self, self.total_loss_tracker)
        self._last_pass = LastPass()
        host = host_of(teacher, student)
        self.training_settings = Training() if host is None else host.training_settings
        self.data_seed = 0 if host is None else host.data_seed
        # Everything is built with its parts: a loaded file needs no call before its weights.
        self.built = student.built and teacher.built

    # Hooks of the base class's constructor.

    def _validate_models(self, teacher: Any, student: Any) -> None:
        checks.check_models(teacher, student)
        checks.align_labels(teacher, student)

    def _validate_distillation_loss_compatibility(
        self, teacher: Any, student: Any, distillation_loss: Any
    ) -> None:
        if layer_name(distillation_loss, "teacher") or layer_name(distillation_loss, "student"):
            return  # `Taps` finds inner layers; Keras' own check knows the outermost ones only.
        checks.check_output_widths(teacher, student)
        distillation_loss.validate_model_compatibility(teacher, student)

    def _create_multi_feature_extractors(self) -> None:
        losses = list(self.distillation_losses)
        self._taps = {
            "teacher": Taps.of(self.teacher, "teacher", losses),
            "student": Taps.of(self.student, "student", losses),
        }
        self.projections: list[Any] = []
        self._projection_of: dict[str, int] = {}
        for i, loss in enumerate(losses):
            if not isinstance(loss, SampleLoss) or not loss.may_project:
                continue
            own = self._taps["student"].widths()[layer_name(loss, "student")]
            theirs = self._taps["teacher"].widths()[layer_name(loss, "teacher")]
            projection = loss.make_projection(theirs, own)
            if projection is not None:
                projection.build((None, own))
                self._projection_of[str(i)] = len(self.projections)
                self.projections.append(projection)

    # What RawFit asks for: the student's outputs, and inputs that serve both models.

    @property
    def feeds(self) -> Sequence[Feed]:
        """See `kzoo.models.raw_fit.RawFit`."""
        return feeds_of(self.teacher, self.student)

    @property
    def input_specs(self) -> dict[str, Any]:
        """See `kzoo.models.raw_fit.RawFit`."""
        return specs_of(self.teacher, self.student, self.feeds)

    @property
    def heads(self) -> Mapping[str, Head]:
        """See `kzoo.models.raw_fit.RawFit`."""
        host = host_of(self.teacher, self.student)
        return MappingProxyType({}) if host is None else host.heads

    @property
    def output_names_in_order(self) -> Sequence[str]:
        """See `kzoo.models.raw_fit.RawFit`."""
        host = host_of(self.teacher, self.student)
        return () if host is None else host.output_names_in_order

    def arrange(self, values: Mapping[str, Any]) -> Any:
        """See `kzoo.models.raw_fit.RawFit`."""
        host = host_of(self.teacher, self.student)
        assert host is not None, "there is something to read"
        return host.arrange(values)

    @property
    def default_epochs(self) -> int:
        """The student's recipe's, else 1."""
        return self.training_settings.epochs if isinstance(self.student, RawFit) else 1

    def _learn(self, table: Table) -> None:
        checks.align_labels(self.teacher, self.student)
        if table.labels or self.student_loss_weight > 0:
            super()._learn(table)

    def heads_learned(self) -> None:
        """See `kzoo.models.raw_fit.RawFit`."""
        if isinstance(self.student, RawFit):
            self.student.heads_learned()
        renew_optimizer(self)

    # Training.

    @in_strategy_scope
    def compile(  # type: ignore[override]
        self,
        optimizer: Any = None,
        loss: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        *,
        loss_weights: Any = None,
        jit_compile: bool | str = "auto",
        **kwargs: Any,
    ) -> Distiller:
        """Configures training. What is not given comes from the student, if it is compiled.

        Args:
            optimizer: Keras optimizer or its name. Defaults to `None`: a copy of the student's, or
                `"adam"`.
            loss: the student's loss on labels, as in `keras.Model.compile`. Defaults to `None`: the
                student's. Not needed with `student_loss_weight=0`.
            metrics: of the student's outputs. Defaults to `None`: the student's; `[]` is none.
            weighted_metrics: the same, weighted by `sample_weight`.
            loss_weights: for a student with several outputs.
            jit_compile: `True`, `False` or `"auto"` (as the student is compiled, else as Keras
                decides). Defaults to `"auto"`.
            **kwargs: the rest of `keras.Model.compile`: `run_eagerly`, `steps_per_execution`, ...

        Returns:
            The Distiller, so that `.compile(...).fit(...)` can be written.

        Raises:
            DistillationError: if there is no loss although labels count.
        """
        defaults = checks.from_student(self.student)
        self._recipe_schedule = optimizer is None and getattr(
            self.student, "uses_recipe_schedule", False
        )
        if loss is None:
            loss = defaults.get("loss")
            loss_weights = loss_weights or defaults.get("loss_weights")
        if optimizer is None:
            optimizer = defaults.get("optimizer", "adam")
        if metrics is None:
            metrics = defaults.get("metrics")
        if weighted_metrics is None:
            weighted_metrics = defaults.get("weighted_metrics")
        if jit_compile == "auto":
            jit_compile = defaults.get("jit_compile", "auto")
        if loss is None and self.student_loss_weight > 0:
            raise DistillationError(
                f"`loss`: received None, but labels count with student_loss_weight="
                f"{self.student_loss_weight} and the student is not compiled. Pass a loss such as "
                "keras.losses.SparseCategoricalCrossentropy(from_logits=True), or train without "
                "labels: Distiller(..., student_loss_weight=0)."
            )
        # Past `keras.distillation.Distiller.compile`, which keeps the loss away from Keras.
        keras.Model.compile(
            self,
            optimizer=optimizer,
            loss=loss,
            loss_weights=loss_weights,
            metrics=metrics,
            weighted_metrics=weighted_metrics,
            jit_compile=jit_compile,
            **kwargs,
        )
        return self

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        """Compiles a loaded Distiller and builds its optimizer, so that training continues."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self._recipe_schedule = self._saved_schedule
        if self.built:
            self.optimizer.build(self.trainable_variables)

    _saved_schedule = False

    def get_config(self) -> dict[str, Any]:
        """As in Keras; and whether `fit` adds the student's schedule."""
        return {**super().get_config(), "recipe_schedule": self._recipe_schedule}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Distiller:
        """Rebuilds a Distiller, with random weights."""
        config = dict(config)
        schedule = config.pop("recipe_schedule")
        distiller = super().from_config(config)
        distiller._saved_schedule = distiller._recipe_schedule = schedule
        return distiller  # type: ignore[no-any-return]

    def call(self, inputs: Any, training: bool | None = None, **kwargs: Any) -> Any:
        """The student's outputs."""
        outputs, features = self._run_student(inputs, training, **kwargs)
        if self._taps["student"].layers:
            self._last_pass.keep(outputs, features)
        return outputs

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The total loss of a batch; also updates the metrics of its two parts.

        Args:
            x: inputs of both models.
            y: labels; `None` only with `student_loss_weight=0`.
            y_pred: what `call` returned for `x`. Defaults to `None` (computed here).
            sample_weight: `(B,)`, or `(B, T)` for token logits. Defaults to `None`.
            training: whether `y_pred` is computed with dropout. Defaults to `True`.

        Returns:
            A float32 scalar.

        Raises:
            DistillationError: if `y` is missing although labels count, or shapes do not fit.
        """
        features = self._features_of(x, y_pred, training)
        y_pred = features[OUTPUT]
        a = self.student_loss_weight
        student_loss = self._student_loss_value(y, y_pred, sample_weight) if a > 0 else 0.0
        # Before the teacher runs: a call of a model clears the losses its layers had added.
        extra = [additional_loss(self, loss) for loss in self.student.losses]
        distillation_loss = self._distillation_loss_value(x, features, sample_weight, a)
        total = a * student_loss + (1.0 - a) * distillation_loss
        batch = ops.shape(keras.tree.flatten(x)[0])[0]
        replicas = replica_count()
        # Weighted by batch size as Keras weights `loss`, so the three agree over an epoch.
        self.student_loss_tracker.update_state(student_loss * replicas, batch)
        self.distillation_loss_tracker.update_state(distillation_loss * replicas, batch)
        return sum(extra, ops.convert_to_tensor(total, "float32"))

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """As in Keras; without labels only the losses are reported."""
        if y is None:
            losses = [m for m in self.metrics if isinstance(m, keras.metrics.Mean)]
            return {metric.name: metric.result() for metric in losses}
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def get_metrics_result(self) -> Any:
        """As in Keras, which has no result of the student's metrics before it saw labels."""
        found: dict[str, Any] = {}
        for metric in self.metrics:
            if getattr(metric, "built", True):
                result = metric.result()
                found |= result if isinstance(result, dict) else {metric.name: result}
        return found

    def _run_student(self, x: Any, training: bool | None, **kwargs: Any) -> Any:
        x = select(x, self.student, "student")
        return self._taps["student"].run(x, training, **kwargs)

    def _features_of(self, x: Any, y_pred: Any, training: bool) -> dict[str, Any]:
        if y_pred is not None and not self._taps["student"].layers:
            return {OUTPUT: y_pred}
        features = self._last_pass.take(y_pred) if y_pred is not None else None
        return features if features is not None else self._run_student(x, training)[1]

    def _student_loss_value(self, y: Any, y_pred: Any, sample_weight: Any) -> Any:
        if y is None:
            raise DistillationError(
                f"`y`: received no labels, but student_loss_weight={self.student_loss_weight}. "
                "Give labels, or train on the teacher alone: Distiller(..., student_loss_weight=0)."
            )
        return ops.cast(
            compiled_loss(self)(y, y_pred, per_sample_weight(sample_weight, y_pred)), "float32"
        )

    def _distillation_loss_value(
        self, x: Any, student: dict[str, Any], sample_weight: Any, a: float
    ) -> Any:
        if a == 1.0:
            return 0.0
        if keras.tree.is_nested(sample_weight):
            raise DistillationError(
                "`sample_weight`: received a weight per output; distillation takes one per sample."
            )
        inputs = select(x, self.teacher, "teacher")
        _, teacher = self._taps["teacher"].run(inputs, training=False)
        mask = padding_mask(select(x, self.student, "student"))
        total = 0.0
        pairs = zip(self.distillation_losses, self.distillation_loss_weights, strict=True)
        for i, (loss, weight) in enumerate(pairs):
            theirs = teacher[layer_name(loss, "teacher")]
            own = student[layer_name(loss, "student")]
            own_mask = carried_mask(own)
            if str(i) in self._projection_of:
                own = self.projections[self._projection_of[str(i)]](ops.cast(own, "float32"))
            own_mask = mask if own_mask is None else own_mask
            total = total + weight * loss_value(loss, theirs, own, sample_weight, own_mask)
        return total

    def save_student(self, path: Any, **kwargs: Any) -> None:
        """Writes the student alone: no teacher, no projections.

        Args:
            path: ends in `.keras`, as `keras.Model.save` asks for.
            **kwargs: passed on to `student.save`.
        """
        self.student.save(path, **kwargs)
