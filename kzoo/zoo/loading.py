"""From a recipe to a model."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from kzoo.adapters.composition import Fuse, parse_composition
from kzoo.backbones.dims import Dims
from kzoo.backbones.loading import load_trunk
from kzoo.backbones.source import Pooling
from kzoo.backbones.trunk import cut
from kzoo.errors import RecipeError
from kzoo.zoo.catalogue import find_backbone, find_recipe
from kzoo.zoo.recipe import Recipe, merged

_USUAL_LENGTH = 2048  # of models whose positions have no table, and no end


def load(name_or_path: str | Path, **overrides: Any) -> Any:
    """Loads a zoo entry, a recipe file or a saved model.

    Args:
        name_or_path: Zoo name (`kzoo.list()`), a `.yaml` recipe, a `.keras` file, or a run folder
            of `kzoo train`.
        **overrides: Recipe keys, such as `num_classes`, `labels`, `adapter`, `max_tokens`, `seed`,
            `backbone` (a folder with weights), `learning_rate`, `epochs`, `pooling`. Not for saved
            models.

    Returns:
        A `kzoo.TextClassifier`, `kzoo.TextEncoder`, `kzoo.TextGenerator` or
        `kzoo.Seq2SeqGenerator`, ready to `fit`.

    Raises:
        RecipeError: Unknown name or key; the nearest one is suggested.
        WeightsError: Missing or wrong weights; the one command that helps is named.
    """
    path = Path(name_or_path)
    if path.is_dir() and (path / "model.keras").is_file():
        path = path / "model.keras"
    if path.suffix == ".keras":
        if overrides:
            raise RecipeError(
                f"`{next(iter(overrides))}` cannot be changed in a saved model; "
                "load the zoo entry instead."
            )
        return _saved(path)
    recipe = find_recipe(name_or_path)
    if overrides:
        recipe = merged(recipe, overrides)
    return build_model(recipe)


def build_model(recipe: Recipe) -> Any:
    """Builds the model of a recipe, weights loaded and adapter injected."""
    source = find_backbone(recipe.backbone)
    trunk = load_trunk(source)
    pooling = Pooling() if isinstance(source, str) else source.pooling
    positions = Dims.of(trunk.backbone).max_sequence_length  # 0: no table of positions
    longest = (positions or _USUAL_LENGTH) if isinstance(source, str) else source.max_tokens
    if recipe.max_tokens is not None and 0 < positions < recipe.max_tokens:
        raise RecipeError(
            f"`max_tokens` must be at most {positions}, the positions of the trunk. "
            f"Received: {recipe.max_tokens}"
        )
    if recipe.layers is not None:
        trunk.backbone = cut(trunk.backbone, trunk.architecture, recipe.layers)
    spec = recipe.model_spec(longest, pooling.mode, pooling.normalize)
    model = _model_class(recipe.task)(trunk, spec)
    if recipe.adapter is not None:
        model.adapters.add("default", recipe.adapter)
    for name, adapter in recipe.adapters.items():
        model.adapters.add(name, adapter, activate=False)
    if recipe.composition is not None:
        block = parse_composition(recipe.composition)
        if isinstance(block, Fuse):
            model.adapters.add_fusion(*block.children, name=block.fusion)
        model.adapters.activate(block)
    return model


def _model_class(task: str) -> Any:
    where = {
        "classification": "kzoo.models.classifier:TextClassifier",
        "embedding": "kzoo.retrieval.text_encoder:TextEncoder",
        "generation": "kzoo.models.generator:TextGenerator",
        "text2text": "kzoo.models.seq2seq:Seq2SeqGenerator",
    }
    module, _, name = where[task].partition(":")
    return getattr(importlib.import_module(module), name)


def _saved(path: Path) -> Any:
    import keras

    # Registers the classes that a .keras file may name.
    import kzoo.distillation.distiller
    import kzoo.models.classifier
    import kzoo.models.generator
    import kzoo.models.seq2seq
    import kzoo.retrieval.text_encoder  # noqa: F401

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
