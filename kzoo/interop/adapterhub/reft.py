"""AdapterHub's ReFT: torch's orthogonal parametrisation, and units that nothing uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kzoo.adapters.config import AdapterConfig
from kzoo.adapters.methods.reft import ReftConfig
from kzoo.backbones.places import Place
from kzoo.errors import AdapterError
from kzoo.interop.adapterhub.tensors import Arrays, HubModules, Link, linear, rows_at, transposed

_PARAMETRISED = (
    "projection.parametrizations.weight.original",
    "projection.parametrizations.weight.0.base",
)


def reft_links(config: ReftConfig, places: Sequence[Place], modules: HubModules) -> Iterator[Link]:
    """The tensors of all blocks."""
    names = _PARAMETRISED if config.orthogonal else ("projection.weight",)
    turns = (orthogonal, parametrised) if config.orthogonal else (transposed, transposed)
    for place in places:
        module = modules.reft(place.key)
        # There is a unit for first and one for last positions, even where one has none.
        numbers = {"tied": 0, "prefix": 0, "suffix": 1}
        used = {unit: f"{module}.units.{numbers[unit]}" for unit in config.units}
        idle = [] if config.tied else [f"{module}.units.{n}" for n in (0, 1)]
        idle = [unit for unit in idle if unit not in used.values()]
        for number, (unit, path) in enumerate(used.items()):
            copies = idle if number == 0 else []
            source = linear("learned_source", f"{unit}_source")
            for link in rows_at(source, config, path, place.key):
                unused = tuple((link.theirs[0].replace(path, other),) for other in copies)
                yield replace(link, unused=unused)
            yield Link(
                tuple(f"{path}.{name}" for name in names),
                (f"{place.key}.{unit}_projection",),
                *turns,
                (),
                tuple(tuple(f"{other}.{name}" for name in names) for other in copies),
            )


def subtracting(
    config: AdapterConfig, tensors: Mapping[str, NDArray[Any]], start: str
) -> tuple[AdapterConfig, Mapping[str, NDArray[Any]]]:
    """A DiReFT as the NoReFT that it is: h + R^T (W h + b) = h + R^T ((W + R) h + b - R h).

    The library does not find the difference between the two in a file and loads NoReFT.

    Args:
        config: Any configuration; others come back as they are.
        tensors: Variables by key.
        start: What stands before the keys of this part.

    Raises:
        AdapterError: There is a non-linearity between.
    """
    if not isinstance(config, ReftConfig) or config.subtract_projection:
        return config, tensors
    if config.non_linearity is not None:
        raise AdapterError(
            "AdapterHub loads a ReFT without `subtract_projection` as one with it. That can be "
            "made up for, but not with a `non_linearity`."
        )
    found = dict(tensors)
    for key, value in tensors.items():
        if key.startswith(start) and key.endswith("_projection"):
            turn = _orthonormal if config.orthogonal else np.asarray
            source = f"{key.removesuffix('projection')}source_kernel"
            found[source] = tensors[source] + turn(value).astype("float32")
    method = "loreft" if config.orthogonal else "noreft"
    return config.model_copy(update={"method": method, "subtract_projection": True}), found


def orthogonal(arrays: Arrays) -> Arrays:
    """R transposed, (H, r), of what `torch.nn.utils.parametrizations.orthogonal` stores.

    The weight is (base Q)^T for a square base and a Q that comes from `original`: the product of
    Householder reflections, or for a square weight the exponential of a skew matrix.
    """
    original, base = arrays
    if original.ndim != 2 or base.shape != (original.shape[1],) * 2:
        raise ValueError(f"sizes {original.shape} and {base.shape} do not belong together")
    x = original.T.astype("float64")
    q = _exponential(x) if x.shape[0] == x.shape[1] else _reflections(x)
    return [(base.astype("float64") @ q).astype("float32")]


def parametrised(arrays: Arrays) -> Arrays:
    """The parametrisation of R transposed: torch's own start, with all of R in the base."""
    (projection,) = arrays
    size, rank = projection.shape
    own = _orthonormal(projection.astype("float64"))
    if rank == size:
        return [np.zeros((rank, size), "float32"), own.astype("float32")]
    # Any orthonormal completion will do: the other columns are not used.
    full = np.linalg.qr(own, mode="complete")[0]
    full[:, :rank] = own
    original = np.zeros((rank, size), "float32")
    np.fill_diagonal(original, -1.0)
    return [original, full.astype("float32")]


def is_orthonormal(projection: NDArray[Any]) -> bool:
    """Whether the columns are."""
    product = projection.T @ projection
    return bool(np.allclose(product, np.eye(len(product)), atol=1e-4))


def _orthonormal(free: NDArray[Any]) -> NDArray[Any]:
    """Q with a positive diagonal, as kzoo's layer makes it of its variable."""
    q, r = np.linalg.qr(free)
    return np.asarray(q * np.where(np.diagonal(r) < 0, -1.0, 1.0))


def _reflections(x: NDArray[Any]) -> NDArray[Any]:
    n, k = x.shape
    below = np.tril(x, -1)
    q = np.eye(n, k)
    for column in reversed(range(k)):
        v = below[:, column].copy()
        v[column] = 1.0
        tau = 2.0 / (1.0 + (below[:, column] ** 2).sum())
        q -= tau * np.outer(v, v @ q)
    # The diagonal holds signs, which training may have shrunk to nothing.
    return np.asarray(q * np.trunc(np.diagonal(x)))


def _exponential(x: NDArray[Any]) -> NDArray[Any]:
    lower = np.tril(x)
    values, vectors = np.linalg.eigh(1j * (lower - lower.T))
    return np.asarray(np.real((vectors * np.exp(-1j * values)) @ vectors.conj().T))
