"""The schema of a zoo entry."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from kzoo.adapters.composition import Block, Fuse, parse_composition
from kzoo.adapters.config import parse_adapter
from kzoo.errors import AdapterError, RecipeError, explain_validation
from kzoo.models.spec import HeadSpec, ModelSpec, TrainingSpec


class Recipe(BaseModel):
    """One zoo entry: what is built, and how `fit` trains it by default.

    Args:
        name: Name of the entry.
        task: `classification`, `embedding`, `generation` (a causal language model) or
            `text2text` (an encoder-decoder).
        summary: One line for people.
        backbone: Name of a backbone file, a directory, or a `hf://`, `kaggle://` or KerasHub
            preset handle.
        layers: Transformer blocks to keep, rising; null keeps all.
        trunk: `frozen` or `trainable`.
        adapter: Such as `pfeiffer[reduction_factor=16]`; null for none. Several are a mapping of
            names to such strings, `adapters`, with a `composition`.
        adapters: Name -> adapter, instead of `adapter`.
        composition: How they act together, such as `{type: Fuse, children: [a, b]}`.
        max_tokens: Longest input; null takes the backbone's.
        head: Pooling and dropout of the classification head; null pooling takes the backbone's.
        normalize: Embedding only: whether vectors have length 1; null takes the backbone's.
        training: Defaults of `fit`.
        num_classes: Output classes; null until the first `fit` counts them.
        labels: Names of the classes.
        seed: Decides initial values, dropout and data order.
        lineage: What the entry adds to the backbone, for the card.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    task: Literal["classification", "embedding", "generation", "text2text"]
    summary: str = ""
    backbone: str
    layers: list[int] | None = None
    trunk: Literal["frozen", "trainable"] = "frozen"
    adapter: str | dict[str, Any] | None = None
    adapters: dict[str, str | dict[str, Any]] = {}
    composition: dict[str, Any] | None = None
    max_tokens: PositiveInt | None = None
    head: HeadSpec | None = None
    normalize: bool | None = None
    training: TrainingSpec = TrainingSpec()
    num_classes: PositiveInt | None = None
    labels: tuple[str, ...] | None = None
    seed: int = 0
    lineage: list[str] = []

    @field_validator("adapter")
    @classmethod
    def _parses(cls, value: Any) -> Any:
        if value is not None:
            try:
                parse_adapter(value)
            except AdapterError as error:
                raise ValueError(str(error)) from error
        return value

    @model_validator(mode="after")
    def _acting(self) -> Self:
        """What a composition names has to be there."""
        try:
            for spec in self.adapters.values():
                parse_adapter(spec)
            block = parse_composition(self.composition) if self.composition else None
        except AdapterError as error:
            raise ValueError(str(error)) from error
        if self.adapter is not None and self.adapters:
            raise ValueError("`adapter` and `adapters` exclude each other")
        if bool(self.adapters) != (block is not None):
            raise ValueError("`adapters` need a `composition`, and it needs them")
        if isinstance(block, Block):
            named = set(block.names()) - ({block.fusion} if isinstance(block, Fuse) else set())
            if named != set(self.adapters):
                raise ValueError(f"`composition` names {sorted(named)}, `adapters` others")
        return self

    def model_spec(self, max_tokens: int, pooling: str, normalize: bool) -> ModelSpec:
        """The model's data; the arguments are the backbone's facts, used where this is silent."""
        return ModelSpec(
            recipe=self.name,
            max_tokens=self.max_tokens or max_tokens,
            trunk=self.trunk,
            head=self.head or HeadSpec(pooling=pooling),  # type: ignore[arg-type]
            training=self.training,
            num_classes=self.num_classes,
            labels=self.labels,
            normalize=normalize if self.normalize is None else self.normalize,
            seed=self.seed,
        )


def parse_recipe(data: Mapping[str, Any], where: str) -> Recipe:
    """Validates recipe data.

    Raises:
        RecipeError: An unknown key (with the nearest valid one), or a value that does not fit.
    """
    try:
        return Recipe(**data)
    except ValidationError as error:
        known = [*Recipe.model_fields, *HeadSpec.model_fields, *TrainingSpec.model_fields]
        raise RecipeError(explain_validation(error, where, known)) from error


def read_yaml(path: Path) -> dict[str, Any]:
    """Reads a YAML mapping.

    Raises:
        RecipeError: Not UTF-8, not YAML, or no mapping; the line is named.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} is not UTF-8 text: byte {error.start}") from error
    except OSError as error:
        raise RecipeError(f"{path} cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or "unreadable"
        raise RecipeError(f"{path} is not YAML{line}: {reason}") from error
    if not isinstance(data, dict):
        raise RecipeError(f"{path} must hold a mapping. Received: {type(data).__name__}")
    return data


def merged(recipe: Recipe, overrides: Mapping[str, Any]) -> Recipe:
    """A recipe with some values replaced; `learning_rate` and the like reach into `training`.

    Args:
        recipe: The zoo entry.
        overrides: Recipe keys, or keys of `head` and `training`.

    Raises:
        RecipeError: An unknown key, or a value that does not fit.
    """
    data = recipe.model_dump()
    for key, value in overrides.items():
        if key in TrainingSpec.model_fields:
            data["training"] = {**(data["training"] or {}), key: value}
        elif key in HeadSpec.model_fields:
            data["head"] = {**(data["head"] or {}), key: value}
        elif isinstance(value, Mapping) and isinstance(data.get(key), dict) and key != "adapter":
            data[key] = {**data[key], **value}
        else:
            data[key] = value
    if overrides.get("labels") is not None:
        data["labels"] = tuple(overrides["labels"])
        data["num_classes"] = overrides.get("num_classes") or len(data["labels"])
        if data["num_classes"] != len(data["labels"]):
            raise RecipeError(
                f"`num_classes` is {data['num_classes']}, but `labels` has {len(data['labels'])} "
                "names."
            )
    return parse_recipe(data, f"recipe `{recipe.name}` with overrides")
