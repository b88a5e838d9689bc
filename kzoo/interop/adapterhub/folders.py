"""AdapterHub's folders to kzoo's configurations and tensors, and back."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kzoo.adapters.config import AdapterConfig, parse_adapter
from kzoo.adapters.files import CONFIG_FILE
from kzoo.adapters.methods.reft import ReftConfig
from kzoo.backbones.dims import Dims
from kzoo.backbones.families import FAMILIES
from kzoo.errors import AdapterError
from kzoo.interop.adapterhub import heads
from kzoo.interop.adapterhub.links import links
from kzoo.interop.adapterhub.methods import read_method, write_method
from kzoo.interop.adapterhub.reft import is_orthonormal, subtracting
from kzoo.interop.adapterhub.tensors import HubModules, Link, hub_names
from kzoo.interop.adapterhub.words import Raw, completed, modern
from kzoo.interop.files import InteropWarning, Tensors, read_json, read_tensors, write_folder
from kzoo.interop.layouts import Layout, layout_of
from kzoo.interop.models import Imported

VERSION = "adapters.1.3.0"  # whose format is written
WEIGHT_FILES = ("adapter.safetensors", "pytorch_adapter.bin")
OLD_NAMES = {
    "attention_text_task_adapters": "adapters",
    "attention_text_lang_adapters": "adapters",
    "layer_text_task_adapters": "adapters",
    "layer_text_lang_adapters": "adapters",
    "invertible_lang_adapters": "invertible_adapters",
}


def read_adapterhub(
    path: str | Path,
    dims: Dims | None = None,
    layout: Layout | None = None,
    direft: bool | None = None,
) -> Imported:
    """Reads a folder that AdapterHub's library wrote; no torch and no model needed.

    Args:
        path: Folder with `adapter_config.json` and `adapter.safetensors` or `pytorch_adapter.bin`.
        dims: Sizes of the trunk. Default: as many as the files tell, which is all but the number
            of heads: prefixes then come as if there were one.
        layout: All modules of the model, where it is known, in place of `dims`.
        direft: Whether a ReFT without orthogonality was trained as DiReFT. The library does not
            write that down and loads DiReFT as NoReFT, another function; so does kzoo, with a
            warning, unless it is told.

    Returns:
        Configuration, tensors, facts: `dialect`, `name`, `family`, `prefix`, `base_model`,
        `version`; `heads_known`: whether the number of heads is that of the trunk; `head`, see
        `heads.read_head`; `keys`: our key -> key in the file.

    Raises:
        AdapterError: No such folder, a method or an option that kzoo does not have, or tensors
            that do not fit; the first missing and unexpected keys are named.
    """
    folder = Path(path).expanduser()
    where = str(folder)
    written = read_json(folder / CONFIG_FILE)
    with _any_type(where):
        facts = modern(written)
    if not isinstance(facts.get("config"), Mapping) or "model_type" not in facts:
        raise AdapterError(
            f"{where}: {CONFIG_FILE} has no `config` and `model_type`; it is not AdapterHub's."
        )
    tensors = {_modern(key): value for key, value in read_tensors(folder, WEIGHT_FILES).items()}
    name = str(facts.get("name") or _name_in(tensors, where))
    family = str(facts["model_type"]).replace("_", "-")
    hub_names(family)
    if layout is not None and layout.family != family:
        own = FAMILIES.get(layout.family).names if layout.family is not None else None
        if own != FAMILIES.get(family).names:
            raise AdapterError(
                f"{where} is an adapter of the family {family!r}; this model is of "
                f"{layout.family!r}."
            )
    known = dims is not None or layout is not None
    with _any_type(where):
        if layout is None:
            layout = _layout(dims or _dims_of_file(facts, tensors, family), dims is not None)
        raws = _raws(facts, tensors, direft, where)
        configs = [parse_adapter(read_method(raw, layout)) for raw in raws]
    modules = HubModules(layout, name)
    wanted = [links(c, raw, modules) for c, raw in zip(configs, raws, strict=True)]
    prefix = prefix_of(tensors, [key for own in wanted for link in own for key in link.theirs])
    ours, keys = _taken(tensors, wanted, prefix, where)
    configs = [_checked(c, ours, n if len(configs) > 1 else None) for n, c in enumerate(configs)]
    config = parse_adapter(configs) if len(configs) > 1 else configs[0]
    return Imported(
        config,
        ours,
        {
            "dialect": "adapterhub",
            "name": name,
            "family": family,
            "prefix": prefix,
            "base_model": facts.get("model_name"),
            "version": facts.get("version"),
            "heads_known": known,
            "head": heads.read_head(folder, family),
            "keys": keys,
        },
    )


@contextmanager
def _any_type(where: str) -> Iterator[None]:
    """A file may hold values of any type."""
    try:
        yield
    except AdapterError:
        raise
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise AdapterError(
            f"{where}: {CONFIG_FILE} has a value of a wrong type: {error}"
        ) from error


def _raws(facts: Mapping[str, Any], tensors: Tensors, direft: bool | None, where: str) -> list[Raw]:
    """The configurations of all parts, complete."""
    whole = facts["config"]
    parts = whole["configs"] if whole.get("architecture") == "union" else [whole]
    raws, strange = [], []
    for part in parts:
        raw, unknown = completed(part)
        raws.append(raw)
        strange += unknown
        if raw.get("architecture") == "reft" and raw["subtract_projection"] is None:
            if direft is not None:
                raw["subtract_projection"] = not direft
            elif not raw["orthogonality"]:
                warnings.warn(
                    f"{where}: NoReFT or DiReFT? The library does not write down which, and loads "
                    "both as NoReFT; so does kzoo. Pass `direft=True` if it was trained as DiReFT.",
                    InteropWarning,
                    stacklevel=5,
                )
        # Of version 1, where task adapters say that they have one and have none.
        inverse = any("invertible_adapters." in key for key in tensors)
        if facts.get("type") == "text_task" and raw.get("inv_adapter") and not inverse:
            raw["inv_adapter"] = None
    if strange:
        warnings.warn(
            f"{where}: {CONFIG_FILE} has keys that kzoo leaves aside: {', '.join(strange)}",
            InteropWarning,
            stacklevel=5,
        )
    return raws


# --- The model, as far as a file shows it --------------------------------------------------


def _dims_of_file(facts: Mapping[str, Any], tensors: Tensors, family: str) -> Dims:
    numbers = [0]
    for template in FAMILIES.get(family).names.blocks:
        pattern = re.compile(re.escape(template).replace(r"\{i\}", r"(\d+)") + r"\.")
        numbers += [int(m[1]) for key in tensors if (m := pattern.search(key))]
    configs = facts["config"].get("configs", [facts["config"]])
    for raw in configs:
        layers = raw.get("layers")
        numbers += [*(raw.get("leave_out") or ()), *(layers if isinstance(layers, list) else ())]
    width = int(facts.get("hidden_size") or 1)
    sizes = {"hidden_dim": width, "intermediate_dim": 4 * width, "num_heads": 1}
    rows = {"vocabulary_size": 1, "max_sequence_length": 1}
    return Dims.model_validate({"family": family, "num_layers": max(numbers) + 1, **sizes, **rows})


def _layout(dims: Dims, known: bool) -> Layout:
    return replace(layout_of(dims.places(), dims.family, dims), complete=known)


# --- Tensors -------------------------------------------------------------------------------


def _modern(key: str) -> str:
    for old, new in OLD_NAMES.items():
        key = key.replace(old, new)
    return key


def _name_in(tensors: Iterable[str], where: str) -> str:
    """The adapter's name, which its keys hold."""
    pattern = re.compile(r"\.(?:adapters|loras|refts|prefix_tunings|prompt_tunings)\.([^.]+)\.")
    names = {match[1] for key in tensors if (match := pattern.search(f".{key}"))}
    if len(names) != 1:
        raise AdapterError(f"{where} has tensors of {len(names)} adapters: {sorted(names)[:3]}")
    return names.pop()


