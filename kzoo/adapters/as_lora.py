"""Any adapter that is a linear change of weights, as the LoRA that is nearest to it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kzoo.adapters.layers.base import AdapterLayer
from kzoo.adapters.layers.delta import Projection, numbers
from kzoo.adapters.methods.lora import LoraConfig
from kzoo.errors import AdapterError

if TYPE_CHECKING:  # uses nothing of this module
    from kzoo.adapters.manager import Adapters


def add_as_lora(
    adapters: Adapters, name: str, adapter: str, rank: int | float = 0.9999, activate: bool = True
) -> None:
    """Adds the LoRA that is nearest to another adapter of a model, which stays as it is.

    For methods that are a linear change of weights, such as `hira`, `oft` or `loha`: the result can
    be combined, swapped and served as any LoRA.

    Args:
        adapters: `model.adapters`.
        name: Name of the new adapter.
        adapter: Name of the other one; its head is left alone.
        rank: See `as_lora`.
        activate: Make it the only active adapter.

    Raises:
        AdapterError: An unknown or taken name, a model with merged adapters, or an adapter that
            `as_lora` refuses. Nothing has changed then.
    """
    adapters.check_known(adapter)
    if adapters.merged:
        raise AdapterError(
            f"`add_as_lora` needs the model's own weights. Unmerge {list(adapters.merged)} first."
        )
    layers = [layer for _, layer in adapters.host.sites.layers(adapter)]
    config, tensors = as_lora(adapter, layers, rank)
    adapters.add(name, config, activate=activate)
    for key, variable in adapters.variables(name).items():
        variable.assign(tensors[key])


def as_lora(
    name: str, layers: Iterable[AdapterLayer], rank: int | float
) -> tuple[LoraConfig, dict[str, NDArray[Any]]]:
    """The best LoRA of a rank for what an adapter adds to each matrix (Eckart and Young 1936).

    Args:
        name: The adapter's name, for messages.
        layers: Its layers, whose sublayers have their own weights.
        rank: Rank at every place, cut to the matrix's where that is smaller; or, as a float over 0
            and up to 1, the least rank that keeps this share of the squared singular values.

    Returns:
        The configuration, with ranks by place and a scaling of 1, and its values by file key.

    Raises:
        AdapterError: `rank` is out of range; the method is no linear change of weights, or changes
            something else than a projection's or a table's matrix; nothing is changed at all.
    """
    whole = isinstance(rank, (int, np.integer)) and not isinstance(rank, bool)
    if not (rank >= 1 if whole else isinstance(rank, float) and 0 < rank <= 1):
        raise AdapterError(
            "`rank` must be a whole number from 1, or a float over 0 and up to 1, the share of the "
            f"change that is kept. Received: {rank!r}"
        )
    changes: dict[str, NDArray[Any]] = {}
    for layer in layers:
        key = layer.place.key
        if key in changes:
            raise AdapterError(f"`{name}` has several parts at {key}; convert each for itself.")
        changes[key] = _change(name, layer)
    tensors, ranks = {}, {}
    for key, change in changes.items():
        left, values, right = np.linalg.svd(change.astype("float64"), full_matrices=False)
        kept = min(int(rank), len(values)) if whole else _least(values, float(rank))
        if not values[0] > 0:
            raise AdapterError(f"`{name}` changes nothing at {key}; there is nothing to convert.")
        ranks[key] = kept
        tensors[f"{key}.lora_a"] = left[:, :kept].astype("float32")
        tensors[f"{key}.lora_b"] = (values[:kept, None] * right[:kept]).astype("float32")
    usual = max(ranks.values())
    pattern = {key: number for key, number in ranks.items() if number != usual}
    config = LoraConfig(
        method="lora",
        r=usual,
        alpha=float(usual),
        targets=tuple(changes),
        rank_pattern=pattern,
        alpha_pattern={key: float(number) for key, number in pattern.items()},
    )
    return config, tensors


def _change(name: str, layer: AdapterLayer) -> NDArray[Any]:
    """What a layer adds to its sublayer's matrix, (in, out)."""
    merged = layer.merged()  # says why it cannot be
    host = layer.place.layer
    is_matrix = hasattr(host, "kernel") or hasattr(host, "embeddings")
    projection = Projection(host) if is_matrix else None
    others = [v.name for v, value in merged if projection is None or v is not projection.kernel]
    if projection is None or others:
        raise AdapterError(
            f"`{name}` (`{layer.config.method}`) changes `{others[0]}` at {layer.place.key}, which "
            "LoRA's factors do not."
        )
    ((_, value),) = merged
    change = np.asarray(value, "float32") - numbers(projection.kernel)
    return projection.matrix_from(change)


def _least(values: NDArray[Any], share: float) -> int:
    energy = np.cumsum(np.square(values))
    return int(np.searchsorted(energy, share * energy[-1] * (1 - 1e-12))) + 1
