"""From a recipe to a model."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

from kzoo.errors import InputError, RecipeError, did_you_mean
from kzoo.zoo.catalogue import find_recipe
from kzoo.zoo.hf_models import load_hf
from kzoo.zoo.hub_tasks import load_hub_task
from kzoo.zoo.recipe import Recipe, merged
from kzoo.zoo.sections import HeadSection

# Ready-made models of one head, with methods of their own; everything else is a kzoo.Model.
_MODELS = {
    "classify": "kzoo.models.classifier:TextClassifier",
    "rank": "kzoo.retrieval.reranker:Reranker",
    **dict.fromkeys(("embed", "contrast", "similarity"), "kzoo.retrieval.text_encoder:TextEncoder"),
    "masked_lm": "kzoo.models.mask_filler:MaskFiller",
    "causal_lm": "kzoo.models.generator:TextGenerator",
    "seq2seq_lm": "kzoo.models.generator:Seq2SeqGenerator",
}


def load(name_or_path: str | Path, **overrides: Any) -> Any:
    """Loads a zoo entry, a recipe file or a saved model.

    Args:
        name_or_path: Zoo name (`kzoo.list()`), a `.yaml` recipe, a `.keras` file, or a run folder
            of `kzoo train`; or a folder of HF transformers with a head, or of a KerasHub task (see
            `kzoo.zoo.hf_models.load_hf` and `kzoo.zoo.hub_tasks.load_hub_task`, which take
            `overrides` then).
        **overrides: Recipe keys with dots, as in `**{"head.dropout": 0.2}`, or shortcuts such as
            `num_classes`, `labels`, `adapter`, `max_tokens`, `seed`, `backbone` (a folder with
            weights), `learning_rate`, `epochs`, `pooling`. Not for saved models.

    Returns:
        A `kzoo.Model`, ready to `fit`: a `TextClassifier`, `TextEncoder`, `Reranker`, `MaskFiller`,
        `TextGenerator` or `Seq2SeqGenerator` where the recipe ends in such a head.

    Raises:
        RecipeError: Unknown name or key; the nearest one is suggested.
        WeightsError: Missing or wrong weights; the one command that helps is named.
    """
    path = Path(name_or_path).expanduser()
    if path.is_dir() and (path / "model.keras").is_file():
        path = path / "model.keras"
    if path.suffix == ".keras":
        if overrides:
            raise RecipeError(
                f"`{next(iter(overrides))}` cannot be changed in a saved model; "
                "load the zoo entry instead."
            )
        return _saved(path)
    if path.is_dir() and (path / "task.json").is_file():
        return load_hub_task(path, **overrides)
    if path.is_dir() and (path / "config.json").is_file():
        return load_hf(path, **overrides)
    recipe = find_recipe(name_or_path)
    if overrides:
        recipe = merged(recipe, overrides)
    return build_model(recipe)


def build_model(recipe: Recipe) -> Any:
    """Builds the model of a recipe, weights loaded and adapters injected."""
    from kzoo.heads.at_tokens import AtTokens
    from kzoo.heads.candidates import CandidateHead

    sections = recipe.every_head
    heads = {name: build_head(section, name, recipe) for name, section in sections.items()}
    trunk = recipe.trunk.build(recipe.seed)
    cls = model_class(next(iter(sections.values())).kind if len(sections) == 1 else "several")
    cls.check_trunk(trunk)
    # A head whose labels stand at tokens says how texts are read; others take them so too.
    leading = max(heads.values(), key=lambda h: h.self_labelled or isinstance(h, AtTokens))
    if len({isinstance(head, CandidateHead) for head in heads.values()}) > 1:
        raise RecipeError(
            f"recipe `{recipe.name}` is not valid: heads of candidates (rank, choose) stand beside "
            "others. Build the model with kzoo.Model."
        )
    inputs, states = leading.on_trunk(trunk)
    outputs = {name: head(states) for name, head in heads.items()}
    model = cls(
        inputs,
        outputs if len(outputs) > 1 else next(iter(outputs.values())),
        recipe.name.replace("-", "_"),
        training=recipe.training.build(),
        seed=recipe.seed,
        recipe=recipe.model_dump(mode="json"),
    )
    if recipe.adapters is not None:
        recipe.adapters.build(trunk)
    return model


def model_class(kind: str) -> Any:
    """The class of a model that ends in one head of a kind."""
    module, _, name = _MODELS.get(kind, "kzoo.models.model:Model").partition(":")
    return getattr(importlib.import_module(module), name)


def build_head(section: HeadSection, name: str, recipe: Recipe) -> Any:
    """A head from its section.

    Raises:
        RecipeError: An unknown kind or option; the nearest one is suggested.
    """
    from kzoo.heads import HEADS

    where = f"recipe `{recipe.name}` is not valid: "
    if section.kind not in HEADS:
        raise RecipeError(
            f"{where}`head.kind`: {section.kind!r}.{did_you_mean(section.kind, HEADS)}"
        )
    cls = HEADS.get(section.kind)
    known = _arguments(cls)
    if unknown := [key for key in section.options if key not in known]:
        raise RecipeError(
            f"{where}unknown key `head.{unknown[0]}`.{did_you_mean(unknown[0], known)}"
        )
    try:
        return cls(**{"name": name, "seed": recipe.seed, **section.options})
    except InputError as error:
        raise RecipeError(f"{where}{error}") from error


def _arguments(cls: Any) -> list[str]:
    """Names that a class and its bases take, where they pass the rest on."""
    found: list[str] = []
    for base in cls.__mro__:
        if base.__module__.startswith("keras"):
            break
        if "__init__" in vars(base):
            parameters = inspect.signature(base.__init__).parameters.values()
            found += [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    return [name for name in dict.fromkeys(found) if name != "self"]


def _saved(path: Path) -> Any:
    import keras

    if not path.is_file():
        raise RecipeError(f"`name_or_path` {str(path)!r}: there is no such file.")
    try:
        return keras.models.load_model(path)
    except Exception as error:  # Keras, zip and h5 raise whatever they meet
        reason = str(error).splitlines()[0] if str(error) else ""
        raise RecipeError(
            f"{path} cannot be loaded ({type(error).__name__}: {reason[:200]}). "
            "Is it a complete .keras file?"
        ) from error
