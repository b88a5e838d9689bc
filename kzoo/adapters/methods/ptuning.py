"""P-tuning (Liu et al. 2021, arXiv:2103.10385)."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from pydantic import PositiveInt

from kzoo.adapters.config import register_method
from kzoo.adapters.methods.prompt import VirtualTokensConfig
from kzoo.backbones.places import Place


@register_method("ptuning")
class PTuningConfig(VirtualTokensConfig):
    """A prompt that a small network makes of an embedding E (P, H).

    `mlp`: three dense layers H -> b -> b -> H with ReLU between them. `lstm`: a bidirectional LSTM
    of width b along the P tokens, then 2b -> 2b -> H with ReLU. The network is kept on saving, so
    that training can be resumed; for other libraries the prompt it makes is written out.

    Args:
        num_virtual_tokens: P.
        position: See `VirtualTokensConfig`.
        encoder: `mlp` or `lstm`.
        bottleneck: b. Default: H.
        lstm_layers: Layers of the LSTM.
    """

    layer = "kzoo.adapters.layers.ptuning:PTuningLayer"

    encoder: Literal["mlp", "lstm"] = "mlp"
    bottleneck: PositiveInt | None = None
    lstm_layers: PositiveInt = 2

    def dense_widths(self, width: int) -> tuple[int, ...]:
        """Widths of the dense layers, input and output included, for rows of H numbers."""
        b = self.bottleneck or width
        return (width, b, b, width) if self.encoder == "mlp" else (2 * b, 2 * b, width)

    def lstm_inputs(self, width: int) -> tuple[int, ...]:
        """Widths of what comes into each layer of the LSTM."""
        if self.encoder == "mlp":
            return ()
        b = self.bottleneck or width
        return (width, *[2 * b] * (self.lstm_layers - 1))

    def count_at(self, place: Place) -> int:
        """P H, the dense layers, and two directions of four gates with two biases each."""
        width = place.size_out
        b = self.bottleneck or width
        widths = self.dense_widths(width)
        dense = sum((m + 1) * n for m, n in pairwise(widths))
        lstm = sum(2 * 4 * b * (m + b + 2) for m in self.lstm_inputs(width))
        return self.num_virtual_tokens * width + dense + lstm
