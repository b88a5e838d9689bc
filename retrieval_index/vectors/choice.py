"""Which FAISS index: by size, dimension, and what the user can spend."""

from __future__ import annotations

import math
from dataclasses import dataclass

from retrieval_index.arguments import check_positive
from retrieval_index.errors import ArgumentError
from retrieval_index.vectors.family import Family, parse_factory

# 50,000 vectors of 384 dimensions are 77 MB, searched exactly in 4 ms: the best bargain there.
MAX_FLAT = 50_000
# FAISS guidelines: 30 to 256 training vectors per centroid; k-means warns below 39.
MIN_PER_CENTROID = 39
SAMPLE_PER_CENTROID = 64
# Above this many vectors even finding the lists is a search worth a graph (FAISS guidelines).
COARSE_GRAPH_ABOVE = 1_000_000


@dataclass(frozen=True)
class IndexChoice:
    """The index to build.

    Attributes:
        factory: FAISS factory string.
        lossy: Whether codes differ from vectors: raw vectors must be kept beside the index.
        reason: One sentence for the user.
        bytes_per_vector: Estimated size of the FAISS index per vector, in bytes. Raw vectors
            beside a lossy index are not in it: they are on the disk, and read row by row.
    """

    factory: str
    lossy: bool
    reason: str
    bytes_per_vector: float


@dataclass(frozen=True)
class _Kind:
    """A candidate: how it is spelled, and what one vector of it costs in a search."""

    pattern: str
    # Vectors compared with a query for recall .95: `scanned` * count ** `growth`.
    scanned: float
    growth: float
    nanoseconds: float  # for each of them and dimension, one thread
    can_delete: bool = True
    max_count: float = math.inf


# In the order of preference: the first that fits every budget is taken.
_KINDS = (
    _Kind("Flat", 1, 1, 0.15, max_count=MAX_FLAT),
    _Kind("HNSW32", 8, 0.5, 0.4, can_delete=False, max_count=1_000_000),
    _Kind("IVF{K},Flat", 8, 0.7, 0.15),
    _Kind("HNSW32,SQ8", 8, 0.5, 0.4, can_delete=False, max_count=1_000_000),
    _Kind("IVF{K},SQ8", 8, 0.7, 0.15),
    _Kind("IVF{K},PQ{M}x4fs", 16, 0.7, 0.02),
    _Kind("IVF{K},RaBitQfs", 16, 0.7, 0.02),
)


def choose_index(
    count: int,
    dimension: int,
    *,
    memory: int | None = None,
    latency: float | None = None,
    recall: float = 0.95,
    deletes: bool = False,
    factory: str | None = None,
) -> IndexChoice:
    """Chooses an index.

    Args:
        count: Number of vectors.
        dimension: Their length.
        memory: Bytes the FAISS index may take; None for no limit.
        latency: Milliseconds a single query may take on one thread; None for no limit. The
            estimate behind it is rough; `tune` measures.
        recall: Share of the true nearest neighbours that must be found, in (0, 1]; 1 means exact.
        deletes: Whether vectors will be deleted or indexes merged often: no HNSW then, which can
            do neither and is rebuilt instead.
        factory: A FAISS factory string that is taken as it is, after a check; the budgets have no
            say then.

    Returns:
        The choice. If nothing fits the budgets, the nearest, and a reason that says so.

    Raises:
        ArgumentError: If an argument is outside what it may be.
    """
    count = check_positive("count", count)
    dimension = check_positive("dimension", dimension)
    _check_budgets(memory, latency, recall)
    if factory is not None:
        return _as_asked(factory, count, dimension)
    kinds = [kind for kind in _KINDS if not (deletes and not kind.can_delete)]
    options = [
        (kind, parse_factory(text, dimension))
        for kind in kinds
        if (text := _spell(kind.pattern, count, dimension)) is not None
    ]
    if recall >= 1:
        options = options[:1]  # only Flat finds everything
    fitting = [
        (kind, family)
        for kind, family in options
        if _misfit(kind, family, count, dimension, memory, latency) == 0
    ]
    usual = [option for option in fitting if count <= option[0].max_count]
    if usual or fitting:
        kind, family = (usual or fitting)[0]
        return _choice(
            family, count, dimension, _why(kind, family, count, memory, latency, deletes)
        )
    kind, family = min(
        options, key=lambda option: _misfit(option[0], option[1], count, dimension, memory, latency)
    )
    return _choice(
        family, count, dimension, _why_not(kind, family, count, dimension, memory, latency)
    )


