"""The layers of the prompt methods; formulas in `kzoo.adapters.methods.prompt`."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kzoo.adapters.config import Building
from kzoo.adapters.layers.base import AdapterLayer, Function
from kzoo.adapters.layers.delta import token_table
from kzoo.adapters.methods.prompt import (
    MultitaskPromptConfig,
    PromptConfig,
    PTuningConfig,
    VirtualTokensConfig,
)
from kzoo.backbones.places import Place
from kzoo.backbones.virtual_tokens import VirtualTokens
from kzoo.errors import AdapterError
from kzoo.seeds import derive_seed


class VirtualTokenLayer(AdapterLayer):
    """Gives the rows of its virtual ids.

    Which rows of a batch have the prompt is said by the ids in them and not by what is active, so
    that prompts mix in a batch and with any composition of other adapters.

    Attributes:
        first_id: The first of its ids; set when it is placed in a model, and fixed from then on.
        task: Whose ids the model writes into its inputs, where there are several tasks.
    """

    def __init__(self, config: VirtualTokensConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building.name)
        self.first_id = place.size_in
        self.task = int(getattr(config, "task", 0))

    def rows(self) -> Any:
        """float (virtual ids, H): the embeddings, as another library would store them."""
        raise NotImplementedError

    def virtual_tokens(self, task: int | None = None) -> VirtualTokens:
        """What the text processor has to write into an input.

        Args:
            task: Default: the layer's `task`.
        """
        count = self.config.num_virtual_tokens
        task = self.task if task is None else task
        return VirtualTokens(self.first_id + task * count, count, self.config.position)

    def apply(self, inner: Function, x: Any) -> Any:
        """Nothing: `with_rows` does it, outside of all other adapters."""
        return inner(x)

    def with_rows(self, ids: Any, embedded: Any) -> Any:
        """Puts the rows where their ids are.

        Args:
            ids: int (batch, tokens), virtual ids included.
            embedded: float (batch, tokens, H).
        """
        ops = keras.ops
        index = ids - self.first_id
        mine = ops.logical_and(index >= 0, index < self.config.virtual_ids)
        rows = ops.cast(self.rows(), embedded.dtype)
        found = ops.take(rows, ops.clip(index, 0, self.config.virtual_ids - 1), axis=0)
        return ops.where(ops.expand_dims(mine, -1), found, embedded)


class PromptLayer(VirtualTokenLayer):
    """Rows that are trained themselves.

    Variable: `prompt` (P, H).
    """

    def __init__(self, config: PromptConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building)
        shape = (config.num_virtual_tokens, place.size_out)
        self.prompt = self.add_weight(shape, "zeros", name="prompt")
        self.prompt.assign(initial_rows(config, place, building))

    def rows(self) -> Any:
        """See the class."""
        return keras.ops.convert_to_tensor(self.prompt)


class PlaceholderLayer(VirtualTokenLayer):
    """Ids whose rows are put in behind the embedding block; until then they are zero."""

    def rows(self) -> Any:
        """Zeros."""
        return keras.ops.zeros((self.config.num_virtual_tokens, self.place.size_out))


class InsertedPrompt(AdapterLayer):
    """Puts the prompt in the places of its virtual tokens, behind the norm of the embeddings.

    Variable: `prompt` (P, H).
    """

    def __init__(self, config: PromptConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building.name)
        table = building.made["token_embedding"].place
        shape = (config.num_virtual_tokens, place.size_out)
        self.prompt = self.add_weight(shape, "zeros", name="prompt")
        self.prompt.assign(initial_rows(config, table, building))

    def apply(self, inner: Function, x: Any) -> Any:
        """x: float (batch, tokens, H)."""
        ops = keras.ops
        y = inner(x)
        first, last = self.config.first_row, self.config.first_row + self.config.num_virtual_tokens
        rows = ops.cast(self.prompt, y.dtype)
        rows = ops.broadcast_to(rows, (ops.shape(y)[0], *rows.shape))
        return ops.concatenate((y[:, :first], rows, y[:, last:]), axis=1)


def initial_rows(config: PromptConfig, place: Place, building: Building) -> NDArray[np.float32]:
    """float32 (P, H) as `config.init` says.

    Args:
        config: The method's configuration.
        place: The token embedding.
        building: Knows the tokeniser and the seed.

    Raises:
        AdapterError: Text is needed, and the model has no tokeniser or the text no tokens.
    """
    rng = np.random.default_rng(building.seed_at(place))
    count = config.num_virtual_tokens
    if config.init == "random":
        return rng.normal(0, 0.02, (count, place.size_out)).astype("float32")
    table = token_table(place.layer)
    sampled: NDArray[np.float32] = table[rng.integers(0, len(table), count)]
    if config.init == "vocabulary":
        return sampled
    if config.init == "text":
        ids = _ids(str(config.init_text), building)
        return np.asarray(table[np.resize(ids, count)])  # repeats or cuts
    for row, label in enumerate(config.init_labels):
        sampled[row] = table[_ids(label, building)].mean(axis=0)
    return sampled


def _ids(text: str, building: Building) -> list[int]:
    if building.tokenize is None:
        raise AdapterError("`init` from text needs a model with a tokenizer.")
    ids = building.tokenize(text)
    if not ids:
        raise AdapterError(f"`init` text {text!r} has no tokens.")
    return ids


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


class MultitaskPromptLayer(VirtualTokenLayer):
    """Rows of all tasks, one task after the other.

    Variables: `prompt` (P, H), `task_cols` (T, P, r), `task_rows` (T, r, H).
    """

    def __init__(self, config: MultitaskPromptConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building)
        tokens, width = config.num_virtual_tokens, place.size_out
        tasks, ranks = config.num_tasks, config.num_ranks
        rng = np.random.default_rng(building.seed_at(place))
        table = token_table(place.layer)
        # Rows and columns whose product is near 1, with noise that keeps ranks from being equal.
        near = 1 / math.sqrt(ranks)
        starts: dict[str, NDArray[Any]] = {
            "prompt": table[rng.integers(0, len(table), tokens)],
            "task_cols": rng.normal(near, 0.02, (tasks, tokens, ranks)),
            "task_rows": rng.normal(near, 0.02, (tasks, ranks, width)),
        }
        for name, value in starts.items():
            variable = self.add_weight(value.shape, "zeros", name=name)
            variable.assign(value)
            setattr(self, name, variable)

    def rows(self) -> Any:
        """float (T P, H)."""
        ops = keras.ops
        prompts = self.prompt * ops.matmul(self.task_cols, self.task_rows)
        return ops.reshape(prompts, (self.config.virtual_ids, self.place.size_out))
