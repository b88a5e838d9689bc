"""The layers of VeRA, PVeRA, RandLoRA and VB-LoRA; see `kzoo.adapters.methods.shared`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kzoo.adapters.config import Building
from kzoo.adapters.layers.base import with_float32_variables
from kzoo.adapters.layers.delta import DeltaLayer
from kzoo.adapters.methods.shared import (
    PveraConfig,
    RandloraConfig,
    VbloraConfig,
    VeraConfig,
)
from kzoo.backbones.places import Place
from kzoo.seeds import derive_seed


class VeraProjections(keras.layers.Layer):  # type: ignore[misc]
    """The frozen random matrices, uniform after Kaiming (section 3.3 of the paper).

    Variables: `vera_a` (widest in, r), `vera_b` (r, widest out), both not trainable.

    Args:
        config: The configuration.
        places: Where the adapter stands.
        name: The adapter's name.
        seed: Decides the values.
    """

    def __init__(self, config: VeraConfig, places: Sequence[Place], name: str, seed: int) -> None:
        super().__init__(name=name, dtype=with_float32_variables(places[0]))
        widest_in = max(place.size_in for place in places)
        widest_out = max(place.size_out for place in places)
        self.vera_a = self._random("vera_a", (widest_in, config.first_ranks * config.r), seed)
        self.vera_b = self._random("vera_b", (config.r, widest_out), seed)
        self.built = True

    def _random(self, name: str, shape: tuple[int, int], seed: int) -> Any:
        limit = math.sqrt(6 / shape[0])
        initializer = keras.initializers.RandomUniform(-limit, limit, seed=derive_seed(seed, name))
        return self.add_weight(shape, initializer, trainable=False, name=name)


class VeraLayer(DeltaLayer):
    """y = inner(x) + b * ((d * (x A)) B).

    Variables: `vera_lambda_d` (r,), `vera_lambda_b` (out,); the matrices are shared.
    """

    def __init__(self, config: VeraConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building)
        self.shared = building.shared
        start = keras.initializers.Constant(config.d_initial)
        shape = (config.first_ranks * config.r,)
        self.vera_lambda_d = self.add_weight(shape, start, name="vera_lambda_d")
        self.vera_lambda_b = self.add_weight(
            (self.projection.size_out,), "zeros", name="vera_lambda_b"
        )

    def matrices(self) -> tuple[Any, Any]:
        """A (in, r) and B (r, out) as far as this place needs them."""
        a = self.shared.vera_a[: self.projection.size_in]
        return a, self.shared.vera_b[:, : self.projection.size_out]

    def delta(self) -> Any:
        """The matrix that is added, (in, out)."""
        a, b = self.matrices()
        return keras.ops.matmul(a * self.vera_lambda_d, b) * self.vera_lambda_b

    def update(self, flat: Any) -> Any:
        """Three products of a token's features with narrow things: (..., out)."""
        a, b = self.matrices()
        narrow = keras.ops.matmul(self.dropped(flat), a) * self.vera_lambda_d
        return keras.ops.matmul(narrow, b) * self.vera_lambda_b


class PveraLayer(VeraLayer):
    """y = inner(x) + b * (z B), z drawn around (x A) * d.

    Variables: `vera_lambda_d` (2 r,), of the means and then of the log-variances, and
    `vera_lambda_b` (out,); the matrices are shared, and A is (in, 2 r).
    """

    def __init__(self, config: PveraConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building)
        self.noise = _Noise(derive_seed(self.seed, "noise"))

    def delta(self) -> Any:
        """The matrix that is added outside of training, (in, out)."""
        a, b = self.matrices()
        r = self.config.r
        return keras.ops.matmul(a[:, :r] * self.vera_lambda_d[:r], b) * self.vera_lambda_b

    def update(self, flat: Any) -> Any:
        """As VeRA's, with noise in training: (..., out)."""
        a, b = self.matrices()
        both = keras.ops.matmul(self.dropped(flat), a) * self.vera_lambda_d
        mean, log_variance = keras.ops.split(both, 2, axis=-1)
        return keras.ops.matmul(self.noise(mean, log_variance), b) * self.vera_lambda_b


class _Noise(keras.layers.Layer):  # type: ignore[misc]
    """Normal numbers around a mean while training, the mean otherwise."""

    def __init__(self, seed: int) -> None:
        super().__init__(autocast=False)  # the type of a half-precision trunk is to stay
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.built = True

    def call(self, mean: Any, log_variance: Any, training: bool = False) -> Any:
        """Of the shape and type of `mean`."""
        if not training:
            return mean
        drawn = keras.random.normal(keras.ops.shape(mean), seed=self.seed_generator)
        return mean + keras.ops.cast(drawn, mean.dtype) * keras.ops.exp(0.5 * log_variance)


