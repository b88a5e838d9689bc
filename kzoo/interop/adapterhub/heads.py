"""AdapterHub's prediction heads: a folder's `head_config.json` and its tensors."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kzoo.adapters.config import AdapterConfig, parse_adapter
from kzoo.adapters.methods.copies import FullConfig
from kzoo.errors import AdapterError
from kzoo.interop.adapterhub.tensors import hub_names
from kzoo.interop.files import InteropWarning, Tensors, read_json, read_tensors
from kzoo.interop.models import Imported

CONFIG_FILE = "head_config.json"
WEIGHT_FILES = ("model_head.safetensors", "pytorch_model_head.bin")


def read_head(folder: Path, family: str) -> dict[str, Any]:
    """The classification head that was saved beside an adapter.

    Args:
        folder: The adapter's folder.
        family: Its family.

    Returns:
        Nothing where there is none or it is no classification head (a warning says so). Else
        `kernel` (width, classes), `bias` (classes,), `pooling` (`pooler` or `cls`: what it stands
        on) and `labels`, their names in order or None; with two layers also `dense_kernel`,
        `dense_bias` and `activation`.

    Raises:
        AdapterError: Tensors are missing or unexpected.
    """
    if not (folder / CONFIG_FILE).is_file():
        return {}
    facts = read_json(folder / CONFIG_FILE)
    config = facts.get("config")
    form: tuple[int, bool, tuple[str, ...]] | None
    activation: str | None
    if isinstance(config, Mapping):
        form, activation = _flexible(config, str(facts.get("name")))
        labels = config.get("label2id")
    else:
        form, activation = None, None
        static = hub_names(family).head
        if static is not None and static.model_class == facts.get("model_class"):
            form = (len(static.layers), static.pooler, static.layers)
            activation = static.activation
        labels = facts.get("label2id")
    if form is None:
        kind = config.get("head_type") if isinstance(config, Mapping) else facts.get("model_class")
        warnings.warn(
            f"{str(folder)!r}: the head {kind!r} has no form here and is left aside.",
            InteropWarning,
            stacklevel=4,
        )
        return {}
    layers, pooler, names = form
    tensors = read_tensors(folder, WEIGHT_FILES)
    found = _tensors(tensors, names, f"the head in {str(folder)!r}")
    head: dict[str, Any] = {
        "kernel": found[-1][0].T,
        "bias": found[-1][1],
        "pooling": "pooler" if pooler else "cls",
        "labels": _labels(labels, len(found[-1][1])),
    }
    if layers == 2:
        head |= {"dense_kernel": found[0][0].T, "dense_bias": found[0][1], "activation": activation}
    return head


def written_head(
    name: str, family: str, head: Mapping[str, Any]
) -> tuple[dict[str, Any], Tensors] | None:
    """A head as the library's own, or None where it has no such head.

    Args:
        name: The adapter's and the head's name.
        family: Family of the trunk.
        head: As `read_head` returns it.

    Returns:
        `head_config.json` without what it shares with the adapter's, and the tensors.
    """
    model_class = hub_names(family).model_class
    if model_class is None or head["pooling"] not in ("pooler", "cls"):
        return None
    layers = 2 if "dense_kernel" in head else 1
    labels = head["labels"] or [f"LABEL_{number}" for number in range(len(head["bias"]))]
    config = {
        "head_type": "classification",
        "num_labels": len(labels),
        "layers": layers,
        "activation_function": head.get("activation"),
        "label2id": {label: number for number, label in enumerate(labels)},
        "use_pooler": head["pooling"] == "pooler",
        "bias": True,
        "dropout_prob": None,
    }
    parts = {"1": ("dense_kernel", "dense_bias"), "4": ("kernel", "bias")}
    if layers == 1:
        parts = {"1": ("kernel", "bias")}
    tensors: Tensors = {}
    for number, (kernel, bias) in parts.items():
        tensors[f"heads.{name}.{number}.weight"] = np.asarray(head[kernel]).T
        tensors[f"heads.{name}.{number}.bias"] = np.asarray(head[bias])
    return {"config": config, "model_class": model_class, "name": name}, tensors


def _flexible(
    config: Mapping[str, Any], name: str
) -> tuple[tuple[int, bool, tuple[str, ...]] | None, str | None]:
    """Layers, pooler and names of one of the library's own heads, and its activation."""
    layers, activation = int(config.get("layers", 1)), config.get("activation_function")
    if config.get("head_type") != "classification" or layers not in (1, 2):
        return None, None
    # Dropout, dense, activation, dropout, dense; without an activation one place fewer.
    last = 1 if layers == 1 else 4 if activation else 3
    names = tuple(f"heads.{name}.{number}" for number in ((1, last) if layers == 2 else (last,)))
    return (layers, bool(config.get("use_pooler")), names), activation


