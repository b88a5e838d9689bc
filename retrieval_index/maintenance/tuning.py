"""Search parameters and fusion weights, chosen from measurements and stored in the index."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval_index.building.vectors_stage import (
    QUERIES,
    measurable,
    sample_sentences,
    tuned_entry,
)
from retrieval_index.encoders.protocol import encode_queries
from retrieval_index.encoders.registry import resolve_encoder
from retrieval_index.errors import ArgumentError, RetrievalIndexError
from retrieval_index.maintenance.changing import changing
from retrieval_index.options import check_options
from retrieval_index.searching.query_encoder import check_same_encoder
from retrieval_index.storage.segment_files import SEGMENTS
from retrieval_index.vectors.tuning import Tuning

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from retrieval_index.encoders.protocol import Encoder
    from retrieval_index.maintenance.changing import Change

    Vectors = npt.NDArray[np.float32]


def tune(
    path: str | os.PathLike[str],
    queries: Sequence[str] | None = None,
    encoder: str | Encoder | None = None,
    *,
    recall: float = 0.95,
    latency: float | None = None,
    plot: str | os.PathLike[str] | None = None,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Finds the fastest search parameters with enough recall, and stores them in the index.

    Half of the queries choose the parameters, by recall@10 against exact search and by time on
    this machine; the other half measure what is stored and returned.

    Args:
        path: Folder of the index.
        queries: Queries such as users will ask, 100 or more. Default: sentences of 200 passages,
            which makes recall look a little better than it is for real queries; with precomputed
            vectors, passages that do not count as hits of their own.
        encoder: The encoder of the index, or its name. Default: found by the name in the manifest.
        recall: The recall wanted, in (0, 1].
        latency: Most milliseconds for one query on one core; decides where both exclude each other.
        plot: PNG file for a picture of recall against latency; needs matplotlib. With several
            segments, that of the largest.
        seed: Chooses sentences.

    Returns:
        For each segment: segment, factory, parameters, recall, milliseconds, k, queries, ... A
        segment with an exact index has recall 1 and no parameters.

    Raises:
        ArgumentError: If an argument is out of range.
        IndexNotFoundError: If there is no index.
        EncoderMismatchError: If the encoder is not the one of the index.
        BuildLockedError: If another process changes the index.
    """
    texts = None if queries is None else _checked_queries(queries)
    with changing(path) as change:
        options = check_options(
            **{**change.manifest.options, "recall": recall, "latency": latency, "seed": seed}
        )
        given = _encode(change, texts, encoder) if texts is not None else None
        largest = max(
            change.version.segments, key=lambda segment: segment.entry.chunks, default=None
        )
        entries, results = [], []
        for segment in change.version.segments:
            vectors = segment.entry.vectors
            if measurable(vectors, segment.entry.chunks):
                rows = given if given is not None else _own_queries(change, segment, encoder, seed)
                vectors, found = tuned_entry(
                    vectors, segment.vectors, rows, options, by_time=True, given=given is not None
                )
                if plot is not None and segment is largest:
                    plot_tuning(found, Path(plot).expanduser(), title=vectors.factory)
            entries.append(segment.entry.model_copy(update={"vectors": vectors}))
            results.append(
                {
                    "segment": segment.entry.name,
                    "factory": vectors.factory,
                    "parameters": dict(vectors.parameters),
                    **(vectors.measured or {"recall": 1.0}),
                }
            )
        stored = {**change.manifest.options, "recall": options.recall, "latency": options.latency}
        change.commit("tune", segments=entries, options=stored)
    return results


