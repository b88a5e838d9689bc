"""The bottleneck layer; formulas in `kzoo.adapters.methods.bottleneck`."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras

from kzoo.adapters.config import Building
from kzoo.adapters.layers.base import FUNCTIONS, AdapterLayer, Function, add_gate, dense, gate, like
from kzoo.adapters.methods.bottleneck import BottleneckConfig
from kzoo.backbones.places import Place
from kzoo.errors import AdapterError
from kzoo.seeds import derive_seed

EPSILON = 1e-5  # of the new norms; torch's default, with which AdapterHub's files were trained


@dataclass(frozen=True)
class Opened:
    """What surrounds A at one call.

    Args:
        u: Input of A, and AdapterFusion's query; (batch, tokens, H).
        residual: Added to A.
        late: Added behind that, or None.
        norm: The block's norm where it runs last, or None.
    """

    u: Any
    residual: Any
    late: Any = None
    norm: Function | None = None


class BottleneckLayer(AdapterLayer):
    """A(u) around a projection, or around the block's layer norm where that is used twice.

    `apply` is `close(opened, delta(opened.u))` with `opened = open(inner, x)`; a composition may
    put something else in place of `delta`, such as the weighted sum of several adapters.

    Variables: `down_kernel` (H, d), `down_bias` (d,), `up_kernel` (d, H), `up_bias` (H,); by option
    `scaling` (1,) or (H,), `gate_kernel` (H, 1), `gate_bias` (1,), and `norm_before_gamma`,
    `norm_before_beta`, `norm_after_gamma`, `norm_after_beta` (H,).
    """

    row_wise = True

    def __init__(self, config: BottleneckConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building.name)
        hidden, seed = place.size_out, building.seed_at(place)
        self.add_projections(hidden, config.width(hidden, place.block), building, seed)
        if isinstance(config.scaling, str):
            size = hidden if config.scaling == "channel" else 1
            self.scaling = self.add_weight((size,), "ones", name="scaling")
        if config.use_gating:
            add_gate(self, hidden, 1, seed)
        for wanted, name in ((config.ln_before, "norm_before"), (config.ln_after, "norm_after")):
            if wanted:
                for part, start in (("gamma", "ones"), ("beta", "zeros")):
                    variable = self.add_weight((hidden,), start, name=f"{name}_{part}")
                    setattr(self, f"{name}_{part}", variable)
        self.function = FUNCTIONS[config.non_linearity]
        if config.dropout:
            self.dropout = keras.layers.Dropout(config.dropout, seed=derive_seed(seed, "dropout"))
        if config.stochastic_depth:
            self.drop_rows = keras.layers.Dropout(
                config.stochastic_depth, noise_shape=(None, 1, 1), seed=derive_seed(seed, "rows")
            )
        # Looked up when it is needed: in pre-norm families, the norm may be built later. In a
        # function, since Keras would track what a dictionary holds.
        self.tap = partial(building.made.get, config.input_key(place))
        self.at_norm = place.site.endswith("_norm")

    def add_projections(self, hidden: int, width: int, building: Building, seed: int) -> None:
        """Makes the variables of `down` and `up`."""
        down, up = _initializers(self.config.init_weights, hidden, seed)
        self.down_kernel = self.add_weight((hidden, width), down, name="down_kernel")
        self.down_bias = self.add_weight((width,), "zeros", name="down_bias")
        self.up_kernel = self.add_weight((width, hidden), up, name="up_kernel")
        self.up_bias = self.add_weight((hidden,), "zeros", name="up_bias")

    def down(self, u: Any) -> Any:
        """(..., H) -> (..., d)."""
        return dense(u, self.down_kernel, self.down_bias)

    def up(self, narrow: Any) -> Any:
        """(..., d) -> (..., H)."""
        return dense(narrow, self.up_kernel, self.up_bias)

    def delta(self, u: Any) -> Any:
        """A(u), shape of u; without the residual."""
        config = self.config
        start = u
        if config.ln_before:
            start = _normalised(u, self.norm_before_gamma, self.norm_before_beta)
        a = self.up(self.function(self.down(start)))
        if config.stochastic_depth:
            a = self.drop_rows(a)
        if isinstance(config.scaling, str):
            a = a * like(a, self.scaling)
        elif config.scaling != 1:
            a = a * config.scaling
        if config.dropout:
            a = self.dropout(a)
        if config.use_gating:
            a = a * gate(u, self.gate_kernel, self.gate_bias)
        return a

    def open(self, inner: Function, x: Any) -> Opened:
        """Runs what stands before A.

        Args:
            inner: The projection, or the block's norm.
            x: Its input.
        """
        config = self.config
        y = inner(x)
        tap: Any = self.tap()
        if not self.at_norm:
            if config.parallel:
                return Opened(tap.take(), y)
            return Opened(y + tap.take() if config.original_ln_before else y, y)
        total, h = x, (None if tap is None else tap.take())
        norm = inner if config.original_ln_after else None
        if config.residual_before_ln is True:
            if h is None:  # x + h at once
                return Opened(y, total, norm=norm)
            residual = total - h
        else:
            residual = total if config.residual_before_ln == "post_add" else y
        return Opened(y, residual, late=None if norm is None else h, norm=norm)

    @property
    def precedes_norm(self) -> bool:
        """Whether it is the norm of something: norm(added(...)), so that a stack can share it."""
        return self.at_norm and self.config.original_ln_after  # type: ignore[no-any-return]

    def close(self, opened: Opened, delta: Any) -> Any:
        """Runs what stands behind A.

        Args:
            opened: What `open` gave.
            delta: A(u), or what stands for it.
        """
        out = self.added(opened, delta)
        return out if opened.norm is None else opened.norm(out)

    def added(self, opened: Opened, delta: Any) -> Any:
        """A(u) and the residuals, before a norm that runs last.

        Args:
            opened: What `open` gave.
            delta: A(u), or what stands for it.
        """
        early = self.config.adapter_residual_before_ln
        if early:
            delta = delta + opened.residual
        if self.config.ln_after:
            delta = _normalised(delta, self.norm_after_gamma, self.norm_after_beta)
        out = delta if early else delta + opened.residual
        return out if opened.late is None else out + opened.late

    def apply(self, inner: Function, x: Any) -> Any:
        """See the class."""
        opened = self.open(inner, x)
        return self.close(opened, self.delta(opened.u))


def _normalised(x: Any, gamma: Any, beta: Any) -> Any:
    mean, variance = keras.ops.moments(x, axes=[-1], keepdims=True)
    return (x - mean) * keras.ops.rsqrt(variance + EPSILON) * like(x, gamma) + like(x, beta)


def _initializers(kind: str, hidden: int, seed: int) -> tuple[Any, Any]:
    other = derive_seed(seed, "up")
    if kind == "mam_adapter":  # kaiming_uniform(a=sqrt(5)) on (d, H)
        limit = 1 / math.sqrt(hidden)
        return keras.initializers.RandomUniform(-limit, limit, seed=seed), "zeros"
    if kind == "houlsby":
        start = keras.initializers.TruncatedNormal
        return start(stddev=0.01, seed=seed), start(stddev=0.01, seed=other)
    normal = keras.initializers.RandomNormal
    down = normal(stddev=0.02, seed=seed)
    return down, normal(stddev=0.02, seed=other) if kind == "bert" else "zeros"


class Tap(AdapterLayer):
    """Changes nothing and has no variables: hands a sublayer's input to an adapter further on.

    Both stand in the same block, so that the tensor is used in the call that made it.
    """

    row_wise = True

    def __init__(self, config: Any, place: Place, building: Building) -> None:
        super().__init__(config, place, building.name)
        self.memory = _Memory()

    def apply(self, inner: Function, x: Any) -> Any:
        """inner(x)."""
        self.memory.value = x
        return inner(x)

    def take(self) -> Any:
        """The input of the last call, once.

        Raises:
            AdapterError: The sublayer has not run.
        """
        value, self.memory.value = self.memory.value, None
        if value is None:
            raise AdapterError(
                f"`{self.config.method}` needs the input of {self.place.key}, which did not run."
            )
        return value


class _Memory(threading.local):  # one for each thread of tf.distribute or of a server
    value: Any = None
