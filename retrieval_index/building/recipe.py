"""How every document of an index is treated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from retrieval_index.chunking.chunker import Chunker, check_sizes
from retrieval_index.encoders.registry import resolve_encoder
from retrieval_index.errors import ArgumentError, check_positive
from retrieval_index.options import IndexOptions, check_options
from retrieval_index.vectors.family import parse_factory

if TYPE_CHECKING:
    from retrieval_index.encoders.protocol import Encoder
    from retrieval_index.storage.manifest import Manifest

PLAN_VERSION = 2
DUPLICATES = ("keep", "skip")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How every document of an index is treated.

    Attributes:
        encoder: A checked encoder.
        normalize: Whether its vectors are scaled to length 1.
        chunker: Cuts the documents.
        lexical: Settings of the BM25 index (`analyzer`, `k1`, `b`), or None.
        options: Which FAISS index.
        batch_size: Texts in one call of the encoder.
        shard_size: Passages in a shard.
        duplicates: "keep" or "skip": what happens to a text that is there under another id.
    """

    encoder: Encoder
    normalize: bool
    chunker: Chunker
    lexical: dict[str, Any] | None
    options: IndexOptions
    batch_size: int = 64
    shard_size: int = 4096
    duplicates: str = "keep"


def make_recipe(
    encoder: str | Encoder | None,
    *,
    chunking: str | None,
    chunk_size: int | None,
    overlap: int | None,
    language: str | None,
    k1: float,
    b: float,
    index: str | None,
    memory: int | str | None,
    latency: float | None,
    recall: float,
    deletes: bool,
    duplicates: str,
    batch_size: int,
    normalize: bool,
    reproducible: bool,
    seed: int,
    shard_size: int,
) -> Recipe:
    """Returns the recipe of a new index; the arguments are those of `build`.

    Raises:
        ArgumentError: If one is out of range or unknown.
        EncoderError: If the encoder cannot be found.
    """
    check_positive("batch_size", batch_size)
    check_positive("shard_size", shard_size)
    check_sizes(chunk_size, overlap, chunking or "tokens")
    if duplicates not in DUPLICATES:
        raise ArgumentError(
            f"`duplicates` must be one of {', '.join(DUPLICATES)}; received: {duplicates!r}."
        )
    options = check_options(
        factory=index,
        memory=memory,
        latency=latency,
        recall=recall,
        deletes=deletes,
        reproducible=reproducible,
        seed=seed,
    )
    lexical = _lexical_settings(language, k1, b)
    model = resolve_encoder(encoder)
    if options.factory is not None:
        parse_factory(options.factory, model.dimension)  # now, and not after hours of encoding
    return Recipe(
        model,
        bool(normalize),
        Chunker.for_encoder(model, chunk_size, overlap, chunking),
        lexical,
        options,
        batch_size,
        shard_size,
        duplicates,
    )


def recipe_of(
    manifest: Manifest,
    encoder: Encoder,
    batch_size: int = 64,
    shard_size: int = 4096,
    duplicates: str = "keep",
) -> Recipe:
    """Returns how the documents of an index were treated."""
    return Recipe(
        encoder,
        manifest.encoder.normalize,
        Chunker.from_settings(manifest.chunker.model_dump(), encoder),
        manifest.lexical,
        IndexOptions.from_dict(manifest.options),
        batch_size,
        shard_size,
        duplicates,
    )


def shard_plan(recipe: Recipe) -> dict[str, Any]:
    """Returns what decides the vectors of a shard."""
    return {
        "version": PLAN_VERSION,
        "encoder": {
            "fingerprint": recipe.encoder.fingerprint,
            "dimension": recipe.encoder.dimension,
            "normalize": recipe.normalize,
        },
        "chunker": recipe.chunker.settings(),
        "shard_size": recipe.shard_size,
    }


def _lexical_settings(language: str | None, k1: float, b: float) -> dict[str, Any] | None:
    if language is None:
        return None
    from retrieval_index.lexical.analyzer import Analyzer

    for name, value, most in (("k1", k1, 1000.0), ("b", b, 1.0)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
            raise ArgumentError(f"`{name}` must lie in [0, {most:g}]; received: {value!r}.")
    return {"analyzer": Analyzer(language).settings(), "k1": float(k1), "b": float(b)}