def tune_fusion(
    path: str | os.PathLike[str],
    queries: Mapping[str, str],
    qrels: Mapping[str, Mapping[str, int]],
    encoder: str | Encoder | None = None,
    *,
    depth: int = 100,
    seed: int = 0,
) -> dict[str, Any]:
    """Chooses how dense and lexical rankings are fused, from judged queries, and stores it.

    Args:
        path: Folder of an index with a lexical part.
        queries: Query id to text.
        qrels: Query id to document id to relevance.
        encoder: The encoder of the index, or its name. Default: found by the name in the manifest.
        depth: Hits taken of each ranking.
        seed: Deals the queries into folds.

    Returns:
        method, weights (dense, lexical), depth, and nDCG@10: "held_out" (mean over queries whose
        fold did not choose the weights), "dense" and "lexical" alone, and "equal" (RRF, (1, 1)).

    Raises:
        ArgumentError: If no query is judged, or the index has no lexical part.
        IndexNotFoundError: If there is no index.
    """
    from retrieval_index.fusion_weights import tune_weights
    from retrieval_index.searching.opening import open_manifest

    judged = {name: text for name, text in queries.items() if qrels.get(name)}
    if len(judged) < 2:
        raise ArgumentError(
            "`qrels` must judge at least two of `queries`: some choose the weights, the others "
            f"say what they are worth; received {len(judged)}. Fifty and more are usual."
        )
    with changing(path) as change:
        index = open_manifest(change.folder, change.manifest, encoder, checksums=False)
        with index:
            runs = [_run(index, judged, mode, depth) for mode in ("dense", "lexical")]
        known = {name: qrels[name] for name in judged}
        found = tune_weights(runs, known, folds=min(5, len(known)), seed=seed)
        rule = {
            "method": found.method,
            "weights": [float(weight) for weight in found.weights],
            "depth": depth,
        }
        change.commit("tune fusion", search=rule)
    dense, lexical = found.runs
    equal = found.methods["rrf"].equal
    scores = {"held_out": found.held_out, "dense": dense, "lexical": lexical, "equal": equal}
    return {**rule, **scores, "queries": found.queries}


def _run(index: Any, queries: Mapping[str, str], mode: str, depth: int) -> Any:
    answers = index.search(list(queries.values()), depth, mode=mode, per_document=1)
    return {
        name: {passage.document_id: passage.score for passage in found}
        for name, found in zip(queries, answers, strict=True)
    }


def _checked_queries(queries: Sequence[str]) -> list[str]:
    texts = list(queries)
    wrong = next((t for t in texts if not isinstance(t, str) or not t.strip()), None)
    if isinstance(queries, str) or len(texts) < 2 or wrong is not None:
        raise ArgumentError(
            "`queries` must be a list of at least two texts that are not blank: one half chooses, "
            f"the other measures; received {len(texts)}{'' if wrong is None else f', {wrong!r}'}."
        )
    return texts


def _encode(change: Change, texts: list[str], encoder: str | Encoder | None) -> Vectors:
    manifest = change.manifest
    model = check_same_encoder(
        resolve_encoder(encoder or manifest.encoder.name), manifest, change.folder
    )
    return encode_queries(model, texts, manifest.encoder.normalize)


def _own_queries(
    change: Change, segment: Any, encoder: str | Encoder | None, seed: int
) -> Vectors | None:
    model = resolve_encoder(encoder or change.manifest.encoder.name)
    if getattr(model, "encode_documents", None) is not None:
        return None
    folder = change.folder / SEGMENTS / segment.entry.name
    return _encode(change, sample_sentences(folder, QUERIES, seed), encoder)


def plot_tuning(tuning: Tuning, path: Path, *, title: str = "") -> None:
    """Draws every setting that was measured, the optimal ones joined, the chosen one marked.

    Args:
        tuning: From `tune`.
        path: The PNG file to write.
        title: Above the picture, such as the factory string.

    Raises:
        RetrievalIndexError: If matplotlib is missing.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RetrievalIndexError(
            "A plot needs matplotlib; install it with: pip install 'kzoo[demo]'"
        ) from error

    # Neither pyplot nor a change of its backend: a program that draws keeps its own.
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    rest = [point for point in tuning.points if not point.optimal]
    best = sorted(
        (point for point in tuning.points if point.optimal), key=lambda point: point.recall
    )
    axes.scatter(
        [point.recall for point in rest],
        [point.milliseconds for point in rest],
        color="0.75",
        s=14,
        label="measured",
    )
    axes.plot(
        [point.recall for point in best],
        [point.milliseconds for point in best],
        marker="o",
        markersize=4,
        label="optimal",
    )
    setting = ", ".join(f"{name}={value}" for name, value in tuning.parameters.items())
    axes.scatter(
        [tuning.recall],
        [tuning.milliseconds],
        marker="*",
        color="C3",
        s=160,
        zorder=3,
        label=f"chosen: {setting or 'exact'}",
    )
    axes.set_yscale("log")
    axes.set_xlabel(f"recall@{tuning.k} against exact search ({tuning.queries:,} queries)")
    axes.set_ylabel("milliseconds per query, one thread")
    axes.grid(alpha=0.3)
    axes.legend()
    axes.set_title(title)
    figure.savefig(path, format="png", dpi=150)
