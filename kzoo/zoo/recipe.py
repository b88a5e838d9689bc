"""The schema of a zoo entry, version 2: sections with a `kind` each, and overrides of them."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    field_validator,
)

from kzoo.errors import RecipeError, did_you_mean, explain_validation
from kzoo.registry import Registry
from kzoo.training.settings import Training
from kzoo.zoo.sections import HeadSection, Section

#: Section kinds; what a kind means is said by its class, see `kzoo.zoo.sections`.
SECTIONS: Registry[type[Section]] = Registry(
    "recipe-kinds", "kzoo.zoo.sections", singular="kind", error=RecipeError
)
_DEFAULT_KINDS = {"trunk": "pretrained", "adapters": "named", "training": "fit"}
# What a head is for, in words that people use; other kinds stand for themselves.
_TASKS = {
    "classify": "classification",
    "multilabel": "multi-label",
    "ordinal": "rating",
    "regress": "regression",
    "tag": "tagging",
    "span": "extractive QA",
    "rank": "ranking",
    "choose": "multiple choice",
    **dict.fromkeys(("embed", "contrast", "similarity"), "embedding"),
    "masked_lm": "masked language modelling",
    "causal_lm": "generation",
    "seq2seq_lm": "text2text",
}
_HEAD_KEYS = (
    *("num_classes", "labels", "pooling", "dropout", "normalize", "num_targets"),
    *("loss", "gamma", "beta", "label_smoothing", "scheme", "crf"),
    *("k", "margin", "relevant", "hidden"),
    *("columns", "scale", "symmetric", "distance", "sizes", "highest"),
)
#: Plain keys of overrides, and where they lead.
SHORTCUTS = {
    "backbone": "trunk.source",
    "layers": "trunk.layers",
    "max_tokens": "trunk.max_tokens",
    "frozen": "trunk.frozen",
    "adapter": "adapters",
    "composition": "adapters.composition",
    **{key: f"training.{key}" for key in Training.model_fields},
    **{key: f"head.{key}" for key in _HEAD_KEYS},
}


class Recipe(BaseModel):
    """One zoo entry: what is built, and how `fit` trains it by default.

    Args:
        version: Of this schema.
        name: Name of the entry.
        summary: One line for people.
        trunk: The pretrained part; kind `pretrained`, or a source alone.
        adapters: What is added to it; kind `named`, or one adapter such as `lora[r=8]`.
        head: How the model ends; `kind` is one of `kzoo.heads.HEADS`, the rest its arguments.
        heads: Output name -> head, instead of `head`.
        training: Defaults of `fit`; kind `fit`.
        seed: Decides initial values, dropout and data order.
        lineage: What the entry adds to the backbone, for the card.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[2]
    name: str
    summary: str = ""
    trunk: SerializeAsAny[Section]
    adapters: SerializeAsAny[Section] | None = None
    head: HeadSection | None = None
    heads: dict[str, HeadSection] = {}
    training: SerializeAsAny[Section] = Field(None, validate_default=True)  # type: ignore
    seed: int = 0
    lineage: list[str] = []

    @field_validator("trunk", "adapters", "training", mode="before")
    @classmethod
    def _section(cls, value: Any, info: Any) -> Any:
        name = str(info.field_name)
        if isinstance(value, Section) or (value is None and name == "adapters"):
            return value
        if value is None and name == "training":
            value = {}
        if isinstance(value, str):
            value = {"source": value} if name == "trunk" else {"add": {"default": value}}
        if name == "adapters" and isinstance(value, Mapping) and "method" in value:
            value = {"add": {"default": dict(value)}}  # one adapter, as `parse_adapter` reads it
        if not isinstance(value, Mapping):
            raise ValueError(f"must be a mapping with a `kind`. Received: {value!r}")
        options = dict(value)
        kind = str(options.pop("kind", _DEFAULT_KINDS[name]))
        found = SECTIONS.get(kind) if kind in SECTIONS else None
        if found is None or found.section != name:
            fitting = [k for k, section in SECTIONS.items() if section.section == name]
            raise ValueError(f"has no kind {kind!r}.{did_you_mean(kind, fitting)}")
        return found(kind=kind, **options)

    def model_post_init(self, context: object) -> None:
        """A model ends in one head or several."""
        if (self.head is None) == (not self.heads):
            raise ValueError("give `head`, or several as `heads`")

    @property
    def every_head(self) -> dict[str, HeadSection]:
        """Output name -> head."""
        return {"head": self.head} if self.head is not None else dict(self.heads)

    @property
    def task(self) -> str:
        """What the model is for, in a word."""
        kinds = [head.kind for head in self.every_head.values()]
        return _TASKS.get(kinds[0], kinds[0]) if len(kinds) == 1 else "multi-task"


