"""The parts built by workers on Ray."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval_index.distributed.finishing import finish
from retrieval_index.distributed.lists import chosen, has_lists, train
from retrieval_index.distributed.plan import all_places, build_options, check_shard_num
from retrieval_index.distributed.ray_cluster import PartWorker, connected, load_ray
from retrieval_index.distributed.record import agreed_records
from retrieval_index.encoders.registry import resolve_encoder
from retrieval_index.errors import (
    ArgumentError,
    RetrievalIndexWarning,
    WorkerLostError,
    check_positive,
)
from retrieval_index.progress import BuildProgress
from retrieval_index.storage.workspace import check_target

if TYPE_CHECKING:
    from retrieval_index.searching.index import Index

# Adding takes 60 microseconds a vector (65,536 lists, 384 dimensions, one core): 10 minutes here.
FILL_FROM = 10_000_000
PAUSE = 1.0
PATIENCE = 60.0


def build(
    corpus: str | os.PathLike[str] | list[str | os.PathLike[str]] | Callable[[], Any],
    out: str | os.PathLike[str],
    encoder: str | Callable[[], Any] | None = None,
    *,
    workers: int = 2,
    num_cpus: float = 1,
    num_gpus: float = 0,
    shard_num: int | None = None,
    address: str | None = None,
    retries: int = 5,
    overwrite: bool = False,
    progress: bool = True,
    **options: Any,
) -> Index:
    """Builds an index with several processes, on this machine or on a Ray cluster.

    Every worker is a Ray actor that makes the encoder once and calls `build_part` for one part
    after the other; this process calls `finish`. A worker that dies is replaced, and its part goes
    on at the last complete shard. When the call itself is broken off, the same call continues.
    The index is the one that `retrieval_index.build` makes on one machine, see `finish`.

    Args:
        corpus: A path, pattern or list of paths that every worker can read, as in
            `retrieval_index.build`; or a function without arguments that returns a corpus.
        out: Folder of the new index. All workers and this process must see it under this path: on
            several machines it lies on a file system that they share.
        encoder: Name of an encoder, or a function without arguments that makes one. Weights are
            not sent to the workers.
        workers: Number of worker processes. Fewer do all of the work where the cluster has no room
            for all. Default 2.
        num_cpus: CPUs that Ray sets aside for each worker, and threads that its numerical
            libraries use. May be a fraction. Default 1.
        num_gpus: GPUs for each worker. Default 0.
        shard_num: Number of parts. Every part reads the whole corpus, so as many as there are
            workers is best unless these are of different speed. Default: `workers`.
        address: Address of a Ray cluster, such as "auto"; it is left running. Default: the cluster
            that this process is connected to; if it is to none, one is started on this machine,
            and stopped at the end.
        retries: How often a part may lose its worker. Default 5.
        overwrite: Whether an index at `out` is replaced, at the very end.
        progress: Whether to show a progress line when standard error is a terminal.
        **options: As in `retrieval_index.build`.

    Returns:
        The opened index.

    Raises:
        RetrievalIndexError: If Ray is not installed.
        WorkerLostError: If a part lost its worker more than `retries` times.
        ArgumentError, CorpusError, EncoderError, IndexExistsError: As in `retrieval_index.build`.
    """
    check_positive("workers", workers)
    for name, number in (("num_cpus", num_cpus), ("num_gpus", num_gpus)):
        if isinstance(number, bool) or not isinstance(number, int | float) or number < 0:
            raise ArgumentError(f"`{name}` must be a number, 0 or more; received: {number!r}.")
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        raise ArgumentError(f"`retries` must be a whole number, 0 or more; received: {retries!r}.")
    number = check_shard_num(workers if shard_num is None else shard_num)
    wanted = build_options(options)
    _check_portable(corpus, encoder)
    target = check_target(out, overwrite)
    ray = load_ray()
    with connected(ray, address, ceil(workers * num_cpus)), BuildProgress(progress) as shown:
        actor = ray.remote(PartWorker).options(
            num_cpus=num_cpus, num_gpus=num_gpus, max_restarts=-1, max_task_retries=retries
        )
        made = [actor.remote(encoder, target, number, wanted) for _ in range(min(workers, number))]
        source = _absolute(corpus)
        try:
            _share(
                ray,
                made,
                lambda worker, shard_id: worker.build.remote(source, shard_id),
                number,
                lambda done: shown.stage(
                    f"{done}/{number} parts, {_shards(target, number)} shards of the others"
                ),
            )
            if _is_large(target, number):
                shown.stage("training inverted lists")
                train(target, number, progress=False)
                _share(
                    ray,
                    made,
                    lambda worker, shard_id: worker.fill.remote(shard_id),
                    number,
                    lambda done: shown.stage(f"filling inverted lists {done}/{number}"),
                )
        finally:
            for worker in made:
                ray.kill(worker)
    # A name is in the parts, and is looked up when queries are to be encoded, or never.
    own = resolve_encoder(encoder()) if callable(encoder) else None
    index = finish(
        target,
        number,
        encoder=own,
        overwrite=overwrite,
        remove_parts=True,
        progress=progress,
    )
    if index.report.skipped:
        counts = ", ".join(f"{name} {count}" for name, count in index.report.skipped.items())
        warnings.warn(
            f"`corpus`: {index.report.skipped_total} entries passed over ({counts}); "
            "`index.report.problems` names the first.",
            RetrievalIndexWarning,
            stacklevel=2,
        )
    return index


def _share(
    ray: Any,
    workers: list[Any],
    start: Callable[[Any, int], Any],
    shard_num: int,
    say: Callable[[int], None],
) -> None:
    """Gives parts to workers until all are done.

    Only workers that run get one: a part given to a worker that the cluster has no room for would
    wait for ever.
    """
    waiting = list(range(shard_num))
    # What a worker is doing: its part, or None while it starts.
    running: dict[Any, tuple[Any, int | None]] = {w.ready.remote(): (w, None) for w in workers}
    finished = 0
    began = time.monotonic()
    warned = False
    while finished < shard_num:
        done, _ = ray.wait(list(running), timeout=PAUSE)
        for reference in done:
            worker, shard_id = running.pop(reference)
            _raise_what_it_raised(ray, reference, shard_id)
            finished += shard_id is not None
            if waiting:
                following = waiting.pop(0)
                running[start(worker, following)] = (worker, following)
        idle = not finished and all(shard_id is None for _, shard_id in running.values())
        if idle and not warned and time.monotonic() - began > PATIENCE:
            warned = True
            warnings.warn(
                f"No worker has started for {PATIENCE:.0f} s: `num_cpus` and `num_gpus` ask for "
                f"more than the Ray cluster has free ({ray.available_resources()}).",
                RetrievalIndexWarning,
                stacklevel=3,
            )
        say(finished)


def _raise_what_it_raised(ray: Any, reference: Any, shard_id: int | None) -> None:
    try:
        ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, Exception):
            raise error.cause from error
        raise
    except ray.exceptions.RayActorError as error:
        part = "before its first part" if shard_id is None else f"at part {shard_id}"
        raise WorkerLostError(
            f"A worker died too often {part}; its memory may not suffice. What is encoded is kept: "
            f"the same call continues. Ray says: {error}"
        ) from error


def _is_large(target: Path, shard_num: int) -> bool:
    """Returns whether filling the FAISS index in several places is worth while, and possible."""
    records = agreed_records(list(all_places(target, shard_num)))
    if sum(record.chunks for record in records) < FILL_FROM:
        return False
    return has_lists(chosen(records), records[0].plan.encoder.dimension)


def _shards(target: Path, shard_num: int) -> int:
    """Returns how many shards of unfinished parts are complete."""
    places = all_places(target, shard_num)
    return sum(len(list(place.workspace.glob("shard-*.json"))) for place in places)


def _check_portable(corpus: Any, encoder: Any) -> None:
    named = encoder is None or isinstance(encoder, str)
    makes = isinstance(encoder, type) or not hasattr(encoder, "encode")
    if not named and not (callable(encoder) and makes):
        raise ArgumentError(
            "`encoder` must be the name of an encoder or a function without arguments that makes "
            f"one, so that every worker loads its own; received: {type(encoder).__name__}."
        )
    paths = corpus if isinstance(corpus, list | tuple) else [corpus]
    if not callable(corpus) and not all(isinstance(path, str | os.PathLike) for path in paths):
        raise ArgumentError(
            "`corpus` must be a path, a list of paths, or a function without arguments that "
            f"returns a corpus, so that every worker reads it itself; received: "
            f"{type(corpus).__name__}."
        )


def _absolute(corpus: Any) -> Any:
    """Returns paths so that they mean the same in the folder a worker runs in."""
    if callable(corpus):
        return corpus
    if isinstance(corpus, list | tuple):
        # The ids of the documents are the paths as they are given: they must stay.
        return list(corpus)
    return os.path.abspath(os.path.expanduser(os.fspath(corpus)))
