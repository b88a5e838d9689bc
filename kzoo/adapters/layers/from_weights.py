"""The layers of HiRA, GLoRA and DEFT; formulas in `kzoo.adapters.methods.from_weights`."""

from __future__ import annotations

from typing import Any

import keras
from numpy.typing import NDArray

from kzoo.adapters.config import Building
from kzoo.adapters.layers.delta import DeltaLayer, numbers, rows_of, uniform
from kzoo.adapters.methods.from_weights import DeftConfig, GloraConfig, HiraConfig
from kzoo.backbones.places import Place
from kzoo.seeds import derive_seed


class HiraLayer(DeltaLayer):
    """y = inner(x) + x (W * (A B)).

    Variables: `hira_a` (in, r), `hira_b` (r, out).
    """

    reads_weights = True  # type: ignore[assignment]

    def __init__(self, config: HiraConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building)
        size_in, size_out = self.projection.size_in, self.projection.size_out
        r = config.r
        starts: tuple[Any, Any] = (uniform(size_in, self.seed), "zeros")
        if self.projection.is_embedding:
            starts = ("zeros", keras.initializers.RandomNormal(stddev=1.0, seed=self.seed))
        self.hira_a = self.add_weight((size_in, r), starts[0], name="hira_a")
        self.hira_b = self.add_weight((r, size_out), starts[1], name="hira_b")

    def delta(self) -> Any:
        """W * (A B), (in, out)."""
        return self.projection.matrix() * keras.ops.matmul(self.hira_a, self.hira_b)

    def update(self, flat: Any) -> Any:
        """The update (..., out); of an embedding, only the rows that are asked for."""
        if not self.projection.is_embedding:
            return super().update(flat)
        rows = rows_of(self.projection.matrix(), flat)
        factor = keras.ops.matmul(rows_of(self.hira_a, flat), self.hira_b)
        return keras.ops.cast(rows * factor, self.compute_dtype)


class GloraLayer(DeltaLayer):
    """y = inner(x) + x (W * A + B) + d b + e + C W, on the flattened projection.

    Variables: `a_d` (r, out) and `a_u` (in, r), whose product is A; `b_d` and `b_u` the same for B;
    with a bias `c_d` (r, in), `c_u` (1, r), `d` (1,), `e` (1,).
    """

    reads_weights = True  # type: ignore[assignment]

    def __init__(self, config: GloraConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building)
        size_in, size_out, r = self.projection.size_in, self.projection.size_out, config.r

        def pair(name: str, fan_in: int, fan_out: int) -> tuple[Any, Any]:
            start = uniform(fan_in, derive_seed(self.seed, name))
            return (
                self.add_weight((fan_in, r), start, name=f"{name}_u"),
                self.add_weight((r, fan_out), "zeros", name=f"{name}_d"),
            )

        self.a_u, self.a_d = pair("a", size_in, size_out)
        self.b_u, self.b_d = pair("b", size_in, size_out)
        self.c_u = self.c_d = self.d = self.e = None
        if self.projection.bias is not None:
            self.c_u, self.c_d = pair("c", 1, size_in)
            self.d = self.add_weight((1,), "zeros", name="d")
            self.e = self.add_weight((1,), "zeros", name="e")

    def delta(self) -> Any:
        """W * A + B, (in, out)."""
        factor = keras.ops.matmul(self.a_u, self.a_d)
        return self.projection.matrix() * factor + keras.ops.matmul(self.b_u, self.b_d)

    def shift(self) -> Any:
        """What is added to the bias: (out,)."""
        moved = keras.ops.matmul(keras.ops.matmul(self.c_u, self.c_d), self.projection.matrix())
        return self.d * self.projection.flat_bias() + self.e + moved[0]

    def update(self, flat: Any) -> Any:
        """See the class."""
        y = super().update(flat)
        return y if self.d is None else y + keras.ops.cast(self.shift(), y.dtype)

    def merged(self) -> list[tuple[Any, NDArray[Any]]]:
        """Weights and bias."""
        changes = super().merged()
        if self.d is not None:
            bias = numbers(self.projection.flat_bias()) + numbers(self.shift())
            changes.append((self.projection.bias, bias.reshape(self.projection.bias.shape)))
        return changes


class DeftLayer(DeltaLayer):
    """y = inner(x) + (s x R - x W P) Q^T, transposed from torch's: R (in, r), P and Q (out, r).

    Variables: `deft_p` (out, r), and `deft_r` (in, r) unless `removal_only`.
    """

    reads_weights = True  # type: ignore[assignment]

    def __init__(self, config: DeftConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building)
        start = keras.initializers.RandomNormal(stddev=0.02, seed=self.seed)
        r = config.rank_at(place)
        self.scaling = config.alpha / r if config.alpha else 1.0
        shape = (self.projection.size_out, r)
        self.deft_p = self.add_weight(shape, start, name="deft_p")
        self.deft_r = None
        if not config.removal_only:
            shape = (self.projection.size_in, r)
            self.deft_r = self.add_weight(shape, "zeros", name="deft_r")
            self.deft_r.assign(self.removed() / self.scaling)

    def bases(self) -> tuple[Any, Any]:
        """What stands for P where W is looked at, and Q: both float32 (out, r)."""
        p = keras.ops.cast(self.deft_p, "float32")
        if self.config.projector == "relu":
            return keras.ops.relu(p), p
        q = keras.ops.qr(p)[0]
        return q, q

    def removed(self) -> Any:
        """W P, float32 (in, r)."""
        matrix = keras.ops.cast(self.projection.matrix(), "float32")
        return keras.ops.matmul(matrix, self.bases()[0])

    def delta(self) -> Any:
        """(s R - W P) Q^T, (in, out)."""
        narrow = -self.removed()
        if self.deft_r is not None:
            narrow = narrow + self.scaling * keras.ops.cast(self.deft_r, "float32")
        return keras.ops.matmul(narrow, keras.ops.transpose(self.bases()[1]))

    def update(self, flat: Any) -> Any:
        """Narrow products: (..., out)."""
        ops = keras.ops
        narrow = -ops.matmul(flat, ops.cast(self.removed(), flat.dtype))
        if self.deft_r is not None:
            put = ops.matmul(self.dropped(flat), ops.cast(self.deft_r, flat.dtype))
            narrow = narrow + self.scaling * put
        return ops.matmul(narrow, ops.transpose(ops.cast(self.bases()[1], flat.dtype)))