def prefix_of(tensors: Iterable[str], wanted: Sequence[str]) -> str:
    """What stands before the paths in this file: `bert.`, or nothing."""
    known = set(wanted)
    votes: dict[str, int] = {}
    for key in tensors:
        for start in (0, *(match.end() for match in re.finditer(r"\.", key))):
            if key[start:] in known:
                votes[key[:start]] = votes.get(key[:start], 0) + 1
                break
    return max(votes, key=lambda prefix: votes[prefix], default="")


def _taken(
    tensors: Tensors, wanted: Sequence[Sequence[Link]], prefix: str, where: str
) -> tuple[Tensors, dict[str, str]]:
    """Our tensors, and where each of them came from."""
    every = [link for own in wanted for link in own]
    needed = dict.fromkeys(prefix + key for link in every for key in link.theirs)
    copies = [keys for link in every for keys in (*link.also, *link.unused)]
    known = {*needed, *(prefix + key for keys in copies for key in keys)}
    problems = []
    if missing := [key for key in needed if key not in tensors]:
        problems.append(f"missing {missing[:3]} ({len(missing)} in all)")
    if unexpected := [key for key in tensors if key not in known]:
        problems.append(f"unexpected {unexpected[:3]} ({len(unexpected)} in all)")
    if problems:
        raise AdapterError(f"{where} does not fit: " + "; ".join(problems))
    ours: Tensors = {}
    keys: dict[str, str] = {}
    for number, own in enumerate(wanted):
        start = f"{number}." if len(wanted) > 1 else ""
        for link in own:
            sources = [prefix + key for key in link.theirs]
            try:
                found = link.read([tensors[key] for key in sources])
            except ValueError as error:
                shapes = ", ".join(f"`{key}` {tensors[key].shape}" for key in sources)
                raise AdapterError(f"{where} does not fit: {error}; {shapes}") from error
            for key, value in zip(link.ours, found, strict=True):
                ours[start + key] = np.ascontiguousarray(value)
                keys[start + key] = sources[0]
    return ours, keys


