"""The FAISS factory strings this package builds, and what each of them can do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from retrieval_index.errors import ArgumentError
from retrieval_index.vectors.rows import load_faiss

KNOWN = (
    "Flat, SQ8 (SQ4, SQ6, SQfp16, SQbf16), HNSW{M} and HNSW{M},SQ8, IVF{K},Flat, IVF{K},SQ8, "
    "IVF{K},PQ{M}x4fs, IVF{K},PQ{M}np, IVF{K},RaBitQ, IVF{K},RaBitQfs, with IVF{K}_HNSW{M} too"
)

_SHAPE = re.compile(
    r"(?:(?P<graph>HNSW)(?P<links>\d+)?(?:,|$)|IVF(?P<lists>\d+)(?:_HNSW(?P<coarse>\d+)?)?,)?"
    r"(?P<codec>.*)"
)
_SCALAR = re.compile(r"SQ(?:4|6|8|fp16|bf16)")
_PRODUCT = re.compile(r"PQ(?P<parts>\d+)(?:x(?P<bits>\d+))?(?P<np>np)?")
_FAST_PRODUCT = re.compile(r"PQ(?P<parts>\d+)x4fsr?(?:_\d+)?")
_RABITQ = re.compile(r"RaBitQ(?:fs)?[1-9]?(?:_\d+)?")

# Why a known part of FAISS's language is not taken. Read before the general refusal.
_REFUSED = (
    (
        r"RFlat|Refine",
        "raw vectors are kept beside the index instead: FAISS merges a refined index without its "
        "refining half, and cannot delete from it",
    ),
    (
        r"IDMap",
        "rows are numbered from 0 here: FAISS merges `IDMap2,IVF` with colliding numbers, without "
        "an error",
    ),
    (r"Panorama", "FAISS pads every inverted list to whole batches, up to 16 times the size"),
    (
        r"OPQ|PCA|RR\d|ITQ|L2norm|Pad|LSH|ZnLattice",
        "a transform in front of the index is not supported; lossy codes are re-scored with the "
        "raw vectors, which gives back what a rotation would have saved",
    ),
    (r"NSG|SVS", "it can neither be filtered nor merged"),
)


@dataclass(frozen=True)
class Family:
    """What a factory string says.

    Attributes:
        factory: The string, in the form given to FAISS.
        graph: Links per vector if the vectors lie in an HNSW graph.
        lists: Number of inverted lists, for IVF.
        coarse_graph: Links per centroid if an HNSW graph finds the lists.
        codec: How a vector is stored: "Flat", "SQ8", "PQ96x4fs", ...
    """

    factory: str
    graph: int | None
    lists: int | None
    coarse_graph: int | None
    codec: str

    @property
    def lossy(self) -> bool:
        """Whether codes differ from vectors, so that raw vectors must be kept for exact scores."""
        return self.codec != "Flat"

    @property
    def fast_scan(self) -> bool:
        """Whether codes are interleaved for SIMD; FAISS keeps such lists on the heap."""
        return "fs" in self.codec

    @property
    def trained(self) -> bool:
        """Whether vectors must be seen before the first one can be added."""
        return self.lists is not None or (self.lossy and self.codec not in ("SQfp16", "SQbf16"))

    @property
    def least_count(self) -> int:
        """How few vectors it can be trained on: one for every centroid."""
        least = self.lists or 0
        if self.codec.startswith("PQ"):
            bits = re.search(r"x(\d+)", self.codec)
            least = max(least, 2 ** (int(bits[1]) if bits else 8))
        return least


def parse_factory(factory: str, dimension: int) -> Family:
    """Reads and checks a FAISS factory string.

    `PQ48` becomes `PQ48np` always: without `np`, FAISS trains polysemous tables that nothing here
    uses, which took 70-130 s instead of 4.5 s for 4,096 vectors of 384 dimensions.

    Args:
        factory: The string, such as "IVF1024,SQ8".
        dimension: Length of the vectors.

    Returns:
        What it says; `Family.factory` is the string to hand to FAISS.

    Raises:
        ArgumentError: If it is unknown, or one of the kinds that lose or mix up rows silently.
    """
    if not isinstance(factory, str) or not factory.strip():
        raise ArgumentError(f"`factory` must be a FAISS factory string; received: {factory!r}.")
    text = factory.replace(" ", "")
    for pattern, reason in _REFUSED:
        if re.search(pattern, text):
            raise ArgumentError(f"`factory` {factory!r} is refused: {reason}. Known: {KNOWN}.")
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        raise _unknown(factory)
    number = {name: int(shape[name]) if shape[name] else None for name in ("lists", "coarse")}
    graph = int(shape["links"] or 32) if shape["graph"] else None
    coarse = number["coarse"] or (32 if "_HNSW" in text else None)
    codec = _codec(shape["codec"] or ("Flat" if graph else ""), factory, dimension)
    if not (4 <= (graph or 4) <= 64 and 4 <= (coarse or 4) <= 64):
        raise ArgumentError(f"`factory` {factory!r}: HNSW needs 4 to 64 links per vector.")
    if number["lists"] == 0:
        raise ArgumentError(f"`factory` {factory!r} must have at least 1 inverted list.")
    if graph is not None and (codec.startswith("RaBitQ") or "fs" in codec):
        raise _unknown(factory)
    if graph is None and number["lists"] is None and not re.match("Flat|SQ", codec):
        raise ArgumentError(
            f"`factory` {factory!r} cannot be filtered in FAISS; use 'IVF{{K}},{codec}'. "
            f"Known: {KNOWN}."
        )
    if graph is not None:
        head = f"HNSW{graph}" + ("" if codec == "Flat" else ",")
        whole = head if codec == "Flat" else head + codec
    elif number["lists"] is not None:
        whole = f"IVF{number['lists']}" + (f"_HNSW{coarse}" if coarse else "") + f",{codec}"
    else:
        whole = codec
    return Family(whole, graph, number["lists"], coarse, codec)


def make_empty(family: Family, dimension: int) -> Any:
    """Returns an empty FAISS index of this kind for inner products."""
    faiss = load_faiss()
    return faiss.index_factory(dimension, family.factory, faiss.METRIC_INNER_PRODUCT)


def _codec(codec: str, factory: str, dimension: int) -> str:
    if codec == "Flat" or _SCALAR.fullmatch(codec) or _RABITQ.fullmatch(codec):
        return codec
    match = _FAST_PRODUCT.fullmatch(codec) or _PRODUCT.fullmatch(codec)
    if match is None:
        raise _unknown(factory)
    parts = int(match["parts"])
    if parts < 1 or dimension % parts:
        raise ArgumentError(
            f"`factory` {factory!r}: {parts} sub-vectors do not divide dimension {dimension}."
        )
    if match.re is _FAST_PRODUCT:
        return codec
    bits = int(match["bits"] or 8)
    if not 1 <= bits <= 12:
        raise ArgumentError(f"`factory` {factory!r}: PQ codes have 1 to 12 bits.")
    return f"PQ{parts}{'' if bits == 8 else f'x{bits}'}np"


def _unknown(factory: str) -> ArgumentError:
    return ArgumentError(f"`factory` {factory!r} is not known here. Known: {KNOWN}.")