def centroids(count: int) -> int:
    """Returns how many inverted lists an IVF index of so many vectors should have.

    4 sqrt(N) up to a million, 65,536 up to ten, 262,144 up to a hundred, then 1,048,576 (FAISS
    guidelines), a power of two, and never so many that k-means lacks training vectors.

    Args:
        count: Number of vectors.

    Returns:
        The number of lists, at least 1.
    """
    if count <= COARSE_GRAPH_ABOVE:
        wanted = 4 * math.sqrt(count)
    elif count <= 10_000_000:
        wanted = 65_536
    else:
        wanted = 262_144 if count <= 100_000_000 else 1_048_576
    most = max(1, min(wanted, count // MIN_PER_CENTROID))
    return int(2 ** math.floor(math.log2(most)))


def training_size(family: Family, count: int) -> int:
    """Returns how many vectors are sampled to train an index, all if there are fewer."""
    if not family.trained:
        return 0
    per_list = SAMPLE_PER_CENTROID * (family.lists or 0)
    codebook = 256 * SAMPLE_PER_CENTROID  # 8-bit codebooks; scalar ranges want as many
    return min(count, max(per_list, codebook))


def bytes_per_vector(family: Family, count: int, dimension: int) -> float:
    """Returns the size of a FAISS index per vector, in bytes, centroids and links included."""
    size = float(_code_bytes(family.codec, dimension))
    if family.graph is not None:
        size += 8 * family.graph + 12  # two links of 4 bytes per M on the lowest level, and offsets
    if family.lists is not None:
        coarse = 4 * dimension + (8 * family.coarse_graph if family.coarse_graph else 0)
        size += 8 + coarse * family.lists / count
    return size


def _code_bytes(codec: str, dimension: int) -> float:
    if codec == "Flat":
        return 4 * dimension
    if codec.startswith("SQ"):
        bits = {"SQ4": 4, "SQ6": 6, "SQ8": 8, "SQfp16": 16, "SQbf16": 16}[codec]
        return dimension * bits / 8
    if codec.startswith("PQ"):
        parts, _, rest = codec[2:].partition("x")
        return int("".join(c for c in parts if c.isdigit())) * (int(rest[0]) if rest else 8) / 8
    bits = next((int(c) for c in codec.split("_")[0].removeprefix("RaBitQ") if c.isdigit()), 1)
    return dimension * bits / 8 + 8 * min(bits, 2)


def _spell(pattern: str, count: int, dimension: int) -> str | None:
    """Fills in the numbers; None if product quantisation cannot divide the dimension."""
    # Sub-vectors of 4 dimensions with 4 bits each: 32 times smaller than float32.
    length = next((n for n in (4, 3, 5, 2, 6, 7, 8) if dimension % n == 0), None)
    if "{M}" in pattern and length is None:
        return None
    lists = f"{centroids(count)}" + ("_HNSW32" if count > COARSE_GRAPH_ABOVE else "")
    return pattern.replace("{K}", lists).replace("{M}", str(dimension // (length or 1)))


def _milliseconds(kind: _Kind, count: int, dimension: int) -> float:
    scanned = min(float(count), kind.scanned * float(count) ** kind.growth)
    return 0.03 + scanned * dimension * kind.nanoseconds / 1e6


def _misfit(
    kind: _Kind,
    family: Family,
    count: int,
    dimension: int,
    memory: int | None,
    latency: float | None,
) -> float:
    """Returns by what factor the budgets are missed, as a sum of logarithms; 0 if they are met."""
    size = bytes_per_vector(family, count, dimension) * count
    over = math.log(size / memory) if memory is not None and size > memory else 0.0
    time = _milliseconds(kind, count, dimension)
    return over + (math.log(time / latency) if latency is not None and time > latency else 0.0)


def _choice(family: Family, count: int, dimension: int, reason: str) -> IndexChoice:
    size = bytes_per_vector(family, count, dimension)
    return IndexChoice(family.factory, family.lossy, reason, size)


def _as_asked(factory: str, count: int, dimension: int) -> IndexChoice:
    family = parse_factory(factory, dimension)
    if family.lists is not None and family.lists > count:
        raise ArgumentError(
            f"`factory` {factory!r} has {family.lists:,} lists for {count:,} vectors; "
            f"{centroids(count):,} would be usual."
        )
    changed = "" if family.factory == factory.replace(" ", "") else f" (built as {family.factory})"
    return _choice(family, count, dimension, f"{factory} was asked for{changed}.")


def _why(
    kind: _Kind,
    family: Family,
    count: int,
    memory: int | None,
    latency: float | None,
    deletes: bool,
) -> str:
    vectors = f"{count:,} vectors"
    if family.codec == "Flat" and family.lists is None and family.graph is None:
        return f"{family.factory} is exact, and {vectors} are searched fast enough that way."
    limits = []
    if memory is not None:
        limits.append(f"{memory / 1e6:,.0f} MB of memory")
    if latency is not None:
        limits.append(f"{latency:g} ms a query")
    if deletes:
        limits.append("cheap deletes and merges")
    within = f" within {' and '.join(limits)}" if limits else ""
    beside = "; raw vectors stay on the disk for exact scores" if family.lossy else ""
    return f"{family.factory} is the most accurate index for {vectors}{within}{beside}."


def _why_not(
    kind: _Kind,
    family: Family,
    count: int,
    dimension: int,
    memory: int | None,
    latency: float | None,
) -> str:
    size = bytes_per_vector(family, count, dimension) * count
    time = _milliseconds(kind, count, dimension)
    missed = []
    if memory is not None and size > memory:
        missed.append(f"`memory` is {memory / 1e6:,.1f} MB and it takes {size / 1e6:,.1f} MB")
    if latency is not None and time > latency:
        missed.append(f"`latency` is {latency:g} ms and it takes about {time:.2g} ms")
    return f"No index fits; {family.factory} is the nearest: {' and '.join(missed)}."


def _check_budgets(memory: int | None, latency: float | None, recall: float) -> None:
    if memory is not None:
        check_positive("memory", memory)
    if latency is not None and not (math.isfinite(latency) and latency > 0):
        raise ArgumentError(f"`latency` must be milliseconds above 0; received: {latency!r}.")
    if not 0 < recall <= 1:
        raise ArgumentError(f"`recall` must be in (0, 1]; received: {recall!r}.")
