"""Which method works on which family: found out by doing it on a miniature of the family."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from kzoo.adapters.config import list_methods
from kzoo.backbones.families import FAMILIES
from kzoo.errors import AdapterError, did_you_mean


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


def matrix(
    families: Sequence[str] = (),
    methods: Sequence[str] = (),
    on_cell: Callable[[Cell], None] = lambda cell: None,
) -> list[Cell]:
    """Tries methods on families: adds the adapter, runs the backbone, compares the shape.

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
        found = sequence_output(backbone(inputs)).shape
        assert found == shape, f"{method} on {family} gives {found} instead of {shape}"
        parameters = adapters.count("tried")
        adapters.delete("tried")
        yield Cell(family, method, spec, None, parameters)