class RandloraBases(keras.layers.Layer):  # type: ignore[misc]
    """The frozen random matrices of RandLoRA, in the shapes of PEFT.

    Variables: `randlora_a` (r, 1, widest shorter side), `randlora_b` (widest longer side, terms,
    r), both not trainable and of variance 1.

    Args:
        config: The configuration.
        places: Where the adapter stands.
        name: The adapter's name.
        seed: Decides the values.
    """

    def __init__(
        self, config: RandloraConfig, places: Sequence[Place], name: str, seed: int
    ) -> None:
        super().__init__(name=name, dtype=with_float32_variables(places[0]))
        # Of the widest input and the widest output, even if they are two places': PEFT's rule.
        widest = [max(p.size_in for p in places), max(p.size_out for p in places)]
        longer, shorter = max(widest), min(widest)
        rng = np.random.default_rng(derive_seed(seed, "randlora"))
        sparsity = math.sqrt(shorter) if config.very_sparse else 3.0

        def made(label: str, shape: tuple[int, ...]) -> Any:
            drawn = rng.uniform(-1, 1, shape)
            if config.sparse or config.very_sparse:
                drawn = np.sign(drawn) * (np.abs(drawn) > 1 - 1 / sparsity)
            spread = drawn.std()
            variable = self.add_weight(shape, "zeros", trainable=False, name=label)
            variable.assign(drawn / (spread if spread > 0 else 1.0))
            return variable

        self.randlora_a = made("randlora_a", (config.r, 1, shorter))
        self.randlora_b = made("randlora_b", (longer, config.terms(shorter), config.r))
        self.built = True


class RandloraLayer(DeltaLayer):
    """y = inner(x) + s x D, D the product of the random matrices with numbers between them.

    Variables: `randlora_lambda` (r, terms), `randlora_gamma` (terms, shorter side).
    """

    def __init__(self, config: RandloraConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building)
        self.shared = building.shared
        sides = (self.projection.size_in, self.projection.size_out)
        self.shorter, self.longer = min(sides), max(sides)
        self.terms = config.terms(self.shorter)
        self.randlora_lambda = self.add_weight(
            (config.r, self.terms), "zeros", name="randlora_lambda"
        )
        shape = (self.terms, self.shorter)
        start = keras.initializers.Constant(1 / max(shape))
        self.randlora_gamma = self.add_weight(shape, start, name="randlora_gamma")

    def factors(self) -> tuple[Any, Any]:
        """(in, k) and (k, out) with k = r * terms, whose product is D."""
        ops, k = keras.ops, self.config.r * self.terms
        a = self.shared.randlora_a[:, :, : self.shorter]
        b = self.shared.randlora_b[: self.longer, : self.terms]
        scaled = self.randlora_lambda[:, :, None] * a * self.randlora_gamma
        # PEFT counts k by rank first here, and by term first there: what pairs is random anyway.
        scaled = ops.reshape(scaled, (k, self.shorter)) * (self.config.alpha / self.config.r)
        b = ops.reshape(b, (self.longer, k))
        if self.projection.size_in == self.shorter:
            return ops.transpose(scaled), ops.transpose(b)
        return b, scaled

    def delta(self) -> Any:
        """S D, (in, out)."""
        return keras.ops.matmul(*self.factors())

    def update(self, flat: Any) -> Any:
        """Two products as wide as the shorter side: (..., out)."""
        first, second = self.factors()
        return keras.ops.matmul(keras.ops.matmul(self.dropped(flat), first), second)


class VectorBank(keras.layers.Layer):  # type: ignore[misc]
    """The vectors that all places of VB-LoRA share: `vblora_vector_bank` (n, length).

    Args:
        config: The configuration.
        places: Where the adapter stands.
        name: The adapter's name.
        seed: Decides the values.
    """

    def __init__(self, config: VbloraConfig, places: Sequence[Place], name: str, seed: int) -> None:
        super().__init__(name=name, dtype=with_float32_variables(places[0]))
        bound = config.bank_bound
        start = keras.initializers.RandomUniform(-bound, bound, seed=derive_seed(seed, "bank"))
        shape = (config.num_vectors, config.vector_length)
        self.vblora_vector_bank = self.add_weight(shape, start, name="vblora_vector_bank")
        self.built = True


class VbloraLayer(DeltaLayer):
    """y = inner(x) + x A B, A and B made of the bank's vectors.

    Variables, as PEFT has them: `vblora_logits_a` (r, in / length, n), `vblora_logits_b`
    (out / length, r, n); the bank is shared.
    """

    def __init__(self, config: VbloraConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building)
        self.shared = building.shared
        n, length = config.num_vectors, config.vector_length

        def made(name: str, *shape: int) -> Any:
            start = keras.initializers.RandomNormal(
                stddev=config.logits_std, seed=derive_seed(self.seed, name)
            )
            return self.add_weight(shape, start, name=name)

        size_in, size_out = self.projection.size_in, self.projection.size_out
        self.vblora_logits_a = made("vblora_logits_a", config.r, size_in // length, n)
        self.vblora_logits_b = made("vblora_logits_b", size_out // length, config.r, n)

    def mixed(self, logits: Any) -> Any:
        """The vectors that stand for logits (..., n): (..., length)."""
        ops = keras.ops
        values, numbers = ops.top_k(ops.convert_to_tensor(logits), self.config.topk)
        bank = ops.convert_to_tensor(self.shared.vblora_vector_bank)
        vectors = ops.take(bank, numbers, axis=0)
        weights = ops.cast(ops.softmax(values, axis=-1), vectors.dtype)
        return ops.sum(weights[..., None] * vectors, axis=-2)

    def factors(self) -> tuple[Any, Any]:
        """A (in, r) and B (r, out)."""
        ops, r = keras.ops, self.config.r
        a = ops.transpose(ops.reshape(self.mixed(self.vblora_logits_a), (r, -1)))
        b = ops.transpose(self.mixed(self.vblora_logits_b), (1, 0, 2))
        return a, ops.reshape(b, (r, -1))

    def delta(self) -> Any:
        """The product, (in, out)."""
        return keras.ops.matmul(*self.factors())

    def update(self, flat: Any) -> Any:
        """Two narrow products: (..., out)."""
        a, b = self.factors()
        return keras.ops.matmul(keras.ops.matmul(self.dropped(flat), a), b)
