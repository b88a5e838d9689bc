"""How is searched: the options of `Index.search`, from those of the command line."""

from __future__ import annotations

from typing import Any

from kzoo.cli.index.parameters import given
from kzoo.cli.index.where import parse_where


def search_options(
    mode: str | None,
    where: list[str] | None,
    per_document: int | None,
    fusion: str | None,
    weights: tuple[float, float] | None,
    depth: int | None,
    rerank: str | None,
) -> dict[str, Any]:
    """Arguments of `Index.search`; those that were not given are left to the library.

    Raises:
        InputError: If options do not fit each other, or the model cannot be loaded.
    """
    from kzoo.errors import InputError

    if mode != "hybrid":
        for name, value in (("--fusion", fusion), ("--weights", weights)):
            if value is not None:
                raise InputError(f"{name} is about hybrid search; add --mode hybrid.")
        if depth is not None and rerank is None:
            raise InputError("--depth is about hybrid search and --rerank; add one of them.")
    return given(
        mode=mode,
        where=parse_where(where),
        per_document=per_document,
        fusion=fusion,
        weights=weights,
        depth=depth,
        rerank=None if rerank is None else load_cross_encoder(rerank),
    )


def load_cross_encoder(name: str) -> Any:
    """A `CrossEncoder` of sentence-transformers, by name or folder.

    Raises:
        InputError: If the package or the model is missing.
    """
    from kzoo.errors import InputError

    try:
        from sentence_transformers import CrossEncoder
    except ImportError as error:
        raise InputError(
            "--rerank needs sentence-transformers. Run: pip install 'kzoo[sentence-transformers]'"
        ) from error
    try:
        return CrossEncoder(name)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise InputError(
            f"--rerank {name!r} cannot be loaded as a CrossEncoder: {reason:.300}"
        ) from error
