"""What all parts of an index have in common, and where they lie until it is finished."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
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


MAX_SHARDS = 99_999  # five digits: names sort as numbers do


@dataclass(frozen=True, slots=True)
class Place:
    """The files of one part, in `<out>.parts` beside the index.

    Args:
        target: Folder of the index.
        shard_id: Which part, from 0.
        shard_num: How many parts there are.

    Raises:
        ArgumentError: Unless `0 <= shard_id < shard_num`.
    """

    target: Path
    shard_id: int
    shard_num: int

    def __post_init__(self) -> None:
        check_shard_num(self.shard_num)
        number = self.shard_id
        if isinstance(number, bool) or not isinstance(number, int):
            raise ArgumentError(f"`shard_id` must be a whole number; received: {number!r}.")
        if not 0 <= number < self.shard_num:
            raise ArgumentError(
                f"`shard_id` must lie in [0, {self.shard_num}), the number of parts; received: "
                f"{number}."
            )

    @property
    def folder(self) -> Path:
        """The part, which is an index by itself."""
        return parts_folder(self.target) / part_name(self.shard_id, self.shard_num)

    @property
    def record(self) -> Path:
        """What the part was made from."""
        return self.folder.with_name(f"{self.folder.name}.json")

    @property
    def workspace(self) -> Path:
        """Where it is made, and waits for being taken up again if that was broken off."""
        return self.folder.with_name(f".{self.folder.name}.building")


def all_places(target: Path, shard_num: int) -> Iterator[Place]:
    """Yields the places of all parts, in order."""
    for shard_id in range(check_shard_num(shard_num)):
        yield Place(target, shard_id, shard_num)


def parts_folder(target: Path) -> Path:
    """Returns the folder of all parts of an index."""
    return target.with_name(f"{target.name}.parts")


def part_name(shard_id: int, shard_num: int) -> str:
    """Returns the name of a part, such as "part-00002-of-00008"."""
    return f"part-{shard_id:05d}-of-{shard_num:05d}"


def check_shard_num(shard_num: int) -> int:
    """Returns the number of parts.

    Raises:
        ArgumentError: If it is no whole number from 1 to 99,999.
    """
    if isinstance(shard_num, bool) or not isinstance(shard_num, int):
        raise ArgumentError(f"`shard_num` must be a whole number; received: {shard_num!r}.")
    if not 1 <= shard_num <= MAX_SHARDS:
        raise ArgumentError(
            f"`shard_num` must lie in [1, {MAX_SHARDS:,}], the number of parts; received: "
            f"{shard_num}."
        )
    return shard_num
