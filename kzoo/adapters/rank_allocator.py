"""AdaLoRA's rank allocator: which triplets stay (Zhang et al. 2023, arXiv:2303.10512)."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kzoo.adapters.layers.low_rank import AdaloraLayer
from kzoo.adapters.manager import Adapters
from kzoo.adapters.methods.low_rank import AdaloraConfig
from kzoo.errors import AdapterError
from kzoo.keras_internals import trained_by
from kzoo.strategy import replica_count, scalar, strategy_scope

_FACTORS = ("lora_a", "lora_e", "lora_b")


class RankAllocator(keras.callbacks.Callback):  # type: ignore[misc]
    """Removes the least important triplets of an AdaLoRA adapter while it is fitted.

    The sensitivity of each number is |w dL/dw| (equation 8), smoothed (9), times its smoothed
    uncertainty (10, 11); a triplet's importance adds up its number of E and the means over its
    column of A and row of B (7). Every `delta_t` steps the least important triplets of all places
    are set to zero until a budget is met, which falls from `init_r` to `target_r` a place along a
    cubic (12). A zeroed triplet may grow again; `tfinal` steps before the end the choice becomes
    final, and is saved with the adapter as `rank_mask`.

    The gradients are those of the training step: while fitting, the optimizer's `apply` also
    updates the averages, inside the compiled step, with one multiplication a trained number. With
    accumulated gradients each part counts as a sensitivity. The averages are not saved: training
    that is resumed starts them anew.

    Args:
        name: The adapter. Default: the model's only AdaLoRA adapter that acts.

    Attributes:
        budget: Triplets that the last removal left.

    Raises:
        AdapterError: At the beginning of training: there is no such adapter, or the number of
            steps is neither known nor given as `total_step`.

    Example:
        >>> model.adapters.add("a", "adalora[target_r=4]")
        >>> model.fit(texts, labels, callbacks=[kzoo.adapters.RankAllocator()])
    """

    def __init__(self, name: str | None = None) -> None:
        super().__init__()
        self.name = name
        self.budget: int | None = None
        self._layers: list[AdaloraLayer] = []
        self._averages: dict[int, tuple[Any, Any]] = {}

    # --- Training ---------------------------------------------------------------------------

    def on_train_begin(self, logs: Any = None) -> None:
        """Finds the adapter and listens to the optimizer."""
        self._config, self._layers = self._find()
        self._total = self._config.total_step or self._steps()
        if self._config.tinit + self._config.tfinal >= self._total:
            raise AdapterError(
                f"`total_step` must be more than `tinit` + `tfinal`. Received: {self._total} steps"
            )
        self._start = self._last = self._done()
        self._final = False
        self._listen()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Removes triplets where it is time to."""
        step = self._done() - self._start
        before, self._last = self._last - self._start, step + self._start
        if self._final:
            return
        if step >= self._total - self._config.tfinal:
            masks = self._remove(self.budget_at(self._total))
            for layer, mask in zip(self._layers, masks, strict=True):
                layer.rank_mask.assign(mask.astype("float32"))
            self._final = True
            return
        every = self._config.delta_t
        # Several steps may have run in one execution.
        if step > self._config.tinit and step // every > before // every:
            self._remove(self.budget_at(step))

    def on_train_end(self, logs: Any = None) -> None:
        """Stops listening."""
        if "apply" in vars(self._optimizer):
            del self._optimizer.apply
        self._averages = {}
        self.model.train_function = None  # the compiled one still listens

    # --- Importance -------------------------------------------------------------------------

    def budget_at(self, step: int) -> int:
        """How many triplets may be left after a step (equation 12).

        Args:
            step: Counted from 1.
        """
        config = self._config
        first, last = (r * len(self._layers) for r in (config.init_r, config.target_r))
        if step <= config.tinit:
            return first
        end = self._total - config.tfinal
        if step >= end:
            return last
        left = 1 - (step - config.tinit) / (end - config.tinit)
        return int((first - last) * left**3 + last)

    def scores(self) -> NDArray[np.float64]:
        """The importance of every triplet: (places, init_r)."""
        return np.stack([self._scores_of(layer) for layer in self._layers])

    def _scores_of(self, layer: AdaloraLayer) -> NDArray[np.float64]:
        a, e, b = (
            np.prod([np.asarray(average, "float64") for average in averages], axis=0)
            for averages in (self._averages[id(getattr(layer, name))] for name in _FACTORS)
        )
        return np.asarray(e + a.mean(axis=0) + b.mean(axis=1))

    def _remove(self, budget: int) -> NDArray[np.bool_]:
        """Zeroes all but the most important triplets; returns which are left."""
        scores = self.scores()
        order = np.argsort(-scores.reshape(-1), kind="stable")
        kept = np.zeros(scores.size, bool)
        kept[order[:budget]] = True
        masks = kept.reshape(scores.shape)
        for layer, mask in zip(self._layers, masks, strict=True):
            layer.lora_e.assign(np.asarray(layer.lora_e) * mask)
        self.budget = budget
        return masks

    def _listen(self) -> None:
        config = self._config
        trained = [getattr(layer, name) for layer in self._layers for name in _FACTORS]
        with strategy_scope(self.model):
            self._averages = {id(v): (_zeros(v), _zeros(v)) for v in trained}
        optimizer = self.model.optimizer
        # A loss-scaling optimizer hands true gradients to the one inside.
        self._optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        vars(self._optimizer).pop("apply", None)  # of a training that broke off
        apply = self._optimizer.apply

        def listening(grads: Any, trainable_variables: Any = None) -> Any:
            variables = trainable_variables or trained_by(self._optimizer) or []
            heard = [
                (gradient, variable)
                for gradient, variable in zip(grads, variables, strict=True)
                if id(variable) in self._averages and gradient is not None
            ]
            done = apply(grads, trainable_variables)
            for gradient, (_, variable) in zip(_summed([g for g, _ in heard]), heard, strict=True):
                averages = self._averages[id(variable)]
                _update(averages, gradient, variable, config.beta1, config.beta2)
            return done

        self._optimizer.apply = listening
        if self.model.train_function is not None:
            self.model.make_train_function(force=True)

    # --- The adapter ------------------------------------------------------------------------

    def _find(self) -> tuple[AdaloraConfig, list[AdaloraLayer]]:
        manager = getattr(self.model, "adapters", None)
        if not isinstance(manager, Adapters):
            raise AdapterError("RankAllocator needs a kzoo model, or one that kzoo.adapt has seen.")
        sites = manager.host.sites
        found = {
            name: [layer for _, layer in sites.layers(name) if isinstance(layer, AdaloraLayer)]
            for name in ([self.name] if self.name is not None else manager)
            if name in manager
        }
        acting = [
            (name, layers) for name, layers in found.items() if layers and layers[0].trainable
        ]
        if len(acting) != 1:
            asked = "" if self.name is None else f" `{self.name}`"
            raise AdapterError(
                f"RankAllocator needs one active AdaLoRA adapter{asked}; there are "
                f"{[name for name, _ in acting]}. Add one, or give its name."
            )
        layers = acting[0][1]
        return layers[0].config, layers

    def _done(self) -> int:
        return int(scalar(self.model.optimizer.iterations))

    def _steps(self) -> int:
        params = self.params or {}
        steps, epochs = params.get("steps"), params.get("epochs")
        if not steps or not epochs:
            raise AdapterError(
                "`total_step` is not known: give it in the configuration, such as "
                "adalora[total_step=1000]."
            )
        return int(steps) * int(epochs)


def _zeros(like: Any) -> Any:
    # Every replica of a `tf.distribute` strategy computes the same value.
    zeros = np.zeros(like.shape, "float32")
    return keras.Variable(zeros, trainable=False, aggregation="only_first_replica")


def _summed(gradients: list[Any]) -> list[Any]:
    """The gradients of the whole batch, of which each replica of a strategy has a part."""
    if replica_count() == 1 or not gradients:
        return gradients
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return list(context.all_reduce(tf.distribute.ReduceOp.SUM, gradients))


def _update(averages: Any, gradient: Any, variable: Any, beta1: float, beta2: float) -> None:
    """Equations 8 to 10 for one variable."""
    mean, uncertainty = averages
    sensitivity = keras.ops.cast(keras.ops.abs(variable * gradient), "float32")
    mean.assign(beta1 * mean + (1 - beta1) * sensitivity)
    deviation = keras.ops.abs(sensitivity - mean)
    uncertainty.assign(beta2 * uncertainty + (1 - beta2) * deviation)
