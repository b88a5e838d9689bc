"""What a kzoo model is made of, apart from weights: data that is validated and saved with it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

Fraction = Annotated[float, Field(ge=0, lt=1)]
PoolingMode = Literal["mean", "cls", "max", "last", "pooler"]


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HeadSpec(_Spec):
    """The classification head.

    Args:
        pooling: How token vectors become one: `mean` over real tokens, `cls` (the first token),
            `last` (the last one), `max`, or `pooler` (the checkpoint's dense tanh layer behind the
            first token).
        dropout: Before the last layer, in training.
    """

    pooling: PoolingMode = "mean"
    dropout: Fraction = 0.1


class TrainingSpec(_Spec):
    """What `fit` does where the caller says nothing.

    Args:
        learning_rate: Peak rate of Adam.
        batch_size: Rows a step.
        epochs: Passes over the data.
        warmup: Share of the steps in which the rate rises; it falls linearly to 0 afterwards.
        weight_decay: Decoupled (AdamW); none on biases, norms.
        clip_norm: Largest global norm of the gradient.
    """

    learning_rate: PositiveFloat = 1e-3
    batch_size: PositiveInt = 32
    epochs: PositiveInt = 3
    warmup: Fraction = 0.06
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    clip_norm: PositiveFloat = 1.0


class ModelSpec(_Spec):
    """Everything about a model but its trunk, adapters and weights.

    Args:
        recipe: Name of the zoo entry it came from.
        max_tokens: Longest input in tokens, special tokens included.
        trunk: `frozen` (in inference mode) or `trainable`.
        head: The classification head.
        training: Defaults of `fit`.
        num_classes: Output classes; None until the first `fit` counts them.
        labels: Names of the classes in the order of the outputs.
        normalize: Whether an encoder's vectors have length 1.
        seed: Decides initial values, dropout and data order.
    """

    recipe: str
    max_tokens: PositiveInt = 512
    trunk: Literal["frozen", "trainable"] = "frozen"
    head: HeadSpec = HeadSpec()
    training: TrainingSpec = TrainingSpec()
    num_classes: PositiveInt | None = None
    labels: tuple[str, ...] | None = None
    normalize: bool = True
    seed: int = 0

    @model_validator(mode="before")
    @classmethod
    def _count_labels(cls, data: Any) -> Any:
        """Labels say how many classes there are."""
        if isinstance(data, dict) and data.get("labels") and data.get("num_classes") is None:
            return {**data, "num_classes": len(data["labels"])}
        return data
