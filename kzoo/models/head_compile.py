"""What a model is compiled with where the caller says nothing: the heads' values."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import keras

from kzoo.adapters.host import renew_optimizer, trunk_changed
from kzoo.errors import InputError
from kzoo.keras_internals import FUNCTIONS
from kzoo.models.raw_data import RawData
from kzoo.strategy import in_strategy_scope
from kzoo.training.optimizer import default_optimizer, resolve_jit
from kzoo.training.uncertainty import uncertain


class _Hidden:
    """Values by name that Keras does not find: it would report metrics twice."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values


class HeadCompile(RawData):
    """`keras.Model.compile` with defaults, renewed where heads or adapters change."""

    compiled: bool
    optimizer: Any
    add_weight: Any
    _compile_request: _Hidden | None = None
    _log_variances = _Hidden({})
    _recipe_schedule = False
    _compiled_for: Any = None

    @in_strategy_scope
    def compile(
        self,
        optimizer: Any = None,
        loss: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        loss_weights: Any = None,
        jit_compile: bool | str = "auto",
        learning_rate: Any = None,
        **kwargs: Any,
    ) -> None:
        """As `keras.Model.compile`, with the recipe's and the heads' values for what is left out.

        Args:
            optimizer: Default: Adam (AdamW with weight decay) with the recipe's rate and clipping,
                and linear warm-up and decay over each `fit`.
            loss: Default: the heads'. With several outputs a dict may name some of them.
            metrics: Default: the heads'.
            weighted_metrics: Default: the heads', where `metrics` is left out too.
            loss_weights: Default: the heads'.
            jit_compile: `True`, `False`, or `"auto"`: XLA on GPU and TPU, not on CPU.
            learning_rate: Peak rate of the default optimizer; or a `LearningRateSchedule`, which
                stands in the place of warm-up and decay.
            **kwargs: Passed on.

        Raises:
            InputError: An output has neither a head with a loss nor a loss of yours.
        """
        self._compile_request = _Hidden(
            {
                "optimizer": optimizer,
                "loss": loss,
                "metrics": metrics,
                "weighted_metrics": weighted_metrics,
                "loss_weights": loss_weights,
                "jit_compile": jit_compile,
                "learning_rate": learning_rate,
                **kwargs,
            }
        )
        scheduled = isinstance(learning_rate, keras.optimizers.schedules.LearningRateSchedule)
        self._recipe_schedule = optimizer is None and not scheduled
        if optimizer is None:
            optimizer = default_optimizer(self.training_settings, learning_rate)
        elif learning_rate is not None:
            raise InputError("`learning_rate` belongs to the default optimizer; pass one of both.")
        if metrics is None and weighted_metrics is None:
            metrics = self._from_heads(lambda head: head.default_metrics())
            weighted_metrics = self._from_heads(lambda head: head.default_weighted_metrics())
        if loss_weights is None and len(self.heads) > 1:
            loss_weights = self.arrange(
                {
                    name: self.heads[name].loss_weight if name in self.heads else 1.0
                    for name in self.output_names_in_order
                }
            )
        self._compiled_for = self._facts_of_heads()
        super().compile(  # type: ignore[misc]
            optimizer=optimizer,
            loss=self._loss_of_outputs(loss),
            metrics=metrics,
            weighted_metrics=weighted_metrics,
            loss_weights=loss_weights,
            jit_compile=resolve_jit(jit_compile),
            **kwargs,
        )

    def _loss_of_outputs(self, loss: Any) -> Any:
        names = self.output_names_in_order
        if len(names) == 1:
            head = self.heads.get(names[0])
            return head.default_loss() if loss is None and head is not None else loss
        if loss is not None and not isinstance(loss, Mapping):
            if not self.log_variances:
                return loss
            if not isinstance(loss, (list, tuple)) or len(loss) != len(names):
                raise InputError(f"`loss` must have one for each of {list(names)}.")
            loss = self.by_output(loss)
        given = dict(loss or {})
        if unknown := [name for name in given if name not in names]:
            raise InputError(f"`loss` has {unknown[0]!r}, which is no output: {list(names)}")
        found = {
            name: given.get(name)
            or (self.heads[name].default_loss() if name in self.heads else None)
            for name in names
        }
        for name, variable in self.log_variances.items():
            found[name] = uncertain(found[name], variable, name)
        return self.arrange(found)

    @property
    def log_variances(self) -> Mapping[str, Any]:
        """Output name -> the learned logarithm of its task's variance; empty without."""
        return MappingProxyType(self._log_variances.values)

    def weigh_losses(self) -> None:
        """Makes the learned weights of the outputs' losses, where the settings ask for them.

        Raises:
            InputError: There is one output only.
        """
        if not self.training_settings.uncertainty:
            return
        names = self.output_names_in_order
        if len(names) < 2:
            raise InputError("`uncertainty` weighs the losses of several outputs; this is one.")
        self._log_variances = _Hidden(
            {name: self.add_weight((), "zeros", name=f"{name}_log_variance") for name in names}
        )

    def _from_heads(self, what: Any) -> Any:
        """Metrics of the heads as Keras takes them, None where there are none."""
        found = {name: what(head) for name, head in self.heads.items()}
        if not any(found.values()):
            return None
        names = self.output_names_in_order
        if len(names) == 1:
            return found[names[0]]
        return self.arrange({name: found.get(name, []) for name in names})

    def _facts_of_heads(self) -> Any:
        return [
            (name, [{**answer.facts, "fitted": True} for answer in head.acting()])
            for name, head in self.heads.items()
            if head.has_variables
        ]

    def trunk_changed(self) -> None:
        """Called by a trunk after a switch of its adapters: see `kzoo.adapters.host`."""
        trunk_changed(self)
        self._heads_changed()

    def _heads_changed(self) -> None:
        """Losses and metrics that depend on classes or scales are made anew; no state is lost."""
        if not self.compiled or self._compile_request is None:
            return
        renew_optimizer(self)  # a head that was resized has other variables
        if self._facts_of_heads() == self._compiled_for:
            return
        schedule, request = self._recipe_schedule, self._compile_request
        made = [name for name in FUNCTIONS if getattr(self, f"{name}_function", None) is not None]
        self.compile(**{**request.values, "optimizer": self.optimizer, "learning_rate": None})
        self._compile_request, self._recipe_schedule = request, schedule
        for name in made:  # a running `fit` does not ask for its function again
            getattr(self, f"make_{name}_function")(force=True)
