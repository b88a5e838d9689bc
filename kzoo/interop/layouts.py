"""Where the places of a model are in HF's model: keys of places <-> paths of torch modules."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from kzoo.backbones.dims import Dims
from kzoo.backbones.families import FAMILIES
from kzoo.backbones.hf_format import HFClasses
from kzoo.backbones.places import Place
from kzoo.errors import AdapterError, did_you_mean


@dataclass(frozen=True)
class Module:
    """One torch module.

    Args:
        path: Its path without the model's prefix.
        keys: Keys of the places it is, in the order of its rows.
        kind: What it is: its adapters have other tensor names in an embedding.
    """

    path: str
    keys: tuple[str, ...]
    kind: str  # linear, embedding or norm


def hf_classes(family: str) -> HFClasses:
    """HF's classes of a family.

    Raises:
        AdapterError: PEFT's files of this family are not known.
    """
    found = FAMILIES.get(family).classes if family in FAMILIES else None
    if found is None:
        known = [name for name, own in FAMILIES.items() if own.classes is not None]
        raise AdapterError(
            f"PEFT's files of the family {family!r} are not supported.{did_you_mean(family, known)}"
        )
    return found


def kind_of(name: str) -> str:
    """Kind of the module at a place of this name."""
    if name.endswith("_norm"):
        return "norm"
    return "embedding" if name.endswith("embedding") else "linear"


@dataclass(frozen=True)
class Layout:
    """The torch modules of one model, and the places they are.

    Args:
        modules: Path without prefix -> module, from the input upwards.
        family: Name of the family, or None for a Keras model that is no backbone.
        places: The places themselves, without layers where only a file is known.
        complete: Whether these are all modules; a file alone shows only those it adapts.
        dims: Sizes of the trunk, where they are known.
    """

    modules: Mapping[str, Module]
    family: str | None = None
    places: Sequence[Place] = ()
    complete: bool = True
    dims: Dims | None = None
    _paths: Mapping[str, str] = field(default_factory=dict)  # key of a place -> path

    @property
    def hf(self) -> HFClasses | None:
        """HF's classes of the family."""
        return hf_classes(self.family) if self.family is not None else None

    @property
    def conv1d(self) -> bool:
        """Whether the linear modules are HF's `Conv1D`."""
        return self.family is not None and FAMILIES.get(self.family).names.conv1d

    def known(self, keys: Sequence[str]) -> tuple[Sequence[Place], bool]:
        """The places that are known, at least these, and whether they are all."""
        if self.places:
            return self.places, self.complete
        return [Place(key, key, key, 0, 0) for key in keys], False

    def path_of(self, key: str) -> str:
        """Path of the module that a place is.

        Raises:
            AdapterError: PEFT has no name for this place.
        """
        if key not in self._paths:
            raise AdapterError(
                f"PEFT has no module for `{key}` in the family {self.family!r}."
                f"{did_you_mean(key, self._paths)}"
            )
        return self._paths[key]

    def split(self, paths: Iterable[str]) -> tuple[str, list[str]]:
        """Takes the model's prefix off the paths of a file.

        Returns:
            The prefix, with its dot, and the paths of modules here. Paths that are no modules of
            this layout come back whole.
        """
        paths = list(paths)
        votes: dict[str, int] = {}
        for path in paths:
            for start in (0, *(match.end() for match in re.finditer(r"\.", path))):
                if path[start:] in self.modules:
                    votes[path[:start]] = votes.get(path[:start], 0) + 1
                    break
        prefix = max(votes, key=lambda p: votes[p], default="")
        return prefix, [
            path.removeprefix(prefix)
            if path.startswith(prefix) and path.removeprefix(prefix) in self.modules
            else path
            for path in paths
        ]


def layout_of(places: Sequence[Place], family: str | None, dims: Dims | None = None) -> Layout:
    """The layout of a model.

    Args:
        places: All places of the model.
        family: Name of its family; None makes every place a module of its own key.
        dims: Sizes of the trunk; prompts need them.

    Raises:
        AdapterError: The family has no HF names here.
    """
    if family is None:
        modules = {
            place.key: Module(place.key, (place.key,), _kind_of_layer(place))
            for place in places
            if place.method == "call"
        }
        return _layout(modules, None, places, True)
    keys = {place.key for place in places}
    gated = any(place.name == "ffn_gate" for place in places)
    paths = {key: path for key, path in _paths(family, _blocks(keys), gated) if key in keys}
    return _layout(_grouped(paths), family, places, True, dims)


def layout_of_file(family: str, paths: Iterable[str]) -> Layout:
    """The layout of a family with as many blocks as the module paths of a file show."""
    hf_classes(family)
    paths = list(paths)
    counts = []
    row = FAMILIES.get(family)
    for template in row.names.blocks:
        pattern = re.compile(r"(?:^|\.)" + re.escape(template).replace(r"\{i\}", r"(\d+)") + r"\.")
        found = [int(match[1]) for path in paths if (match := pattern.search(path))]
        counts.append(max(found, default=-1) + 1)
    gated = row.gated or any(path.endswith((".wi_0", ".wi_1")) for path in paths)
    places = [
        Place(spot.key, spot.site, spot.name, 0, 0, block=spot.block, method=spot.method)
        for spot in row.spots(counts, gated)
    ]
    names = {stack.name: count for stack, count in zip(row.stacks, counts, strict=True)}
    return _layout(_grouped(dict(_paths(family, names, gated))), family, places, False)


def _blocks(keys: Iterable[str]) -> dict[str, int]:
    """Number of blocks of each stack."""
    counts: dict[str, int] = {}
    for key in keys:
        stack, _, rest = key.partition(".")
        number, _, name = rest.partition(".")
        if name:
            counts[stack] = max(counts.get(stack, 0), int(number) + 1)
    return counts


def _paths(family: str, counts: Mapping[str, int], gated: bool) -> Iterator[tuple[str, str]]:
    """Key of a place and path of its module, for every place that is one."""
    hf_classes(family)
    row = FAMILIES.get(family)
    names = row.names
    for spot in row.spots([counts.get(stack.name, 0) for stack in row.stacks], gated):
        attribute, _, method = spot.path.partition(":")
        if method or spot.name in ("attention", "cross_attention", "block"):
            continue
        if spot.stack is None:
            module = names.pooler if spot.name == "pooler" else names.outside.get(attribute)
            # Encoder and decoder call the table by other names, where an adapter is not.
            if module is not None and module != "shared":
                yield spot.key, module
            continue
        sites = names.sites[spot.stack]
        module = sites.get(spot.name) or sites.get(attribute)
        if module is not None:
            block = names.blocks[spot.stack].format(i=spot.index)
            yield spot.key, f"{block}.{names.module(module, gated)}"


def _grouped(paths: Mapping[str, str]) -> dict[str, Module]:
    keys: dict[str, list[str]] = {}
    for key, path in paths.items():
        keys.setdefault(path, []).append(key)
    return {
        path: Module(path, tuple(found), kind_of(found[0].rpartition(".")[2]))
        for path, found in keys.items()
    }


def _layout(
    modules: Mapping[str, Module],
    family: str | None,
    places: Sequence[Place],
    complete: bool,
    dims: Dims | None = None,
) -> Layout:
    paths = {key: module.path for module in modules.values() for key in module.keys}
    return Layout(modules, family, places, complete, dims, paths)


def _kind_of_layer(place: Place) -> str:
    if hasattr(place.layer, "embeddings"):
        return "embedding"
    return "linear" if hasattr(place.layer, "kernel") else "norm"
