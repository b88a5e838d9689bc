"""AdapterHub's setups: a composition, and the folders of its adapters and fusions."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from kzoo.adapters.acting.composition import Block, Fuse, Stack, parse_composition
from kzoo.adapters.config import AdapterConfig
from kzoo.adapters.methods.bottleneck import BottleneckConfig
from kzoo.adapters.methods.fusion import FusionConfig
from kzoo.errors import AdapterError
from kzoo.interop.adapterhub.folders import prefix_of
from kzoo.interop.adapterhub.tensors import FUSION, HubModules, rows_at
from kzoo.interop.files import InteropWarning, Tensors, read_json, read_tensors
from kzoo.interop.layouts import Layout
from kzoo.interop.models import layout_of_model

if TYPE_CHECKING:  # needs Keras
    from kzoo.adapters.manager import Adapters

SETUP_FILE = "adapter_setup.json"
FUSION_FILE = "adapter_fusion_config.json"
FUSION_WEIGHTS = ("model_adapter_fusion.safetensors", "pytorch_model_adapter_fusion.bin")

# Blocks whose options both have -> the library's name: ours.
_OPTIONS: dict[str, dict[str, str]] = {
    "Stack": {},
    "Fuse": {},
    "Parallel": {},
    "Split": {"splits": "splits"},
    "BatchSplit": {"batch_sizes": "batch_sizes"},
    "Average": {"weights": "weights"},
}


class FusionFacts(NamedTuple):
    """What a fusion's configuration says.

    Attributes:
        name: Its name, part of the keys.
        adapters: The fused adapters.
        options: Options of kzoo's `fusion`.
    """

    name: str
    adapters: tuple[str, ...]
    options: dict[str, Any]


def read_setup(path: str | Path) -> str | Block:
    """The composition that a setup's folder describes.

    Raises:
        AdapterError: A block that kzoo does not have (MultiTask), or no such file.
    """
    facts = read_json(Path(path).expanduser() / SETUP_FILE)
    if facts.get("head_setup"):
        warnings.warn(
            f"{str(path)!r}: the composition of heads is left aside.", InteropWarning, stacklevel=2
        )
    return parse_composition(_block(facts.get("adapter_setup")))


def _block(data: Any) -> Any:
    if not isinstance(data, Mapping) or not data.get("children"):
        raise AdapterError(f"A composition of AdapterHub has `children`. Received: {data!r:.80}")
    if data.get("type") == "single":
        return str(data["children"][0])
    kind, options = data.get("type"), data.get("kwargs") or {}
    if kind not in _OPTIONS:
        raise AdapterError(f"The composition {kind!r} cannot be read: {', '.join(_OPTIONS)} can.")
    if kind == "Average":  # the library has divided by the sum already, if it was to
        warnings.warn(
            f"Average: the library divides what it computes by {len(data['children'])} once more, "
            "residual included; kzoo computes the weighted mean.",
            InteropWarning,
            stacklevel=2,
        )
        options = {**options, "normalize": False}
    children = [_block(child) for child in data["children"]]
    return {"type": kind, "children": children, **options}


def fusion_facts(folder: Path) -> FusionFacts:
    """Reads `adapter_fusion_config.json`.

    Raises:
        AdapterError: Options that change what is computed in a way that kzoo does not have.
    """
    facts = read_json(folder / FUSION_FILE)
    raw = facts.get("config") or {}
    for key in ("query_before_ln", "residual_before", "temperature"):
        if raw.get(key):
            raise AdapterError(f"{folder}: `{key}` of a fusion cannot be read: kzoo has it not.")
    options: dict[str, Any] = {key: bool(raw.get(key, True)) for key in ("query", "key", "value")}
    options |= {
        "regularization": 0.01 if raw.get("regularization") else 0.0,
        "dropout": raw.get("dropout_prob") or 0.0,
    }
    name = str(facts.get("name"))
    names = facts.get("adapter_names") or name
    return FusionFacts(name, tuple(names.split(",") if isinstance(names, str) else names), options)


def fusion_tensors(folder: Path, name: str, config: FusionConfig, layout: Layout) -> Tensors:
    """Reads the tensors of a fusion.

    Args:
        folder: Its folder.
        name: Its name there.
        config: Its configuration here, with keys of places as `targets`.
        layout: All modules of the model.

    Returns:
        Key of the variable -> array.

    Raises:
        AdapterError: Names the first missing and unexpected keys.
    """
    tensors = read_tensors(folder, FUSION_WEIGHTS)
    modules = HubModules(layout, name)
    links = [
        link for key in config.targets for link in rows_at(FUSION, config, modules.fusion(key), key)
    ]
    start = prefix_of(tensors, [link.theirs[0] for link in links])
    theirs = {start + link.theirs[0]: link for link in links}
    problems = []
    if missing := [key for key in theirs if key not in tensors]:
        problems.append(f"missing {missing[:3]} ({len(missing)} in all)")
    if unexpected := [key for key in tensors if key not in theirs]:
        problems.append(f"unexpected {unexpected[:3]} ({len(unexpected)} in all)")
    if problems:
        raise AdapterError(f"{str(folder)!r} does not fit: " + "; ".join(problems))
    return {
        link.ours[0]: np.ascontiguousarray(link.read([tensors[key]])[0])
        for key, link in theirs.items()
    }


def load_setup(
    adapters: Adapters, path: str | Path, activate: bool = True, with_head: bool = False
) -> str | Block:
    """Adds all of a setup, or nothing; `model.adapters.load_adapterhub_setup` says how."""
    folder = Path(path).expanduser()
    composition = read_setup(folder)
    added: list[str] = []
    layout = layout_of_model(adapters.host)
    try:
        for name in dict.fromkeys(_leaves(composition)):
            added.append(
                adapters.load_adapterhub(folder / name, name, activate=False, with_head=with_head)
            )
        _check_order(composition, adapters.configs)
        for fuse in _fuses(composition):
            own, facts = _fusion_of(folder, fuse.children)
            added.append(adapters.add_fusion(*facts.adapters, name=fuse.fusion, **facts.options))
            config = adapters.configs[added[-1]]
            assert isinstance(config, FusionConfig)
            tensors = fusion_tensors(own, facts.name, config, layout)
            _assign(adapters.variables(added[-1]), tensors, str(own))
    except BaseException:
        for name in reversed(added):
            adapters.delete(name)
        raise
    if activate:
        adapters.activate(composition)
    return composition


def _leaves(composition: str | Block) -> list[str]:
    if not isinstance(composition, Block):
        return [composition]
    return [name for child in composition.children for name in _leaves(child)]


def _check_order(composition: str | Block, configs: Mapping[str, AdapterConfig]) -> None:
    """The library holds all bottlenecks of a part in one place; here there are two.

    Raises:
        AdapterError: A stack in which they would act in another order.
    """
    if not isinstance(composition, Block):
        return
    for child in composition.children:
        _check_order(child, configs)
    if not isinstance(composition, Stack):
        return
    parts = [part for name in _leaves(composition) for part in configs[name].parts]
    forms = [part.original_ln_before for part in parts if isinstance(part, BottleneckConfig)]
    if forms != sorted(forms):
        raise AdapterError(
            "The stack has an adapter with `original_ln_before` below one without it. They act in "
            "the opposite order here, which is another function."
        )


def _fuses(composition: str | Block) -> list[Fuse]:
    if not isinstance(composition, Block):
        return []
    own = [composition] if isinstance(composition, Fuse) else []
    return own + [fuse for child in composition.children for fuse in _fuses(child)]


def _fusion_of(folder: Path, adapters: tuple[str, ...]) -> tuple[Path, FusionFacts]:
    """The folder of the fusion of these adapters, whatever it is called."""
    for path in sorted(folder.glob(f"*/{FUSION_FILE}")):
        facts = fusion_facts(path.parent)
        if facts.adapters == adapters:
            return path.parent, facts
    raise AdapterError(f"`path` {str(folder)!r} has no fusion of {', '.join(adapters)}.")


def _assign(variables: Mapping[str, Any], tensors: Tensors, where: str) -> None:
    for key, variable in variables.items():
        if tensors[key].shape != tuple(variable.shape):
            raise AdapterError(
                f"{where!r} does not fit: {key} would be {tensors[key].shape} instead of "
                f"{tuple(variable.shape)}"
            )
    for key, variable in variables.items():
        variable.assign(tensors[key])
