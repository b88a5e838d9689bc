"""From a recipe to a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kzoo.backbones.loading import load_trunk
from kzoo.backbones.source import Pooling
from kzoo.backbones.trunk import cut
from kzoo.errors import RecipeError
from kzoo.zoo.catalogue import find_backbone, find_recipe
from kzoo.zoo.recipe import Recipe, merged


def load(name_or_path: str | Path, **overrides: Any) -> Any:
    """Loads a zoo entry, a recipe file or a saved model.

    Args:
        name_or_path: Zoo name (`kzoo.list()`), a `.yaml` recipe, a `.keras` file, or a run folder
            of `kzoo train`.
        **overrides: Recipe keys, such as `num_classes`, `labels`, `adapter`, `max_tokens`, `seed`,
            `backbone` (a folder with weights), `learning_rate`, `epochs`, `pooling`. Not for saved
            models.

    Returns:
        A `kzoo.TextClassifier` or `kzoo.TextEncoder`, ready to `fit`.

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
    from kzoo.models.classifier import TextClassifier
    from kzoo.retrieval.text_encoder import TextEncoder

    source = find_backbone(recipe.backbone)
    trunk = load_trunk(source)
    pooling = Pooling() if isinstance(source, str) else source.pooling
    longest = trunk.backbone.max_sequence_length if isinstance(source, str) else source.max_tokens
    if recipe.max_tokens is not None and recipe.max_tokens > trunk.backbone.max_sequence_length:
        raise RecipeError(
            f"`max_tokens` must be at most {trunk.backbone.max_sequence_length}, the positions of "
            f"the trunk. Received: {recipe.max_tokens}"
        )
    if recipe.layers is not None:
        trunk.backbone = cut(trunk.backbone, trunk.architecture, recipe.layers)
    spec = recipe.model_spec(longest, pooling.mode, pooling.normalize)
    model_class = TextClassifier if recipe.task == "classification" else TextEncoder
    model = model_class(trunk, spec)
    if recipe.adapter is not None:
        model.adapters.add("default", recipe.adapter)
    return model


def _saved(path: Path) -> Any:
    import keras

    # Registers the classes that a .keras file may name.
    import kzoo.distillation.distiller
    import kzoo.models.classifier
    import kzoo.models.generator
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