def parse_recipe(data: Mapping[str, Any], where: str) -> Recipe:
    """Validates recipe data.

    Raises:
        RecipeError: An unknown key (with the nearest valid one), or a value that does not fit.
    """
    if "version" not in data:
        raise RecipeError(
            f"{where} has no `version`. Recipes have `version: 2` and the sections trunk, "
            "adapters, head and training (docs/recipes.md); kzoo reads no version 1."
        )
    try:
        return Recipe(**data)
    except ValidationError as error:
        known = {*Recipe.model_fields, *SHORTCUTS}
        for name in ("trunk", "adapters", "training"):
            known |= set(SECTIONS.get(_DEFAULT_KINDS[name]).model_fields)
        raise RecipeError(explain_validation(error, where, known)) from error


class _Loader(yaml.SafeLoader):
    """YAML as its specification has it (3.2.1.3): no key stands twice in a mapping."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for number, (key, _) in enumerate(node.value):
            if key.value in keys[:number] and key.value != "<<":
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands there twice", key.start_mark
                )
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """Reads a YAML mapping.

    Raises:
        RecipeError: Not UTF-8, not YAML, a key twice, or no mapping; the line is named.
    """
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), _Loader)
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
    """A recipe with some values replaced.

    Args:
        recipe: The zoo entry.
        overrides: Keys with dots (`head.dropout`), whole sections, or plain shortcuts where they
            are unambiguous: `num_classes`, `labels`, `pooling`, `dropout`, `max_tokens`,
            `backbone`, `layers`, `adapter`, `learning_rate`, `epochs`, ...

    Raises:
        RecipeError: An unknown key, or a value that does not fit.
    """
    data = recipe.model_dump()
    for key, value in overrides.items():
        path = SHORTCUTS.get(key, key).split(".")
        if path[0] not in Recipe.model_fields:
            known = {*Recipe.model_fields, *SHORTCUTS}
            raise RecipeError(
                f"recipe `{recipe.name}` with overrides is not valid: unknown key `{key}`."
                f"{did_you_mean(key, known)}"
            )
        if path[0] == "head" and recipe.head is None:
            raise RecipeError(
                f"`{key}` is ambiguous: recipe `{recipe.name}` has the heads "
                f"{', '.join(recipe.heads)}. Name one, as in `heads.{next(iter(recipe.heads))}."
                f"{path[-1]}`."
            )
        _put(data, path, value)
    return parse_recipe(data, f"recipe `{recipe.name}` with overrides")


def _put(data: dict[str, Any], path: list[str], value: Any) -> None:
    """Replaces the value at a path; a mapping in place of a section changes what it names."""
    *outer, last = path
    for key in outer:
        inner = data.get(key)
        data[key] = inner if isinstance(inner, dict) else {}
        data = data[key]
    before = data.get(last)
    kind = value.get("kind") if isinstance(value, Mapping) else None
    same = isinstance(before, dict) and kind in (None, before.get("kind"))
    if isinstance(value, Mapping) and same and last not in ("add", "composition", "adapters"):
        data[last] = {**before, **value}  # type: ignore[dict-item]
    else:
        data[last] = deepcopy(value)
