"""Tables for people: the adapters of a model, and which method works on which family."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kzoo.adapters.config import list_methods
from kzoo.backbones.families import FAMILIES
from kzoo.errors import AdapterError, did_you_mean

if TYPE_CHECKING:  # uses this module
    from kzoo.adapters.manager import Adapters


def adapter_rows(adapters: Adapters) -> list[dict[str, Any]]:
    """What `model.adapters.summary` says of each adapter."""
    return [
        {
            "name": name,
            "method": config.method,
            "sites": ", ".join(site for part in config.parts for site in part.sites),
            "parameters": adapters.count(name),
            "active": name in adapters.active,
        }
        for name, config in adapters.configs.items()
    ]


def adapters_table(rows: Sequence[Mapping[str, Any]]) -> Any:
    """The rows of `model.adapters.summary` as rich's table."""
    from rich.table import Table

    table = Table("adapter", "method", "sites", "parameters", "active")
    for row in rows:
        active = "yes" if row["active"] else "no"
        table.add_row(row["name"], row["method"], row["sites"], f"{row['parameters']:,}", active)
    return table


def print_table(table: Any) -> None:
    """Prints a rich table."""
    from rich.console import Console

    Console().print(table)


@dataclass(frozen=True)
class Cell:
    """One method on one family.

    Args:
        family: Family name.
        method: Method name.
        spec: The configuration that was tried, as a string.
        reason: Why it is refused; None where it works.
        parameters: Trainable parameters on the miniature.
    """

    family: str
    method: str
    spec: str
    reason: str | None
    parameters: int = 0


def listed_methods() -> dict[str, str]:
    """Method name -> the shortest configuration string that is complete."""
    return {
        name: f"{name}[{config.example}]" if config.example else name
        for name, config in list_methods().items()
        if config.listed
    }


def support_table(
    families: Sequence[str] = (),
    methods: Sequence[str] = (),
    on_cell: Callable[[Cell], None] = lambda cell: None,
) -> list[Cell]:
    """Which method works on which family, found out on a miniature of the family.

    The adapter is added, the backbone runs, and its output has to have the shape it had.

    Args:
        families: Family names. Default: all.
        methods: Method names. Default: all.
        on_cell: Called after each try.

    Returns:
        Family by family, in the order of the tables.

    Raises:
        AdapterError: An unknown name.
    """
    known = listed_methods()
    for kind, names, among in (("family", families, FAMILIES), ("method", methods, known)):
        for name in names:
            if name not in among:
                hint = did_you_mean(name, list(among))
                raise AdapterError(f"`{kind}` {name!r} is not known.{hint}")
    cells = []
    for family in families or FAMILIES:
        for cell in _row(family, {m: known[m] for m in methods or known}):
            on_cell(cell)
            cells.append(cell)
    return cells


def _row(family: str, specs: dict[str, str]) -> Iterator[Cell]:
    from kzoo.adapters.adapted import adapt
    from kzoo.backbones.miniatures import make_miniature, miniature_inputs, sequence_output

    backbone = make_miniature(family)
    inputs = miniature_inputs(family)
    shape = sequence_output(backbone(inputs)).shape
    adapters = adapt(backbone)
    for method, spec in specs.items():
        try:
            adapters.add("tried", spec)
        except AdapterError as refusal:
            yield Cell(family, method, spec, str(refusal))
            continue
        found = sequence_output(backbone(_with_prompts(inputs, adapters))).shape
        assert found == shape, f"{method} on {family} gives {found} instead of {shape}"
        parameters = adapters.count("tried")
        adapters.delete("tried")
        yield Cell(family, method, spec, None, parameters)


def _with_prompts(inputs: Any, adapters: Adapters) -> Any:
    """The inputs with a virtual token of each prompt in them, without which it is refused."""
    first = [getattr(layer, "first_id", None) for _, layer in adapters.host.sites.layers("tried")]
    ids = [number for number in first if number is not None]
    if not ids:
        return inputs
    changed = {key: value.copy() for key, value in inputs.items()}
    for key in changed:
        if key.endswith("token_ids"):
            changed[key][0, : len(ids)] = ids
    return changed