def _tensors(
    tensors: Tensors, names: tuple[str, ...], where: str
) -> list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    wanted = [f"{name}.{part}" for name in names for part in ("weight", "bias")]
    optional = {f"{names[-1]}.bias"}
    missing = [key for key in wanted if key not in tensors and key not in optional]
    unexpected = [key for key in tensors if key not in wanted]
    if missing or unexpected:
        raise AdapterError(
            f"{where} does not fit: missing {missing[:3]}, unexpected {unexpected[:3]}."
        )
    found = []
    for name in names:
        weight = tensors[f"{name}.weight"]
        zeros = np.zeros(len(weight), "float32")
        found.append((weight, tensors.get(f"{name}.bias", zeros)))
    return found


def _labels(ids: Any, count: int) -> list[str] | None:
    """Names of the classes in order; None where the library made them up."""
    if not isinstance(ids, Mapping) or len(ids) != count:
        return None
    labels = sorted(ids, key=lambda label: int(ids[label]))
    if labels == [f"LABEL_{number}" for number in range(count)]:
        return None
    return labels


def with_pooler(found: Imported, head: Mapping[str, Any]) -> Imported:
    """An adapter together with the first layer of its head, in the place of the pooler.

    Args:
        found: The adapter.
        head: A head of two layers, the first with tanh and on the first token, as a pooler is.
    """
    parts = found.config.parts
    number = len(parts)
    start = "0." if number == 1 else ""
    tensors = {start + key: value for key, value in found.tensors.items()}
    keys = {start + key: value for key, value in found.facts["keys"].items()}
    for ours in ("kernel", "bias"):
        tensors[f"{number}.pooler.{ours}"] = head[f"dense_{ours}"]
        keys[f"{number}.pooler.{ours}"] = f"the head's first {ours}"
    config = parse_adapter([*parts, {"method": "full", "targets": ["pooler"]}])
    return Imported(config, tensors, {**found.facts, "keys": keys})


def without_pooler(
    config: AdapterConfig, tensors: dict[str, Any], head: dict[str, Any]
) -> tuple[AdapterConfig, dict[str, Any]]:
    """The opposite: takes an adapter's own pooler off and puts it into `head`."""
    parts = config.parts
    own = [n for n, p in enumerate(parts) if isinstance(p, FullConfig) and p.targets == ("pooler",)]
    if head["pooling"] != "pooler" or not own or len(parts) == 1:
        return config, tensors
    (number,) = own
    for ours in ("kernel", "bias"):
        head[f"dense_{ours}"] = tensors.pop(f"{number}.pooler.{ours}")
    head |= {"pooling": "cls", "activation": "tanh"}
    left = [n for n in range(len(parts)) if n != number]
    moved = {}
    for new, old in enumerate(left):
        start = f"{new}." if len(left) > 1 else ""
        for key, value in tensors.items():
            if key.startswith(f"{old}."):
                moved[start + key.partition(".")[2]] = value
    return parse_adapter([parts[n] for n in left]), moved
