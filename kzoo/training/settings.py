"""What `fit` does where the caller says nothing."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

Fraction = Annotated[float, Field(ge=0, lt=1)]


class Training(BaseModel):
    """Defaults of `fit` and of the optimizer.

    Args:
        learning_rate: Peak rate of Adam.
        batch_size: Rows a step.
        epochs: Passes over the data.
        warmup: Share of the steps in which the rate rises; it falls linearly to 0 afterwards.
        weight_decay: Decoupled (AdamW); none on biases, norms.
        clip_norm: Largest global norm of the gradient.
        chunk_size: Rows of a batch whose activations are held at a time. The step is that of the
            whole batch (see `kzoo.models.chunked`), for half as much again in time. Default: all.
        uncertainty: Of several outputs: learn the weights of their losses (Kendall et al. 2018).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    learning_rate: PositiveFloat = 1e-3
    batch_size: PositiveInt = 32
    epochs: PositiveInt = 3
    warmup: Fraction = 0.06
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    clip_norm: PositiveFloat = 1.0
    chunk_size: PositiveInt | None = None
    uncertainty: bool = False
