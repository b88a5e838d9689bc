"""Multitask prompt tuning (Wang et al. 2023, arXiv:2303.02861)."""

from __future__ import annotations

from pydantic import NonNegativeInt, PositiveInt, model_validator

from kzoo.adapters.config import register_method
from kzoo.adapters.methods.prompt import VirtualTokensConfig
from kzoo.backbones.places import Place


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

    layer = "kzoo.adapters.layers.mpt:MultitaskPromptLayer"

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
