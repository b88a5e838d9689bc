"""What all parts of an index have in common."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from retrieval_index.arguments import check_positive
from retrieval_index.builder import DUPLICATES, _lexical_settings, build
from retrieval_index.chunking.chunker import Chunker, check_sizes
from retrieval_index.encoders.registry import resolve_encoder
from retrieval_index.errors import ArgumentError
from retrieval_index.options import IndexOptions, check_options
from retrieval_index.segment_building import Recipe
from retrieval_index.storage.manifest import ChunkerEntry, EncoderEntry
from retrieval_index.vectors.family import parse_factory

if TYPE_CHECKING:
    from retrieval_index.encoders.protocol import Encoder

# Arguments of `build` that mean something else here, or nothing.
_OTHERS = ("corpus", "out", "encoder", "overwrite", "progress", "shard_id", "shard_num")


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


def make_recipe(encoder: str | Encoder | None, options: Mapping[str, Any]) -> Recipe:
    """Returns how every document of the finished index is treated.

    Args:
        encoder: The encoder or its name.
        options: From `build_options`.

    Raises:
        ArgumentError: If an option is out of range or unknown.
        EncoderError: If the encoder cannot be found.
    """
    check_positive("batch_size", options["batch_size"])
    check_positive("shard_size", options["shard_size"])
    check_sizes(options["chunk_size"], options["overlap"], options["chunking"] or "tokens")
    if options["duplicates"] not in DUPLICATES:
        raise ArgumentError(
            f"`duplicates` must be one of {', '.join(DUPLICATES)}; received: "
            f"{options['duplicates']!r}."
        )
    names = ("memory", "latency", "recall", "deletes", "reproducible", "seed")
    wanted = check_options(factory=options["index"], **{name: options[name] for name in names})
    model = resolve_encoder(encoder)
    if wanted.factory is not None:
        parse_factory(wanted.factory, model.dimension)  # not only after hours of encoding
    return Recipe(
        model,
        bool(options["normalize"]),
        Chunker.for_encoder(model, options["chunk_size"], options["overlap"], options["chunking"]),
        _lexical_settings(options["language"], options["k1"], options["b"]),
        wanted,
        options["batch_size"],
        options["shard_size"],
        options["duplicates"],
    )


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
