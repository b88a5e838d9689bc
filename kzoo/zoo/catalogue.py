"""The catalogue: finds recipes and backbones, and describes them without building anything."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from kzoo.adapters.acting.composition import Fuse, parse_composition
from kzoo.adapters.config import parse_adapter
from kzoo.adapters.methods.fusion import FusionConfig
from kzoo.backbones.dims import Dims
from kzoo.backbones.source import CONFIGS, find_source
from kzoo.errors import RecipeError, did_you_mean
from kzoo.zoo.recipe import Recipe, parse_recipe, read_yaml
from kzoo.zoo.sections.named import NamedAdapters
from kzoo.zoo.sections.pretrained import PretrainedTrunk


def list_recipes() -> list[str]:
    """Names of the zoo entries, sorted; `kzoo.list`."""
    found = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
    if not found:
        raise RecipeError(f"No recipes in {CONFIGS}. Install kzoo again.")
    return found


@cache
def _of_the_zoo(name: str) -> Recipe:
    path = CONFIGS / f"{name}.yaml"
    recipe = read_recipe(path)
    if recipe.name != name:
        raise RecipeError(f"{path}: `name` must be {name!r}. Received: {recipe.name!r}")
    return recipe


def find_recipe(name_or_path: str | Path) -> Recipe:
    """A recipe by zoo name, or from a YAML file; reads one file.

    Raises:
        RecipeError: Not known; the nearest name is suggested.
    """
    text = str(name_or_path)
    if "/" not in text and (CONFIGS / f"{text}.yaml").is_file():
        return _of_the_zoo(text)
    path = Path(text).expanduser()
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise RecipeError(f"`name_or_path` {text!r}: there is no such file.")
        return read_recipe(path)
    raise RecipeError(
        f"`name_or_path` {text!r} is no zoo entry.{did_you_mean(text, list_recipes())} "
        "A path to a .yaml recipe or a .keras file works too."
    )


def read_recipe(path: Path) -> Recipe:
    """Reads one recipe file."""
    data = read_yaml(path)
    data.setdefault("name", path.stem)
    return parse_recipe(data, f"recipe `{path}`")


def info(name_or_path: str | Path) -> dict[str, Any]:
    """The card of a zoo entry; builds nothing and imports no TensorFlow.

    Args:
        name_or_path: Zoo name or recipe file.

    Returns:
        name, task, summary, backbone, adapter, license, source, revision, sha256, lineage,
        installed, training, and by arithmetic: total_parameters and trainable_parameters (both
        without the head), head_parameters_per_class, cut_layers. Counts are None for a backbone
        that is only a path or a handle, and for kinds of sections of other packages.
    """
    recipe = find_recipe(name_or_path)
    trunk_section: Any = recipe.trunk
    # Kinds of other packages say what they build, not what it is made of.
    pretrained = isinstance(trunk_section, PretrainedTrunk)
    source = find_source(trunk_section.source) if pretrained else trunk_section.kind
    heads = [head.model_dump() for head in recipe.every_head.values()]
    card: dict[str, Any] = {
        "name": recipe.name,
        "task": recipe.task,
        "summary": recipe.summary,
        "backbone": trunk_section.source if pretrained else trunk_section.kind,
        "layers": trunk_section.layers if pretrained else None,
        "trunk": "frozen" if getattr(trunk_section, "frozen", True) else "trainable",
        "adapter": _acting(recipe),
        "heads": heads,
        "training": recipe.training.model_dump(exclude={"kind"}),
        "license": None,
        "source": trunk_section.source if pretrained else trunk_section.kind,
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
    if trunk_section.layers is not None:
        dims = dims.model_copy(update={"num_layers": len(trunk_section.layers)})
    adapter = _count_adapters(recipe, dims)
    trunk = dims.trunk_parameters
    pooling = [head.get("pooling") or source.pooling.mode for head in heads]
    unused = 0 if "pooler" in pooling else dims.pooler_parameters  # frozen, see `set_trainable`
    folder = source.package_folder()
    card |= {
        "license": source.license,
        "source": source.source,
        "revision": source.revision,
        "sha256": source.sha256,
        "lineage": [*source.lineage, *recipe.lineage],
        "installed": str(folder) if folder else None,
        "install": source.package.install if source.package else None,
        "max_tokens": trunk_section.max_tokens or source.max_tokens,
        "total_parameters": None if adapter is None else trunk + adapter,
        "trainable_parameters": None
        if adapter is None
        else adapter + (trunk - unused if not trunk_section.frozen else 0),
        "head_parameters_per_class": dims.hidden_dim + 1
        if [head["kind"] for head in heads] in (["classify"], ["multilabel"])
        else None,
    }
    return card


def _acting(recipe: Recipe) -> str | None:
    """The adapters in one line."""
    if recipe.adapters is None:
        return None
    section: Any = recipe.adapters
    if not isinstance(section, NamedAdapters):
        return str(section.kind)
    if section.composition is None:
        return str(next(iter(section.add.values())))
    listed = ", ".join(f"{name}: {spec}" for name, spec in section.add.items())
    return f"{parse_composition(section.composition).type}({listed})"  # type: ignore[union-attr]


def _count_adapters(recipe: Recipe, dims: Dims) -> int | None:
    """Parameters of the adapters; None for a kind whose adapters are known when it is built."""
    if recipe.adapters is None:
        return 0
    section = recipe.adapters
    if not isinstance(section, NamedAdapters):
        return None
    configs = [parse_adapter(spec) for spec in section.add.values()]
    if section.composition is not None:
        block = parse_composition(section.composition)
        if isinstance(block, Fuse):
            configs.append(FusionConfig.of(configs, dims.places()))
    return sum(config.count_parameters(dims) for config in configs)
