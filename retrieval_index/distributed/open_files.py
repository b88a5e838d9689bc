"""How many files a process may have open."""

from __future__ import annotations

from retrieval_index.errors import ArgumentError

FILES_OF_A_PART = 3
FILES_OF_A_PROCESS = 100


def check_open_files(parts: int) -> None:
    """Refuses more parts than can be open at the same time.

    Otherwise some part would look damaged, as its files cannot be opened.

    Raises:
        ArgumentError: If the limit is too low.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = FILES_OF_A_PART * parts + FILES_OF_A_PROCESS
    if limit != resource.RLIM_INFINITY and limit < needed:
        raise ArgumentError(
            f"`shard_num` is {parts}: about {needed:,} files are open at a time, and this process "
            f"may open {limit:,}. Run: ulimit -n {needed}"
        )
