"""The layers of AdaLoRA, DeLoRA, GraLoRA and Lily; see `kzoo.adapters.methods.low_rank`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from numpy.typing import NDArray

from kzoo.adapters.config import Building
from kzoo.adapters.layers.base import AdapterLayer, like, with_float32_variables
from kzoo.adapters.layers.delta import DeltaLayer, uniform
from kzoo.adapters.methods.low_rank import (
    AdaloraConfig,
    DeloraConfig,
    GraloraConfig,
    LilyConfig,
    label_of,
)
from kzoo.backbones.places import Place
from kzoo.seeds import derive_seed


class PlaceCount(keras.layers.Layer):  # type: ignore[misc]
    """Tells the layers of one adapter how many they are; without variables.

    Args:
        config: The configuration.
        places: Where the adapter stands.
        name: The adapter's name.
        seed: Nothing here is random.
    """

    def __init__(
        self, config: AdaloraConfig, places: Sequence[Place], name: str, seed: int
    ) -> None:
        super().__init__(name=name)
        self.number = len(places)
        self.built = True


class AdaloraLayer(DeltaLayer):
    """y = inner(x) + s ((x A) * E) B.

    Variables: `lora_a` (in, r), `lora_e` (r,), `lora_b` (r, out), and the frozen `rank_mask` (r,)
    of ones and zeros: triplets that were removed for good, here and in saved files.
    """

    row_wise = True

    def __init__(self, config: AdaloraConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building)
        r, size_in, size_out = config.init_r, self.projection.size_in, self.projection.size_out
        # The mean runs over the two matrices of all places.
        weight = config.orth_reg_weight / (2 * building.shared.number)

        def made(name: str, shape: tuple[int, int], axis: int) -> Any:
            seed = derive_seed(self.seed, name)
            return self.add_weight(
                shape,
                keras.initializers.RandomNormal(stddev=0.02, seed=seed),
                regularizer=Orthogonality(weight, axis) if weight else None,
                name=name,
            )

        self.lora_a = made("lora_a", (size_in, r), 1)
        self.lora_e = self.add_weight((r,), "zeros", name="lora_e")
        self.lora_b = made("lora_b", (r, size_out), 0)
        self.rank_mask = self.add_weight((r,), "ones", trainable=False, name="rank_mask")

    def delta(self) -> Any:
        """The matrix that is added, (in, out)."""
        values = self.lora_e * self.rank_mask * self.config.scaling
        return keras.ops.matmul(self.lora_a * values, self.lora_b)

    def update(self, flat: Any) -> Any:
        """Two narrow products: (..., out)."""
        values = self.lora_e * self.rank_mask * self.config.scaling
        narrow = keras.ops.matmul(self.dropped(flat), self.lora_a) * values
        return keras.ops.matmul(narrow, self.lora_b)


class Orthogonality(keras.regularizers.Regularizer):  # type: ignore[misc]
    """weight * ||M M^T - I||, for rows of M along `axis`.

    Args:
        weight: What the norm is multiplied by.
        axis: 0 where the rows of the matrix should be orthogonal, 1 where its columns.
    """

    def __init__(self, weight: float, axis: int) -> None:
        self.weight = weight
        self.axis = axis

    def __call__(self, x: Any) -> Any:
        """The penalty of one matrix, a scalar."""
        turned = keras.ops.transpose(x)
        product = keras.ops.matmul(x, turned) if self.axis == 0 else keras.ops.matmul(turned, x)
        error = product - keras.ops.eye(product.shape[0], dtype=product.dtype)
        # The root has no gradient at zero.
        return self.weight * keras.ops.sqrt(keras.ops.sum(keras.ops.square(error)) + 1e-12)

    def get_config(self) -> dict[str, Any]:
        """Both numbers."""
        return {"weight": self.weight, "axis": self.axis}


class DeloraLayer(DeltaLayer):
    """y = inner(x) + ((x * w) A * (l / r / norms)) B.

    Variables: `delora_a` (in, r), `delora_b` (r, out), `delora_lambda` (1,), and the frozen
    `delora_w_norm` (in,), the norm of each row of W (in, out) when the adapter was made.
    """

    def __init__(self, config: DeloraConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building)
        size_in, size_out = self.projection.size_in, self.projection.size_out
        self.r = int(config.value_at("r", place))
        strength = keras.initializers.Constant(float(config.value_at("strength", place)))
        self.delora_a = self.add_weight(
            (size_in, self.r), uniform(size_in, self.seed), name="delora_a"
        )
        self.delora_b = self.add_weight((self.r, size_out), "zeros", name="delora_b")
        self.delora_lambda = self.add_weight((1,), strength, name="delora_lambda")
        self.delora_w_norm = self.add_weight(
            (size_in,), "zeros", trainable=False, name="delora_w_norm"
        )
        self.delora_w_norm.assign(_norms(self.projection.matrix(), 1, 0.0))

    def factors(self) -> tuple[Any, Any]:
        """(in, r) and (r, out), whose product is D."""
        a, b = (keras.ops.cast(part, "float32") for part in (self.delora_a, self.delora_b))
        # The least norm is PEFT's; below it, the norm has no gradient.
        norms = _norms(a, 0, 1e-4) * _norms(b, 1, 1e-4)
        scale = keras.ops.cast(self.delora_lambda, "float32") / self.r / norms
        wide = keras.ops.cast(self.delora_w_norm, "float32")[:, None]
        return wide * a * scale, b

    def delta(self) -> Any:
        """D, (in, out)."""
        return keras.ops.matmul(*self.factors())

    def update(self, flat: Any) -> Any:
        """Two narrow products: (..., out)."""
        a, b = (keras.ops.cast(part, flat.dtype) for part in self.factors())
        return keras.ops.matmul(keras.ops.matmul(self.dropped(flat), a), b)


def _norms(matrix: Any, axis: int, least: float) -> Any:
    squares = keras.ops.sum(keras.ops.square(keras.ops.cast(matrix, "float32")), axis=axis)
    return keras.ops.sqrt(keras.ops.maximum(squares, least * least))


class GraloraLayer(DeltaLayer):
    """y = inner(x) + s x D, with D[n, j] = A[n][:, share j] B[j][share n, :] at block (n, j).

    Variables: `gralora_a` (k, in / k, r), `gralora_b` (k, r, out / k); with `hybrid_r`,
    `general_a` (in, hybrid_r) and `general_b` (hybrid_r, out).
    """

    def __init__(self, config: GraloraConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building)
        size_in, size_out = self.projection.size_in, self.projection.size_out
        k, r, general = config.k, config.r, config.hybrid_r
        start = uniform(size_in // k, self.seed)
        self.gralora_a = self.add_weight((k, size_in // k, r), start, name="gralora_a")
        self.gralora_b = self.add_weight((k, r, size_out // k), "zeros", name="gralora_b")
        self.general_a = self.general_b = None
        if general:
            start = uniform(size_in, derive_seed(self.seed, "general"))
            self.general_a = self.add_weight((size_in, general), start, name="general_a")
            self.general_b = self.add_weight((general, size_out), "zeros", name="general_b")

    def parts(self) -> tuple[Any, Any]:
        """A (n, in / k, j, r / k) and s B (j, n, r / k, out / k)."""
        k, share = self.config.k, self.config.r // self.config.k
        a = keras.ops.reshape(self.gralora_a, (k, -1, k, share))
        b = keras.ops.reshape(self.gralora_b, (k, k, share, self.gralora_b.shape[-1]))
        return a, b * self.config.scaling

    def delta(self) -> Any:
        """s D, (in, out)."""
        shape = (self.projection.size_in, self.projection.size_out)
        blocks = keras.ops.einsum("nijs,jnso->nijo", *self.parts())
        delta = keras.ops.reshape(blocks, shape)
        if self.general_a is not None:
            delta += keras.ops.matmul(self.general_a, self.general_b * self.config.scaling)
        return delta

    def update(self, flat: Any) -> Any:
        """As narrow as LoRA's: (..., out)."""
        ops = keras.ops
        flat = self.dropped(flat)
        lead = tuple(ops.shape(flat))[:-1]
        a, b = self.parts()
        x = ops.reshape(flat, (*lead, a.shape[0], a.shape[1]))
        narrow = ops.einsum("...ni,nijs->...njs", x, a)
        wide = ops.einsum("...njs,jnso->...jo", narrow, b)
        y = ops.reshape(wide, (*lead, self.projection.size_out))
        if self.general_a is not None:
            narrow = ops.matmul(flat, self.general_a) * self.config.scaling
            y = y + ops.matmul(narrow, self.general_b)
        return y


