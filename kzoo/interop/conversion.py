"""Looking at adapter folders of any kind, and turning one kind into another, without a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from kzoo.adapters.config import AdapterConfig
from kzoo.adapters.files import CONFIG_FILE, AdapterFile, read_adapter, write_adapter
from kzoo.adapters.methods.prefix import PrefixConfig
from kzoo.backbones.dims import Dims
from kzoo.errors import AdapterError
from kzoo.interop.adapterhub.folders import read_adapterhub, write_adapterhub
from kzoo.interop.adapterhub.heads import with_pooler, without_pooler
from kzoo.interop.files import Tensors, read_json
from kzoo.interop.layouts import Layout, Module, hf_classes, layout_of
from kzoo.interop.peft.reader import read_peft
from kzoo.interop.peft.writer import write_peft

DIALECTS = ("kzoo", "peft", "adapterhub")


def dialect_of(path: str | Path) -> str:
    """Who wrote an adapter folder: `kzoo`, `peft` or `adapterhub`.

    Raises:
        AdapterError: No adapter folder, or nobody's that is known.
    """
    config = read_json(Path(path).expanduser() / CONFIG_FILE)
    if config.get("kind") == "kzoo-adapter":
        return "kzoo"
    if "peft_type" in config:
        return "peft"
    if "config" in config and "model_class" in config:
        return "adapterhub"
    raise AdapterError(
        f"`path` {str(path)!r}: {CONFIG_FILE} is neither kzoo's, PEFT's nor AdapterHub's."
    )


def inspect(path: str | Path, family: str | None = None) -> dict[str, Any]:
    """What an adapter folder holds; builds no model.

    Args:
        path: A folder of kzoo, HF PEFT or AdapterHub.
        family: Family of the trunk, where the file does not tell it.

    Returns:
        JSON-ready: `dialect`, `name`, `methods`, `config` (kzoo's), `family`, `trained_on`,
        `places`, `tensors` (key -> shape), `parameters`, `head` (classes, or None).

    Raises:
        AdapterError: The folder cannot be read; the reason is given.
    """
    dialect = dialect_of(path)
    if dialect == "kzoo":
        content = read_adapter(path)
        config, tensors = content.config, dict(content.tensors)
        name, trunk = content.name, content.trunk
        head = content.head["num_classes"] if content.head else None
        facts = {"family": trunk.get("family"), "base_model": trunk.get("origin")}
    else:
        config, tensors, facts = _read(path, dialect, family)
        name = str(facts.get("name") or Path(path).resolve().name)
        kernel = (facts["head"] or {}).get("kernel")
        head = None if kernel is None else int(kernel.shape[1])
    places = list(dict.fromkeys(_place(key, config) for key in tensors))
    return {
        "dialect": dialect,
        "name": name,
        "methods": [part.method for part in config.parts],
        "config": config.model_dump(mode="json"),
        "family": facts.get("family"),
        "trained_on": facts.get("base_model"),
        "places": [place for place in places if place != "shared"],
        "tensors": {key: list(value.shape) for key, value in tensors.items()},
        "parameters": int(sum(value.size for value in tensors.values())),
        "head": head,
    }


def convert(
    source: str | Path, target: str | Path, to: str, family: str | None = None
) -> dict[str, Any]:
    """Writes an adapter folder as one of another kind.

    A folder of kzoo that comes from another library does not know the fingerprint of its trunk:
    kzoo loads it into any trunk that it fits.

    Args:
        source: A folder of kzoo, HF PEFT or AdapterHub.
        target: Folder to write.
        to: `kzoo`, `peft` or `adapterhub`; the last two from a folder of kzoo only.
        family: Family of the trunk, where the file does not tell it.

    Returns:
        What `inspect` says of the new folder.

    Raises:
        AdapterError: Unknown kind, or something that needs the trunk's weights (PiSSA and OLoRA,
            networks behind prompts): load and save it with a model then.
    """
    if to not in DIALECTS:
        raise AdapterError(f"`to` must be one of {', '.join(DIALECTS)}. Received: {to!r}")
    dialect = dialect_of(source)
    if dialect == to:
        raise AdapterError(f"`source` {str(source)!r} is a folder of {to} already.")
    if dialect == "kzoo":
        content = read_adapter(source)
        layout = _layout(content, family, to)
        if to == "adapterhub":
            _to_adapterhub(content, target, layout)
            return inspect(target, layout.family)
        pooling = layout.hf.head.pooling if layout.hf is not None and layout.hf.head else None
        fits = content.head is not None and content.head["pooling"] == pooling
        head = dict(content.head_tensors) if fits else None
        base = content.trunk.get("origin")
        write_peft(target, content.config, content.tensors, layout, head, base_model=base)
        return inspect(target, layout.family)
    config, tensors, facts = _read(source, dialect, family)
    if any(getattr(part, "from_weights", False) for part in config.parts):
        raise AdapterError(
            "The adapter starts from parts of the trunk's weights (`init` pissa or olora), which "
            "are not in the file. Load it with model.adapters.load_peft, and save it from there."
        )
    heads = any(isinstance(p, PrefixConfig) and not p.projection for p in config.parts)
    if heads and not facts.get("heads_known", True):
        raise AdapterError(
            "AdapterHub's file of a prefix does not say how many heads the trunk has. Load it with "
            "model.adapters.load_adapterhub, and save it from there."
        )
    if to != "kzoo":
        raise AdapterError(
            f"A folder of {dialect} becomes one of {to} with a model only: "
            f"model.adapters.load_{dialect}, then model.adapters.save_{to}."
        )
    write_adapter(
        target,
        AdapterFile(
            name=str(facts.get("name") or Path(source).resolve().name),
            config=config,
            trunk={
                "fingerprint": None,
                "family": facts.get("family"),
                "origin": facts.get("base_model"),
            },
            tensors=tensors,
            head=_head_facts(facts),
            head_tensors=facts.get("head") or {},
        ),
    )
    return inspect(target)


def _read(
    path: str | Path, dialect: str, family: str | None
) -> tuple[AdapterConfig, Tensors, dict[str, Any]]:
    if dialect == "peft":
        return read_peft(path, family)
    found = read_adapterhub(path)
    head = found.facts["head"]
    if "dense_kernel" in head:
        two = (head["pooling"], head["activation"]) == ("cls", "tanh")
        usual = hf_classes(str(found.facts["family"])).head
        pooled = usual is not None and usual.pooling == "pooler"
        if not (two and pooled):  # no pooler to be the first layer
            return found.config, found.tensors, {**found.facts, "head": None}
        found, head = with_pooler(found, head), {**head, "pooling": "pooler"}
    tensors = {key: head[key] for key in ("kernel", "bias") if key in head}
    names = {key: head.get(key) for key in ("labels", "pooling")}
    return found.config, found.tensors, {**found.facts, **names, "head": tensors or None}


def _to_adapterhub(content: AdapterFile, target: str | Path, layout: Layout) -> None:
    head: dict[str, Any] | None = None
    config, tensors = content.config, dict(content.tensors)
    if content.head is not None and content.head["pooling"] in ("pooler", "cls"):
        facts = {key: content.head[key] for key in ("pooling", "labels")}
        head = {**content.head_tensors, **facts}
        config, tensors = without_pooler(config, tensors, head)
    base = content.trunk.get("origin")
    write_adapterhub(target, config, tensors, layout, content.name, head, base)


def _layout(content: AdapterFile, family: str | None, to: str) -> Layout:
    facts = content.trunk
    if "dims" in facts:
        dims = Dims(**facts["dims"])
        return layout_of(dims.places(), facts["family"], dims)
    if family is not None or facts.get("family") is not None:
        raise AdapterError(
            "The adapter's file does not have the sizes of its trunk. Load it into the model, and "
            f"write it with model.adapters.save_{to}."
        )
    keys = dict.fromkeys(_place(key, content.config) for key in content.tensors)
    modules = {key: Module(key, (key,), "linear") for key in keys if key != "shared"}
    return Layout(modules, None, (), False, None, {key: key for key in modules})


def _head_facts(facts: dict[str, Any]) -> dict[str, Any] | None:
    if not facts.get("head"):
        return None
    head = hf_classes(str(facts["family"])).head
    usual = head.pooling if head is not None else None
    return {
        "num_classes": int(np.asarray(facts["head"]["kernel"]).shape[1]),
        "labels": facts.get("labels"),
        "pooling": facts.get("pooling", usual),
    }


def _place(key: str, config: AdapterConfig) -> str:
    """Key of the place of a tensor."""
    place = key.rpartition(".")[0]
    return place.partition(".")[2] if len(config.parts) > 1 else place
