"""Which FAISS index, by size, dimension and what the user can spend; and how large it gets."""

from __future__ import annotations

import math
from dataclasses import dataclass

from retrieval_index.errors import ArgumentError, check_positive
from retrieval_index.vectors.family import Family, parse_factory

# FAISS guidelines: 30 to 256 training vectors per centroid; k-means warns below 39.
MIN_PER_CENTROID = 39
SAMPLE_PER_CENTROID = 64
# The sample is held in memory: 65,536 centroids of 384 dimensions make it 3.2 GB even so.
SAMPLE_PER_CENTROID_OF_MANY = 32
# Above this many vectors even finding the lists is a search worth a graph (FAISS guidelines).
COARSE_GRAPH_ABOVE = 1_000_000


def centroids(count: int) -> int:
    """Returns how many inverted lists an IVF index of so many vectors should have.

    4 sqrt(N) up to a million, 65,536 up to ten, 262,144 up to a hundred, then 1,048,576 (FAISS
    guidelines), as the nearest power of two, and never so many that k-means lacks training vectors.

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
    most = max(1, count // MIN_PER_CENTROID)
    return int(2 ** min(round(math.log2(wanted)), math.floor(math.log2(most))))


def training_size(family: Family, count: int) -> int:
    """Returns how many vectors are sampled to train an index, all if there are fewer."""
    if not family.trained:
        return 0
    lists = family.lists or 0
    per_list = lists * (SAMPLE_PER_CENTROID if lists < 65_536 else SAMPLE_PER_CENTROID_OF_MANY)
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


# 50,000 vectors of 384 dimensions are 77 MB, searched exactly in 4 ms: the best bargain there.
MAX_FLAT = 50_000


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
    """A candidate: how it is spelled, and what it costs.

    A query is compared with about `scanned` * count ** `growth` vectors for recall .95, each in
    `nanoseconds` per dimension on one thread.
    """

    pattern: str
    about: str
    scanned: float
    growth: float
    nanoseconds: float
    can_delete: bool = True
    min_count: float = 0
    max_count: float = math.inf


# In the order of preference: the first that fits every budget is taken. Measured: 100,000 x 384
# clustered synthetic vectors (latent dimension 48), 300 other queries, two busy cores; the cheapest
# setting with recall@10 >= .95, milliseconds of a single query on one thread:
#   kind              B/vector  train s  add s  recall  ms     setting
#   Flat                  1536        0    0.1   1.000  7.9
#   HNSW32                1808        0   17.0    .963  0.13   efSearch 32
#   HNSW32,SQ8             656      0.3   16.0    .964  0.12   efSearch 32, k_factor 2
#   IVF1024,Flat          1560      7.2    1.1    .963  0.16   nprobe 16
#   IVF1024,SQ8            408      7.7    1.0    .952  0.10   nprobe 16, k_factor 1
#   IVF1024,PQ96x4fs        80      8.7    1.4    .959  0.07   nprobe 16, k_factor 8
#   IVF1024,RaBitQfs        89     11.2    2.8    .957  0.09   nprobe 16, k_factor 4
#   IVF1024,RaBitQfs4      268      9.6    5.7    .960  0.19   nprobe 16, k_factor 2
#   IVF1024,PQ48np          76     31.3    2.0    .957  0.18   nprobe 16, k_factor 8
#   IVF1024_HNSW32,SQ8     411     13.8    2.3    .964  0.12   nprobe 16, k_factor 8
# Real MiniLM vectors are harder: with 15,675 of them, nprobe 64 of 512 lists for the same recall.
# The constants below follow those, and so are pessimistic about latency.
_TRAINED = 1_000
_MANY = COARSE_GRAPH_ABOVE
_KINDS = (
    _Kind("Flat", "exact", 1, 1, 0.15, max_count=MAX_FLAT),
    _Kind("HNSW32", "a graph", 60, 0.25, 0.33, can_delete=False, max_count=_MANY),
    _Kind("IVF{K},Flat", "inverted lists", 20, 0.5, 0.2, min_count=_TRAINED, max_count=_MANY),
    _Kind("HNSW32,SQ8", "a graph of bytes", 60, 0.25, 0.33, can_delete=False, max_count=_MANY),
    _Kind("IVF{K},SQ8", "inverted lists of bytes", 20, 0.5, 0.15, min_count=_TRAINED),
    _Kind("IVF{K},PQ{M}x4fs", "lists of product codes", 20, 0.5, 0.08, min_count=_TRAINED),
    _Kind("IVF{K},RaBitQfs", "lists of single bits", 20, 0.5, 0.1, min_count=_TRAINED),
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
    options = [
        (kind, parse_factory(text, dimension))
        for kind in _KINDS
        if count >= kind.min_count
        and (kind.can_delete or not deletes)
        and (text := _spell(kind.pattern, count, dimension)) is not None
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
        options,
        key=lambda option: _misfit(option[0], option[1], count, dimension, memory, latency),
    )
    reason = _why_not(kind, family, count, dimension, memory, latency)
    return _choice(family, count, dimension, reason)


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
    return float(0.03 + scanned * dimension * kind.nanoseconds / 1e6)


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
    if family.least_count > count:
        raise ArgumentError(
            f"`factory` {factory!r} needs at least {family.least_count:,} vectors to be trained; "
            f"received: {count:,}."
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
    vectors = f"{count:,} changing vectors" if deletes else f"{count:,} vectors"
    if family.factory == "Flat":
        if count > MAX_FLAT:
            return f"Flat is exact, and compares every query with all {vectors}."
        return f"Flat is exact, and {vectors} are searched fast enough that way."
    limits = []
    if memory is not None:
        limits.append(f"{memory / 1e6:,.0f} MB of memory")
    if latency is not None:
        limits.append(f"{latency:g} ms a query")
    within = f" within {' and '.join(limits)}" if limits else ""
    beside = "; raw vectors stay on the disk for exact scores" if family.lossy else ""
    return f"{family.factory}, {kind.about}, is the first choice for {vectors}{within}{beside}."


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
