"""Search parameters: their names, defaults and FAISS's objects for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from retrieval_index.errors import ArgumentError, check_positive
from retrieval_index.vectors.family import Family
from retrieval_index.vectors.rows import RowMask, load_faiss


@dataclass(frozen=True)
class Setting:
    """How wide one search looks.

    Attributes:
        breadth: efSearch of a graph or nprobe of inverted lists; 1 where everything is scanned.
        k_factor: Candidates taken from lossy codes, for each result wanted.
        coarse: efSearch of the graph that finds the lists.
    """

    breadth: int = 1
    k_factor: int = 1
    coarse: int = 0


def parameter_names(family: Family) -> tuple[str, ...]:
    """Returns the names of the search parameters of this kind of index."""
    names = []
    if family.graph is not None:
        names.append("efSearch")
    if family.lists is not None:
        names.append("nprobe")
        if family.coarse_graph:
            names.append("quantizer_efSearch")
    if family.lossy:
        names.append("k_factor")
    return tuple(names)


def default_parameters(family: Family) -> dict[str, int]:
    """Returns search parameters for an index nobody has tuned, on the safe side of recall .95."""
    values = {
        "efSearch": 128,
        "nprobe": max(1, min(family.lists or 1, max(16, (family.lists or 1) // 16))),
        "k_factor": 4 if family.codec.startswith("SQ") else 16,
    }
    values["quantizer_efSearch"] = 2 * values["nprobe"]
    return {name: values[name] for name in parameter_names(family)}


def check_parameters(family: Family, parameters: Mapping[str, Any] | None) -> dict[str, int]:
    """Returns the defaults with `parameters` in their place, checked.

    Raises:
        ArgumentError: If one is unknown to this kind of index, or no whole number of at least 1.
    """
    checked = default_parameters(family)
    for name, value in (parameters or {}).items():
        if name not in checked:
            known = ", ".join(checked) or "none"
            raise ArgumentError(
                f"`parameters` of {family.factory} are: {known}; received: {name!r}."
            )
        checked[name] = check_positive(f"parameters[{name!r}]", value)
    if "quantizer_efSearch" in checked and "quantizer_efSearch" not in (parameters or {}):
        checked["quantizer_efSearch"] = 2 * checked["nprobe"]
    return checked


def first_setting(
    family: Family, parameters: Mapping[str, int], count: int, k: int, mask: RowMask | None
) -> Setting | None:
    """Returns how wide to look first, or None if comparing with every allowed row costs less.

    Where only a share of the rows is allowed, the k nearest of them are about as far away as the
    k / share nearest of all, so the search is widened by that.

    Args:
        family: The kind of index.
        parameters: Its search parameters, all of them.
        count: Rows in the index.
        k: Results wanted, of which so many exist.
        mask: The allowed rows, if not all.
    """
    k_factor = parameters.get("k_factor", 1)
    breadth = parameters.get("efSearch", parameters.get("nprobe", 1))
    if family.graph is None and family.lists is None:
        return Setting(1, k_factor)
    setting = Setting(breadth, k_factor, parameters.get("quantizer_efSearch", 0))
    if mask is None:
        return setting
    setting = replace(setting, breadth=-(-breadth * count // mask.count))
    if family.lists is not None:
        setting = replace(setting, breadth=min(setting.breadth, family.lists))
        compared = mask.count * setting.breadth // family.lists
    else:
        # A step of the search compares with half of a node's 2 M links, the others being known.
        compared = max(setting.breadth, k * k_factor) * (family.graph or 1)
    # Rows one by one are read in order, which is cheaper, but raw ones come from the disk.
    worth = compared // 8 if family.lossy else 2 * compared
    few = max(2 * k * k_factor, 1000, worth)
    return None if mask.count <= few else setting


def wider(family: Family, setting: Setting, count: int) -> Setting | None:
    """Returns the next setting for queries that found too little; None if there is none."""
    widest = count if family.graph is not None else family.lists or 1
    if setting.breadth >= widest:
        return None
    return replace(setting, breadth=min(4 * setting.breadth, widest))


def faiss_parameters(family: Family, setting: Setting, mask: RowMask | None) -> Any:
    """Returns the FAISS object of one search; nothing is set on the index, which threads share."""
    faiss = load_faiss()
    selection = {} if mask is None else {"sel": mask.selector()}
    if family.graph is not None:
        return faiss.SearchParametersHNSW(efSearch=setting.breadth, **selection)
    if family.lists is None:
        return faiss.SearchParameters(**selection)
    nprobe = min(setting.breadth, family.lists)
    if not family.coarse_graph:
        return faiss.SearchParametersIVF(nprobe=nprobe, **selection)
    coarse = faiss.SearchParametersHNSW(efSearch=max(setting.coarse, nprobe))
    return faiss.SearchParametersIVF(nprobe=nprobe, quantizer_params=coarse, **selection)
