"""The catalogue: finds recipes and backbones, and describes them without building anything."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kzoo.adapters.config import parse_adapter
from kzoo.adapters.methods.fusion import FusionConfig
from kzoo.backbones.dims import Dims
from kzoo.backbones.source import BackboneSource
from kzoo.errors import RecipeError, did_you_mean, explain_validation
from kzoo.zoo.recipe import Recipe, parse_recipe, read_yaml

# Beside the package, in a checkout and in an installed wheel alike.
CONFIGS = Path(__file__).resolve().parents[2] / "zoo_configs"


@cache
def _recipes() -> dict[str, Recipe]:
    found = {}
    for path in sorted(CONFIGS.glob("*.yaml")):
        recipe = read_recipe(path)
        if recipe.name != path.stem:
            raise RecipeError(f"{path}: `name` must be {path.stem!r}. Received: {recipe.name!r}")
        found[recipe.name] = recipe
    if not found:
        raise RecipeError(f"No recipes in {CONFIGS}. Install kzoo again.")
    return found


@cache
def _backbones() -> dict[str, BackboneSource]:
    found = {}
    for path in sorted((CONFIGS / "backbones").glob("*.yaml")):
        try:
            source = BackboneSource(**read_yaml(path))
        except ValidationError as error:
            what = f"backbone `{path}`"
            raise RecipeError(
                explain_validation(error, what, BackboneSource.model_fields)
            ) from error
        found[source.name] = source
    return found


def list_recipes() -> list[str]:
    """Names of the zoo entries, sorted; `kzoo.list`."""
    return sorted(_recipes())


def find_recipe(name_or_path: str | Path) -> Recipe:
    """A recipe by zoo name, or from a YAML file.

    Raises:
        RecipeError: Not known; the nearest name is suggested.
    """
    text = str(name_or_path)
    if text in _recipes():
        return _recipes()[text]
    path = Path(text)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise RecipeError(f"`name_or_path` {text!r}: there is no such file.")
        return read_recipe(path)
    raise RecipeError(
        f"`name_or_path` {text!r} is no zoo entry.{did_you_mean(text, _recipes())} "
        "A path to a .yaml recipe or a .keras file works too."
    )


def read_recipe(path: Path) -> Recipe:
    """Reads one recipe file."""
    data = read_yaml(path)
    data.setdefault("name", path.stem)
    return parse_recipe(data, f"recipe `{path}`")


def find_backbone(name: str) -> BackboneSource | str:
    """A named backbone's facts, or the name itself where it is a path or a handle."""
    return _backbones().get(name, name)


def info(name_or_path: str | Path) -> dict[str, Any]:
    """The card of a zoo entry; builds nothing and imports no TensorFlow.

    Args:
        name_or_path: Zoo name or recipe file.

    Returns:
        name, task, summary, backbone, adapter, license, source, revision, sha256, lineage,
        installed, training, and by arithmetic: total_parameters and trainable_parameters (both
        without the head), head_parameters_per_class, cut_layers. Counts are None for a backbone
        that is only a path or a handle.
    """
    recipe = find_recipe(name_or_path)
    source = find_backbone(recipe.backbone)
    card: dict[str, Any] = {
        "name": recipe.name,
        "task": recipe.task,
        "summary": recipe.summary,
        "backbone": recipe.backbone,
        "layers": recipe.layers,
        "trunk": recipe.trunk,
        "adapter": recipe.adapter or _acting(recipe),
        "training": recipe.training.model_dump(),
        "license": None,
        "source": recipe.backbone,
        "revision": None,
        "sha256": {},
        "lineage": recipe.lineage,
        "installed": None,
        "total_parameters": None,
        "trainable_parameters": None,
        "head_parameters_per_class": None,
    }
    if isinstance(source, str):
        return card
    dims = source.dims
    if recipe.layers is not None:
        dims = dims.model_copy(update={"num_layers": len(recipe.layers)})
    adapter = _count_adapters(recipe, dims)
    trunk = dims.trunk_parameters
    pooling = recipe.head.pooling if recipe.head else source.pooling.mode
    unused = 0 if pooling == "pooler" else dims.pooler_parameters  # frozen, see `set_trainable`
    folder = source.package_folder()
    card |= {
        "license": source.license,
        "source": source.source,
        "revision": source.revision,
        "sha256": source.sha256,
        "lineage": [*source.lineage, *recipe.lineage],
        "installed": str(folder) if folder else None,
        "install": source.package.install if source.package else None,
        "max_tokens": recipe.max_tokens or source.max_tokens,
        "total_parameters": trunk + adapter,
        "trainable_parameters": adapter + (trunk - unused if recipe.trunk == "trainable" else 0),
        "head_parameters_per_class": dims.hidden_dim + 1
        if recipe.task == "classification"
        else None,
    }
    return card


def _acting(recipe: Recipe) -> str | None:
    """Several adapters in one line."""
    if recipe.composition is None:
        return None
    listed = ", ".join(f"{name}: {spec}" for name, spec in recipe.adapters.items())
    return f"{recipe.composition['type']}({listed})"


def _count_adapters(recipe: Recipe, dims: Dims) -> int:
    if recipe.adapter:
        return parse_adapter(recipe.adapter).count_parameters(dims)
    configs = [parse_adapter(spec) for spec in recipe.adapters.values()]
    if recipe.composition is not None and recipe.composition["type"] == "Fuse":
        configs.append(FusionConfig.of(configs, dims.places()))
    return sum(config.count_parameters(dims) for config in configs)
