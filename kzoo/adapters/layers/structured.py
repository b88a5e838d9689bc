"""The layers of MiSS, C3A, SHiRA, FourierFT and WaveFT; see `kzoo.adapters.methods.structured`."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kzoo.adapters.config import Building
from kzoo.adapters.layers.delta import DeltaLayer
from kzoo.adapters.methods.structured import (
    C3aConfig,
    FourierftConfig,
    MissConfig,
    ShiraConfig,
    WaveftConfig,
)
from kzoo.backbones.places import Place


class MissLayer(DeltaLayer):
    """y = inner(x) + x D, D made of copies of M, or of M and the blocks of W.

    Variable: `miss_block` (r, out), (r, mini_r), or for `bat` (out / r, r, r).
    """

    def __init__(self, config: MissConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building)
        self.miss_block = self.add_weight(config.shape_at(place), "zeros", name="miss_block")

    @property
    def reads_weights(self) -> bool:
        """See `AdapterLayer`."""
        return bool(self.config.variant == "bat")

    def wide(self) -> Any:
        """M with all columns: (r, out)."""
        return keras.ops.tile(
            self.miss_block, (1, self.projection.size_out // self.miss_block.shape[1])
        )

    def delta(self) -> Any:
        """D, (in, out)."""
        ops, r = keras.ops, self.config.r
        size_in, size_out = self.projection.size_in, self.projection.size_out
        if self.config.variant != "bat":
            return ops.take(self.wide(), np.arange(size_in) % r, axis=0)
        block = ops.convert_to_tensor(self.miss_block)
        w = ops.reshape(self.projection.matrix(), (size_in // r, r, size_out // r, r))
        # torch's w is (a, k) and M (k, c) or, where it is added, (a, c).
        product = ops.einsum("ikoa,okc->icoa", w, block) + ops.transpose(block, (2, 0, 1))
        return ops.reshape(product, (size_in, size_out))

    def update(self, flat: Any) -> Any:
        """One narrow product a token: (..., out)."""
        if self.config.variant == "bat":
            return super().update(flat)
        ops, r = keras.ops, self.config.r
        rest = -self.projection.size_in % r
        x = ops.pad(self.dropped(flat), [(0, 0)] * (len(flat.shape) - 1) + [(0, rest)])
        sums = ops.sum(ops.reshape(x, (*tuple(ops.shape(flat))[:-1], -1, r)), axis=-2)
        return ops.matmul(sums, self.wide())


class C3aLayer(DeltaLayer):
    """y = inner(x) + x D / in, each block of D circulant: D[t, u] = w[(t - u) mod b].

    Variable: `c3a_kernel` (out / b, in / b, b).
    """

    def __init__(self, config: C3aConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building)
        size_in, size_out = self.projection.size_in, self.projection.size_out
        size = int(config.value_at("block_size", place))
        limit = {
            "xavier_uniform": math.sqrt(6 / (size_in + size_out)),
            "kaiming_uniform": math.sqrt(1 / size_in),
        }.get(config.init, 0.0)
        start: Any = "zeros"
        if config.init == "gaussian":
            start = keras.initializers.RandomNormal(stddev=1.0, seed=self.seed)
        elif limit:
            start = keras.initializers.RandomUniform(-limit, limit, seed=self.seed)
        shape = (size_out // size, size_in // size, size)
        self.c3a_kernel = self.add_weight(shape, start, name="c3a_kernel")
        steps = np.arange(size)
        self._shift = (steps[:, None] - steps[None, :]) % size

    def delta(self) -> Any:
        """D / in, (in, out)."""
        blocks = keras.ops.take(self.c3a_kernel, self._shift, axis=-1)  # out / b, in / b, t, u
        blocks = keras.ops.transpose(blocks, (1, 2, 0, 3))
        shape = (self.projection.size_in, self.projection.size_out)
        return keras.ops.reshape(blocks, shape) / self.projection.size_in


class ShiraLayer(DeltaLayer):
    """y = inner(x) + x D, D zero but at some places.

    Variables: `shira_weight` (n,), and the frozen `shira_indices`, int32 (2, n): the output and
    the input of each, as in PEFT's files.
    """

    def __init__(self, config: ShiraConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building)
        shape = (self.projection.size_out, self.projection.size_in)
        count = config.count_at(place)
        self.shira_weight = self.add_weight((count,), "zeros", name="shira_weight")
        self.shira_indices = self.add_weight(
            (2, count), "zeros", dtype="int32", trainable=False, name="shira_indices"
        )
        drawn = np.random.default_rng(self.seed).choice(math.prod(shape), count, replace=False)
        self.shira_indices.assign(np.stack(np.unravel_index(np.sort(drawn), shape)))

    def delta(self) -> Any:
        """D, (in, out)."""
        places = keras.ops.transpose(
            keras.ops.flip(keras.ops.convert_to_tensor(self.shira_indices), 0)
        )
        shape = (self.projection.size_in, self.projection.size_out)
        return keras.ops.scatter(places, keras.ops.convert_to_tensor(self.shira_weight), shape)


class FourierftLayer(DeltaLayer):
    """y = inner(x) + s x Re(ifft2(F)), F zero but at the chosen frequencies.

    Variable: `fourierft_spectrum` (n,).
    """

    def __init__(self, config: FourierftConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building)
        count = config.count_at(place)
        start: Any = "zeros"
        if config.init == "normal":
            start = keras.initializers.RandomNormal(stddev=1.0, seed=self.seed)
        self.fourierft_spectrum = self.add_weight((count,), start, name="fourierft_spectrum")
        shape = (self.projection.size_out, self.projection.size_in)
        drawn = torch_permutation(math.prod(shape), count, config.location_seed)
        # The transform of a transposed matrix is the transposed transform.
        self._places = np.stack(np.unravel_index(drawn, shape)[::-1], axis=1)

    def delta(self) -> Any:
        """s Re(ifft2(F)), (in, out)."""
        ops = keras.ops
        shape = (self.projection.size_in, self.projection.size_out)
        spectrum = ops.cast(self.fourierft_spectrum, "float32")
        dense = ops.scatter(self._places, spectrum, shape)
        real, _ = ops.ifft2((dense, ops.zeros_like(dense)))
        return real * self.config.scaling

    def update(self, flat: Any) -> Any:
        """See the class."""
        return keras.ops.matmul(flat, keras.ops.cast(self.delta(), flat.dtype))


class WaveftLayer(DeltaLayer):
    """y = inner(x) + s x D, each trained number a small patch of D: its wavelet.

    Variable: `waveft_spectrum` (n,).
    """

    def __init__(self, config: WaveftConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building)
        count = config.count_at(place)
        self.waveft_spectrum = self.add_weight((count,), "zeros", name="waveft_spectrum")
        shape = (self.projection.size_out, self.projection.size_in)
        drawn = torch_permutation(math.prod(shape), count, config.location_seed)
        places = np.stack(np.unravel_index(drawn, shape))
        wavelets = np.ones((count, 1, 1))
        rows, columns = places[:, :, None]
        if config.transform:
            taps = len(WAVELETS[config.wavelet])
            # Of torch's (out, in), padded to what the transform shortens and to an even number.
            halves = [(size + taps - 1) // 2 for size in shape]
            row, column = (
                at + (2 * half - size) // 2
                for at, half, size in zip(places, halves, shape, strict=True)
            )
            (row, low), (column, left) = (
                (at % half, at < half) for at, half in zip((row, column), halves, strict=True)
            )
            # PEFT has the two mixed quarters in each other's place.
            across, down = np.where(low == left, low, left), np.where(low == left, left, low)
            rows, first = _patch(row, across, halves[0], shape[0], config.wavelet)
            columns, second = _patch(column, down, halves[1], shape[1], config.wavelet)
            wavelets = first[:, :, None] * second[:, None, :]
        # (n, taps, taps); what lies beyond the matrix has no place in it.
        rows, columns = np.broadcast_arrays(rows[:, :, None], columns[:, None, :])
        inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
        self._places = np.stack([columns[inside], rows[inside]], axis=1)
        self._which = np.nonzero(inside)[0]
        self._wavelets = (config.scaling * wavelets[inside]).astype("float32")

    def delta(self) -> Any:
        """s D, (in, out)."""
        numbers = keras.ops.take(keras.ops.cast(self.waveft_spectrum, "float32"), self._which)
        shape = (self.projection.size_in, self.projection.size_out)
        return keras.ops.scatter(self._places, numbers * self._wavelets, shape)

    def update(self, flat: Any) -> Any:
        """See the class."""
        return keras.ops.matmul(flat, keras.ops.cast(self.delta(), flat.dtype))


_ROOT = math.sqrt(3)
_DB2 = np.array([1 + _ROOT, 3 + _ROOT, 3 - _ROOT, 1 - _ROOT]) / (4 * math.sqrt(2))
#: Low-pass filters of the reconstruction.
WAVELETS = {"db1": np.array([math.sqrt(0.5)] * 2), "db2": _DB2, "sym2": _DB2}


def _patch(
    number: NDArray[Any], low: NDArray[Any], half: int, size: int, wavelet: str
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Where along one side coefficients act, and how much: both (n, taps)."""
    filters = WAVELETS[wavelet]
    taps = len(filters)
    high = filters[::-1] * (-1.0) ** np.arange(taps)
    cut = (2 * taps - 3) // 2
    length = 2 * half - 2 + taps - 2 * cut
    at = 2 * number[:, None] + np.arange(taps) - cut - (length - size) // 2
    return at, np.where(low[:, None], filters, high)


def torch_permutation(size: int, count: int, seed: int) -> NDArray[np.int64]:
    """The first `count` numbers of torch's `randperm(size)` on the CPU, without torch.

    Files of PEFT say by a seed which numbers are trained. Both libraries have the Mersenne twister
    MT19937, and torch exchanges each number in turn with one of those that follow.
    """
    draw = np.random.RandomState(seed % 2**32)._bit_generator.random_raw
    moved: dict[int, int] = {}
    found = np.empty(count, "int64")
    for place, raw in enumerate(draw(count)):
        other = place + int(raw) % (size - place)
        found[place] = moved.get(other, other)
        moved[other] = moved.get(place, place)
    return found
