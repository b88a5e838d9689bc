"""The Ray cluster, and the process in it that builds parts one after the other."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from retrieval_index.distributed.lists import fill_part
from retrieval_index.distributed.part_building import Part, build_part
from retrieval_index.encoders.registry import resolve_encoder
from retrieval_index.errors import BuildLockedError, RetrievalIndexError

if TYPE_CHECKING:
    from retrieval_index.encoders.protocol import Encoder

OBJECT_STORE_BYTES = 80 * 2**20  # Ray's least; what workers return is a few hundred bytes
# Ray has this switch for macOS and Windows, where "0" is the default: a cluster of one machine,
# whose processes listen on the loopback address only. Here they would listen on all others too.
ONE_MACHINE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}


def load_ray() -> Any:
    """Returns the package.

    Raises:
        RetrievalIndexError: If it is not installed.
    """
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise RetrievalIndexError(
            f"`retrieval_index.distributed.build` needs Ray ({error}). "
            "Run: pip install 'kzoo[ray]'. Without it: `build_part` and `finish`."
        ) from error
    return ray


@contextmanager
def connected(ray: Any, address: str | None, cpus: int) -> Iterator[None]:
    """Holds a connection to a cluster.

    Args:
        ray: The package.
        address: Its address. None: the cluster that this process is connected to, or else one of
            this machine alone that ends with the connection.
        cpus: CPUs of that one.
    """
    if address is None and ray.is_initialized():
        yield
        return
    if address is not None:
        ray.init(address=address, ignore_reinit_error=True)
        try:
            yield
        finally:
            ray.shutdown()
        return
    with _one_machine():
        ray.init(
            address="local",
            num_cpus=max(1, cpus),
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level="ERROR",
        )
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def _one_machine() -> Iterator[None]:
    """Tells Ray in this process and in those it starts that there is one machine only."""
    from ray._private import ray_constants

    before = {name: os.environ.get(name) for name in ONE_MACHINE}
    # It reads the variable once, when it is imported, which may have been long ago.
    several = getattr(ray_constants, "ENABLE_RAY_CLUSTER", None)
    os.environ.update(ONE_MACHINE)
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = several
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


Result = TypeVar("Result")

LOCK_PATIENCE = 120.0
LOCK_PAUSE = 2.0


class PartWorker:
    """Makes its encoder once, at the first part.

    Args:
        encoder: Name of the encoder, or a function that makes it.
        out: Folder of the finished index.
        shard_num: Number of parts.
        options: Options of `build_part`.
    """

    def __init__(
        self,
        encoder: str | Callable[[], Any] | None,
        out: Path,
        shard_num: int,
        options: Mapping[str, Any],
    ) -> None:
        self._made_by = encoder
        self._encoder: Encoder | None = None
        self._out = out
        self._shard_num = shard_num
        self._options = dict(options)

    def ready(self) -> int:
        """Returns the process id, as soon as there is a process."""
        return os.getpid()

    def build(self, corpus: Any, shard_id: int) -> Part:
        """Builds a part, or takes up one whose worker died.

        Args:
            corpus: As in `build_part`, or a function that returns it.
            shard_id: Which part.
        """
        if self._encoder is None:
            made_by = self._made_by
            self._encoder = resolve_encoder(made_by() if callable(made_by) else made_by)
        encoder = self._encoder

        def attempt() -> Part:
            return build_part(
                corpus() if callable(corpus) else corpus,
                self._out,
                encoder,
                shard_id=shard_id,
                shard_num=self._shard_num,
                progress=False,
                **self._options,
            )

        return _patiently(attempt)

    def fill(self, shard_id: int) -> Path:
        """Fills a range of the inverted lists, see `fill_part`."""
        number = self._shard_num
        return _patiently(
            lambda: fill_part(self._out, shard_id=shard_id, shard_num=number, progress=False)
        )


def _patiently(attempt: Callable[[], Result]) -> Result:
    """Calls a function again while another process holds the lock, up to two minutes."""
    given_up = time.monotonic() + LOCK_PATIENCE
    while True:
        try:
            return attempt()
        except BuildLockedError:
            # A file system on the net takes a while to notice that the process died that had
            # this part; or Ray lost sight of one that is alive, and finishes the part.
            if time.monotonic() > given_up:
                raise
            time.sleep(LOCK_PAUSE)
