"""Prompt tuning (Lester et al. 2021, arXiv:2104.08691)."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from pydantic import NonNegativeInt, PositiveInt, model_validator

from kzoo.adapters.config import AdapterConfig, register_method
from kzoo.backbones.places import Place
from kzoo.backbones.virtual_tokens import Position


class VirtualTokensConfig(AdapterConfig):
    """What prompt tuning, P-tuning and multitask prompt tuning have in common.

    Each prompt owns virtual token ids past the vocabulary. The text processor of the model writes
    the ids of the active prompts into every input, and the token embedding gives their rows; from
    there on they are tokens like all others, with positions, mask and a place in the cache. They
    count towards the model's longest input. No prompt is an exact identity before training.

    Where virtual tokens stand first, so does one of them in `cls` and `pooler` pooling, as in HF
    PEFT and AdapterHub; behind `[CLS]` they leave it alone. Mean and maximum pooling take the real
    tokens only.

    Args:
        num_virtual_tokens: P.
        position: `after_cls` (behind the token that opens the input), `start` (before it, as in HF
            PEFT), or `auto`: `after_cls` for encoders, `start` for all others.
    """

    num_virtual_tokens: PositiveInt = 20
    position: Position = "auto"

    @property
    def sites(self) -> tuple[str, ...]:
        """The token embedding."""
        return ("token_embedding",)

    @property
    def virtual_ids(self) -> int:
        """How many ids the prompt owns."""
        return self.num_virtual_tokens


@register_method("prompt")
class PromptConfig(VirtualTokensConfig):
    """P trainable rows as the embeddings of virtual tokens.

    Args:
        num_virtual_tokens: P.
        position: See `VirtualTokensConfig`.
        init: `vocabulary` (random rows of the table), `random` (normal, deviation 0.02), `text`
            (the rows of `init_text`, repeated or cut to P), or `labels` (one row for each of
            `init_labels`, the mean of its tokens' rows, the rest random rows of the table).
        init_text: For `init=text`.
        init_labels: For `init=labels`.
        insertion: `tokens`, as in the paper and in HF PEFT: the rows get positions, segments and
            the norm of the embeddings. `embeddings`, as in AdapterHub: they stand behind the whole
            embedding block and get none of them, and real tokens keep their positions. Only for
            families with one table of positions and a norm behind it; every row of a batch then
            needs the prompt, and it has to be the only one.
    """

    layer = "kzoo.adapters.layers.prompt:PromptLayer"

    init: Literal["vocabulary", "random", "text", "labels"] = "vocabulary"
    init_text: str | None = None
    init_labels: tuple[str, ...] = ()
    insertion: Literal["tokens", "embeddings"] = "tokens"

    @model_validator(mode="after")
    def _init_is_complete(self) -> PromptConfig:
        if (self.init == "text") != bool(self.init_text):
            raise ValueError("`init_text` and `init=text` belong together")
        if (self.init == "labels") != bool(self.init_labels):
            raise ValueError("`init_labels` and `init=labels` belong together")
        if len(self.init_labels) > self.num_virtual_tokens:
            raise ValueError("`num_virtual_tokens` must be at least the number of `init_labels`")
        return self

    @property
    def first_row(self) -> int:
        """Tokens before the prompt, where it is inserted behind the embedding block."""
        return 1 if self.position == "after_cls" else 0

    @property
    def sites(self) -> tuple[str, ...]:
        """The token embedding; behind the block also its positions and its norm."""
        if self.insertion == "tokens":
            return ("token_embedding",)
        return ("token_embedding", "position_embedding", "embeddings_norm")

    def owns_rows(self, place: Place) -> bool:
        """Whether the rows belong to the layer at this place."""
        owner = "token_embedding" if self.insertion == "tokens" else "embeddings_norm"
        return place.site == owner

    def layer_at(self, place: Place) -> str:
        """The layers at positions and norm, where there are any."""
        if place.site == "position_embedding":
            return "kzoo.adapters.layers.calls:SkippedPositions"
        if place.site == "embeddings_norm":
            return "kzoo.adapters.layers.prompt:InsertedPrompt"
        if self.insertion == "embeddings":
            return "kzoo.adapters.layers.prompt:PlaceholderLayer"
        return self.layer

    def count_at(self, place: Place) -> int:
        """P H."""
        return self.num_virtual_tokens * place.size_out if self.owns_rows(place) else 0


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

    layer = "kzoo.adapters.layers.prompt:PTuningLayer"

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


@register_method("mpt")
class MultitaskPromptConfig(VirtualTokensConfig):
    """A prompt that tasks share, times a low-rank matrix of each: P_t = P * (C_t R_t), by element.

    Every task owns its own virtual ids, so that rows of one batch may belong to different tasks
    (`VirtualTokenLayer.virtual_tokens(task)` with `TextProcessor.tokenize`); the model writes the
    ids of `task` where nothing else is said. C_t R_t starts near 1, so that all tasks start with
    the shared prompt.

    Args:
        num_virtual_tokens: P.
        position: See `VirtualTokensConfig`.
        num_tasks: T.
        num_ranks: r, columns of C_t and rows of R_t.
        task: The task that inputs belong to.
    """

    layer = "kzoo.adapters.layers.prompt:MultitaskPromptLayer"

    num_tasks: PositiveInt = 1
    num_ranks: PositiveInt = 1
    task: NonNegativeInt = 0

    @model_validator(mode="after")
    def _task_exists(self) -> MultitaskPromptConfig:
        if self.task >= self.num_tasks:
            raise ValueError(f"`task` must be less than `num_tasks`, {self.num_tasks}")
        return self

    @property
    def virtual_ids(self) -> int:
        """P for each task."""
        return self.num_virtual_tokens * self.num_tasks

    def count_at(self, place: Place) -> int:
        """P H + T r (P + H)."""
        tokens, width = self.num_virtual_tokens, place.size_out
        return tokens * width + self.num_tasks * self.num_ranks * (tokens + width)
