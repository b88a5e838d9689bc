"""The layer of P-tuning; the network stands in `kzoo.adapters.methods.ptuning`."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import keras

from kzoo.adapters.config import Building
from kzoo.adapters.layers.virtual_token import VirtualTokenLayer
from kzoo.adapters.methods.ptuning import PTuningConfig
from kzoo.backbones.places import Place
from kzoo.seeds import derive_seed


class PTuningLayer(VirtualTokenLayer):
    """Rows that a network makes.

    Variables: `embedding` (P, H); for each dense layer `dense<i>_kernel`, `dense<i>_bias`; for
    each layer of the LSTM, with the directions (forward, backward) in front and the gates in the
    order input, forget, cell, output, as in torch: `lstm<i>_kernel` (2, in, 4 b),
    `lstm<i>_recurrent_kernel` (2, b, 4 b), `lstm<i>_bias`, `lstm<i>_recurrent_bias` (2, 4 b).
    """

    def __init__(self, config: PTuningConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building)
        width = place.size_out
        self._seed = building.seed_at(place)
        self.bottleneck = config.bottleneck or width
        self.embedding = self.add_weight(
            (config.num_virtual_tokens, width),
            keras.initializers.RandomNormal(stddev=1.0, seed=self._seed),
            name="embedding",
        )
        gates = 4 * self.bottleneck
        self.lstm = []
        for number, size in enumerate(config.lstm_inputs(width)):
            shapes = {
                "kernel": (2, size, gates),
                "recurrent_kernel": (2, self.bottleneck, gates),
                "bias": (2, gates),
                "recurrent_bias": (2, gates),
            }
            self.lstm.append(
                [
                    self._uniform(f"lstm{number}_{name}", shape, self.bottleneck)
                    for name, shape in shapes.items()
                ]
            )
        self.dense = [
            (
                self._uniform(f"dense{number}_kernel", (size_in, size_out), size_in),
                self._uniform(f"dense{number}_bias", (size_out,), size_in),
            )
            for number, (size_in, size_out) in enumerate(pairwise(config.dense_widths(width)))
        ]

    def _uniform(self, name: str, shape: tuple[int, ...], size_in: int) -> Any:
        limit = 1 / math.sqrt(size_in)
        seed = derive_seed(self._seed, name)
        return self.add_weight(
            shape, keras.initializers.RandomUniform(-limit, limit, seed=seed), name=name
        )

    def rows(self) -> Any:
        """The network's output."""
        ops = keras.ops
        x = self.embedding[:]
        for weights in self.lstm:
            x = _bidirectional_lstm(x, *weights)
        for number, (kernel, bias) in enumerate(self.dense):
            x = ops.matmul(x if number == 0 else ops.relu(x), kernel) + bias
        return x


def _bidirectional_lstm(
    x: Any, kernel: Any, recurrent_kernel: Any, bias: Any, recurrent_bias: Any
) -> Any:
    """float (P, in) to (P, 2 b), both directions of a step in one product."""
    ops = keras.ops
    both = ops.stack((x, ops.flip(x, axis=0)))  # (2, P, in)
    inputs = ops.matmul(both, kernel) + ops.expand_dims(bias + recurrent_bias, 1)
    width = recurrent_kernel.shape[1]
    state = cell = ops.zeros((2, 1, width), x.dtype)
    states = []
    for step in range(x.shape[0]):
        gates = inputs[:, step : step + 1] + ops.matmul(state, recurrent_kernel)
        into, forget, fresh, out = ops.split(gates, 4, axis=-1)
        cell = ops.sigmoid(forget) * cell + ops.sigmoid(into) * ops.tanh(fresh)
        state = ops.sigmoid(out) * ops.tanh(cell)
        states.append(state)
    outputs = ops.concatenate(states, axis=1)  # (2, P, b)
    return ops.concatenate((outputs[0], ops.flip(outputs[1], axis=0)), axis=-1)
