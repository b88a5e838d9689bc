"""What all parts of an index have in common."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from retrieval_index.building.builder import build
from retrieval_index.building.recipe import Recipe, make_recipe
from retrieval_index.errors import ArgumentError
from retrieval_index.options import IndexOptions
from retrieval_index.storage.manifest import ChunkerEntry, EncoderEntry

if TYPE_CHECKING:
    from retrieval_index.encoders.protocol import Encoder

# Arguments of `build` that mean something else here, or nothing.
_OTHERS = ("corpus", "out", "encoder", "overwrite", "progress")


class Plan(BaseModel):
    """What decides the content of an index; two parts of different plans do not go together.

    Attributes:
        encoder: The encoder.
        chunker: How documents are cut.
        lexical: Settings of the BM25 index, or None.
        options: Which FAISS index the finished index has.
        duplicates: What happens to a text that came before under another id.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    encoder: EncoderEntry
    chunker: ChunkerEntry
    lexical: dict[str, Any] | None
    options: dict[str, Any]
    duplicates: str

    def differences(self, other: Plan) -> str:
        """Returns what two plans do not share, for a message; "" if they are the same."""
        names = [name for name in type(self).model_fields if name != "options"]
        pairs = [(name, getattr(self, name), getattr(other, name)) for name in names]
        for key in sorted({*self.options, *other.options}):
            pairs.append((key, self.options.get(key), other.options.get(key)))
        return "; ".join(f"{name}: {one} and {two}" for name, one, two in pairs if one != two)


def build_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns all options of `retrieval_index.build` that parts have too, with its defaults.

    Raises:
        ArgumentError: If there is another one.
    """
    parameters = inspect.signature(build).parameters
    known = {name: p.default for name, p in parameters.items() if name not in _OTHERS}
    for name in options:
        if name not in known:
            raise ArgumentError(
                f"`{name}` is no option here; known: {', '.join(known)} (as in "
                "`retrieval_index.build`)."
            )
    return {**known, **options}


def planned_recipe(encoder: str | Encoder | None, options: Mapping[str, Any]) -> Recipe:
    """Returns how every document of the finished index is treated.

    Args:
        encoder: The encoder or its name.
        options: From `build_options`.

    Raises:
        ArgumentError: If an option is out of range or unknown.
        EncoderError: If the encoder cannot be found.
    """
    wanted = inspect.signature(make_recipe).parameters
    return make_recipe(encoder, **{name: options[name] for name in wanted if name in options})


def part_recipe(recipe: Recipe) -> Recipe:
    """Returns how the documents of a part are treated: encoded, and no more.

    What is made of all vectors together (the FAISS index) and of all words (BM25) is made once, at
    the end. Duplicates are gone before.
    """
    exact = replace(recipe.options, factory="Flat")
    return replace(recipe, lexical=None, options=exact, duplicates="keep")


def plan_of(recipe: Recipe) -> Plan:
    """Returns the plan of parts that are made by a recipe."""
    encoder = recipe.encoder
    return Plan(
        encoder=EncoderEntry(
            name=encoder.name,
            fingerprint=encoder.fingerprint,
            dimension=encoder.dimension,
            normalize=recipe.normalize,
        ),
        chunker=ChunkerEntry(**recipe.chunker.settings()),
        lexical=recipe.lexical,
        options=recipe.options.to_dict(),
        duplicates=recipe.duplicates,
    )


def index_options(plan: Plan) -> IndexOptions:
    """Returns which FAISS index the finished index has."""
    return IndexOptions.from_dict(plan.options)
