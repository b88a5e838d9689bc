"""Which virtual tokens the text processor has to write for a composition of adapters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from kzoo.adapters.acting.composition import Block, PerRow, Stack
from kzoo.adapters.acting.injection import Sites
from kzoo.backbones.virtual_tokens import VirtualTokens
from kzoo.errors import AdapterError

Prompts = tuple[VirtualTokens, ...]


def prompts_of(sites: Sites, composition: str | Block | None) -> Prompts:
    """The virtual tokens of every input, in the order of the composition.

    Args:
        sites: The adapted sublayers of the model.
        composition: What is to act. `PerRow` gives none: see `row_prompts`.

    Raises:
        AdapterError: A prompt in a block whose children see one and the same input.
    """
    if composition is None:
        return ()
    if isinstance(composition, str):
        layers = [layer for _, layer in sites.layers(composition)]
        return tuple(o.virtual_tokens() for o in layers if hasattr(o, "virtual_tokens"))
    every = [prompts_of(sites, child) for child in composition.children]
    if not any(every) or isinstance(composition, PerRow):
        return ()
    if not isinstance(composition, Stack):
        raise AdapterError(
            f"A prompt changes the tokens of an input, and the children of {composition.type} "
            "share theirs. Use Stack, or PerRow with `adapter_names`."
        )
    _check_alone(sites, composition)
    return tuple(prompt for prompts in every for prompt in prompts)


def row_prompts(sites: Sites, composition: PerRow, numbers: Sequence[int]) -> list[Prompts]:
    """The virtual tokens of each row.

    Args:
        sites: The adapted sublayers of the model.
        composition: The active one.
        numbers: Each row's child, -1 for none.

    Raises:
        AdapterError: A child's prompts stand behind the embedding block, which all rows share.
    """
    own = [prompts_of(sites, child) for child in composition.children]
    if any(own):
        _check_alone(sites, composition)
    return [own[number] if number >= 0 else () for number in numbers]


def positions_used(sites: Sites, composition: str | Block | None) -> int:
    """How many positions in front of the input are taken."""
    if composition is None:
        return 0
    names = [composition] if isinstance(composition, str) else composition.names()
    layers = [layer for name in names for _, layer in sites.layers(name)]
    used: Counter[str] = Counter()
    for layer in layers:
        used[layer.place.key] += getattr(layer, "used_positions", 0)
    return max(used.values(), default=0)


def _check_alone(sites: Sites, composition: Block) -> None:
    for name in composition.names():
        for _, layer in sites.layers(name):
            if getattr(layer.config, "insertion", "tokens") == "embeddings":
                raise AdapterError(
                    f"`{name}` has `insertion=embeddings`: every input needs its prompt and no "
                    f"other, so that it cannot stand in {composition.type}."
                )