def _checked(config: AdapterConfig, tensors: Tensors, number: int | None) -> AdapterConfig:
    """A LoReFT whose projection lost its orthonormality, as what it computes."""
    if not isinstance(config, ReftConfig) or not config.orthogonal:
        return config
    start = "" if number is None else f"{number}."
    own = [v for k, v in tensors.items() if k.startswith(start) and k.endswith("_projection")]
    if all(is_orthonormal(value) for value in own):
        return config
    return config.model_copy(update={"method": "noreft", "orthogonal": False})


# --- Writing -------------------------------------------------------------------------------


def write_adapterhub(
    path: str | Path,
    config: AdapterConfig,
    tensors: Mapping[str, NDArray[Any]],
    layout: Layout,
    name: str,
    head: Mapping[str, Any] | None = None,
    base_model: str | None = None,
) -> None:
    """Writes a folder that AdapterHub's library loads with `use_safetensors=True`; no torch needed.

    The library's modules hold one prefix under many paths. It is written under the first of them,
    which fills them all, and the library then names the other paths as missing.

    Args:
        path: Folder to write; an existing adapter folder is replaced as a whole.
        config: The adapter's configuration.
        tensors: Its variables by key, as `model.adapters.variables` has them.
        layout: The modules of the model.
        name: The adapter's name, part of the keys.
        head: A classification head to go with it, as `heads.read_head` returns it.
        base_model: Goes to `model_name`.

    Raises:
        AdapterError: The library has no such method, or cannot say this adapter; the reason is
            given.
    """
    modules = HubModules(layout, name)
    raws: list[Raw] = []
    file: Tensors = {}
    for number, own in enumerate(config.parts):
        start = f"{number}." if len(config.parts) > 1 else ""
        part, tensors = subtracting(own, tensors, start)
        raw = write_method(part, layout)
        raws.append(raw)
        for link in links(part, raw, modules):
            assert link.write is not None  # only files of others have that form
            values = link.write([np.asarray(tensors[start + key]) for key in link.ours])
            for keys in (link.theirs, *link.unused):
                file |= {modules.prefix + k: v for k, v in zip(keys, values, strict=True)}
    _check_union(raws)
    shared = {
        "hidden_size": layout.dims.hidden_dim if layout.dims else None,
        "model_name": base_model,
        "model_type": layout.family,
        "version": VERSION,
    }
    whole = raws[0] if len(raws) == 1 else {"architecture": "union", "configs": raws}
    facts = {**shared, "config": whole, "model_class": None, "name": name}
    files: dict[str, Any] = {CONFIG_FILE: facts, WEIGHT_FILES[0]: file}
    if head is not None:
        found = heads.written_head(name, str(layout.family), head)
        if found is None:
            raise AdapterError(
                f"AdapterHub has no classification head on {head['pooling']} pooling for "
                f"{layout.family!r}. Write with `with_head=False`."
            )
        files[heads.CONFIG_FILE] = {**shared, **found[0]}
        files[heads.WEIGHT_FILES[0]] = found[1]
    write_folder(path, files)


def _check_union(raws: Sequence[Raw]) -> None:
    """The library takes one method of a kind; two bottlenecks at different parts of a block.

    Raises:
        AdapterError: It would refuse this union.
    """
    for one, other in combinations(raws, 2):
        if one.get("architecture") != other.get("architecture"):
            continue
        parts = ("mh_adapter", "output_adapter")
        both = one.get("architecture") is None
        if not both or any(one[part] == other[part] for part in parts):
            kind = one.get("architecture") or "bottleneck"
            raise AdapterError(
                f"AdapterHub cannot hold two methods of the kind {kind!r} under one name."
            )
