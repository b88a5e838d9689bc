"""The layers of prompt tuning; what they do stands in `kzoo.adapters.methods.prompt`."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kzoo.adapters.config import Building
from kzoo.adapters.layers.base import AdapterLayer, Function
from kzoo.adapters.layers.virtual_token import VirtualTokenLayer
from kzoo.adapters.methods.prompt import PromptConfig
from kzoo.backbones.places import Place
from kzoo.errors import AdapterError


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
    table: NDArray[np.float32] = np.asarray(place.layer.embeddings, "float32")
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
