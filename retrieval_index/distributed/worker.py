"""The process on Ray that builds parts, one after the other."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from retrieval_index.distributed.lists import fill_part
from retrieval_index.distributed.part_building import Part, build_part
from retrieval_index.encoders.registry import resolve_encoder
from retrieval_index.errors import BuildLockedError

if TYPE_CHECKING:
    from retrieval_index.encoders.protocol import Encoder

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
