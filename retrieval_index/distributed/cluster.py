"""The Ray cluster that workers run in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from retrieval_index.errors import RetrievalIndexError

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
