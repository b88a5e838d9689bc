"""How many lists, training vectors and bytes an index of so many vectors has."""

from __future__ import annotations

import math

from retrieval_index.vectors.family import Family

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