class LilyFactors(keras.layers.Layer):  # type: ignore[misc]
    """What the places of Lily share.

    Variables, named after the first place that has them: `a_...` (in, r), `b_...` (num_b r, out).

    Args:
        config: The configuration.
        places: Where the adapter stands.
        name: The adapter's name.
        seed: Decides the values.
    """

    def __init__(self, config: LilyConfig, places: Sequence[Place], name: str, seed: int) -> None:
        super().__init__(name=name, dtype=with_float32_variables(places[0]))
        self.owners = config.owners(places)
        self.factors: dict[str, Any] = {}
        sizes = {label_of(place.key): place for place in places}
        for label in dict.fromkeys(a for a, _ in self.owners.values()):
            size = sizes[label].size_in
            start = uniform(size, derive_seed(seed, label))
            self.factors[f"a_{label}"] = self.add_weight((size, config.r), start, name=f"a_{label}")
        for label in dict.fromkeys(b for _, b in self.owners.values()):
            shape = (config.num_b * config.r, sizes[label].size_out)
            self.factors[f"b_{label}"] = self.add_weight(shape, "zeros", name=f"b_{label}")
        self.built = True


class LilyLayer(DeltaLayer):
    """y = inner(x) + s (x A) sum_e p_e B_e, p the mean over a batch of softmax((x A) router).

    Variable: `lily_router` (r, num_b); A and B are shared.
    """

    mergeable = False

    def __init__(self, config: LilyConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building)
        a, b = building.shared.owners[place.key]
        self.shared = building.shared
        self.names = (f"a_{a}", f"b_{b}")
        start = uniform(config.r, self.seed)
        self.lily_router = self.add_weight((config.r, config.num_b), start, name="lily_router")

    def update(self, flat: Any) -> Any:
        """Two narrow products: (..., out)."""
        ops, config = keras.ops, self.config
        a, b = (ops.convert_to_tensor(self.shared.factors[name]) for name in self.names)
        narrow = ops.matmul(flat, like(flat, a))
        shares = ops.softmax(ops.matmul(narrow, like(flat, self.lily_router)), axis=-1)
        shares = ops.mean(ops.reshape(shares, (-1, config.num_b)), axis=0)
        many = ops.reshape(like(flat, b), (config.num_b, config.r, -1))
        return ops.matmul(narrow * config.scaling, ops.einsum("e,ero->ro", shares, many))

    def merged(self) -> list[tuple[Any, NDArray[Any]]]:
        """Refuses: what is added depends on the batch."""
        return AdapterLayer.merged(self)
