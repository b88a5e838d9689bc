"""Where the parts of an index lie until it is finished."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from retrieval_index.errors import ArgumentError

MAX_SHARDS = 99_999  # five digits: names sort as numbers do


@dataclass(frozen=True, slots=True)
class Place:
    """The files of one part, in `<out>.parts` beside the index.

    Args:
        target: Folder of the index.
        shard_id: Which part, from 0.
        shard_num: How many parts there are.

    Raises:
        ArgumentError: Unless `0 <= shard_id < shard_num`.
    """

    target: Path
    shard_id: int
    shard_num: int

    def __post_init__(self) -> None:
        check_shard_num(self.shard_num)
        number = self.shard_id
        if isinstance(number, bool) or not isinstance(number, int):
            raise ArgumentError(f"`shard_id` must be a whole number; received: {number!r}.")
        if not 0 <= number < self.shard_num:
            raise ArgumentError(
                f"`shard_id` must lie in [0, {self.shard_num}), the number of parts; received: "
                f"{number}."
            )

    @property
    def folder(self) -> Path:
        """The part, which is an index by itself."""
        return parts_folder(self.target) / part_name(self.shard_id, self.shard_num)

    @property
    def record(self) -> Path:
        """What the part was made from."""
        return self.folder.with_name(f"{self.folder.name}.json")

    @property
    def workspace(self) -> Path:
        """Where it is made, and waits for being taken up again if that was broken off."""
        return self.folder.with_name(f".{self.folder.name}.building")


def all_places(target: Path, shard_num: int) -> Iterator[Place]:
    """Yields the places of all parts, in order."""
    for shard_id in range(check_shard_num(shard_num)):
        yield Place(target, shard_id, shard_num)


def parts_folder(target: Path) -> Path:
    """Returns the folder of all parts of an index."""
    return target.with_name(f"{target.name}.parts")


def part_name(shard_id: int, shard_num: int) -> str:
    """Returns the name of a part, such as "part-00002-of-00008"."""
    return f"part-{shard_id:05d}-of-{shard_num:05d}"


def check_shard_num(shard_num: int) -> int:
    """Returns the number of parts.

    Raises:
        ArgumentError: If it is no whole number from 1 to 99,999.
    """
    if isinstance(shard_num, bool) or not isinstance(shard_num, int):
        raise ArgumentError(f"`shard_num` must be a whole number; received: {shard_num!r}.")
    if not 1 <= shard_num <= MAX_SHARDS:
        raise ArgumentError(
            f"`shard_num` must lie in [1, {MAX_SHARDS:,}], the number of parts; received: "
            f"{shard_num}."
        )
    return shard_num
