"""From the name of an encoder to the encoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from retrieval_index.encoders.protocol import check_encoder
from retrieval_index.errors import EncoderError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from retrieval_index.encoders.protocol import Encoder

ENTRY_POINT_GROUP = "retrieval_index.encoders"
DEFAULT_ENCODER = "kzoo:minilm-encoder"
HOW_TO_INSTALL = {"kzoo": "pip install kzoo"}


def resolve_encoder(encoder: str | Encoder | None = None) -> Encoder:
    """Returns an encoder, found by name where a name is given.

    Args:
        encoder: An encoder; or "hashing[:<dimension>[:<seed>]]",
            "sentence-transformers:<folder or name>[?backend=...&truncate_dim=...&...]" (see
            `SentenceTransformerEncoder`), "precomputed:<file>[?ids=...&query_encoder=...]" (see
            `PrecomputedVectors`), or "<provider>:<name>", whose provider an installed package
            registers as an entry point of the group "retrieval_index.encoders" (a callable that
            takes the name). None means "kzoo:minilm-encoder".

    Returns:
        The encoder, checked against the protocol.

    Raises:
        EncoderError: If the provider is unknown or cannot be imported, or if what it returns is
            no encoder.
    """
    if encoder is None:
        encoder = DEFAULT_ENCODER
    if not isinstance(encoder, str):
        return check_encoder(encoder)
    provider, _, name = encoder.partition(":")
    return check_encoder(_loader(provider, encoder)(name))


def known_providers() -> list[str]:
    """Returns the names that may stand before the colon of an encoder's name, sorted."""
    return sorted({*_BUILT_IN, *(point.name for point in _entry_points())})


def _loader(provider: str, encoder: str) -> Callable[[str], Any]:
    if provider in _BUILT_IN:
        return _BUILT_IN[provider]
    for point in _entry_points():
        if point.name == provider:
            try:
                loader: Callable[[str], Any] = point.load()
            except (ImportError, AttributeError) as error:
                raise EncoderError(
                    f"`encoder` {encoder!r}: its provider {point.value} cannot be imported "
                    f"({error})."
                ) from error
            return loader
    command = HOW_TO_INSTALL.get(provider)
    remedy = f"Run: {command}" if command else "Install the package that registers it."
    raise EncoderError(
        f"`encoder` {encoder!r} has the unknown provider {provider!r}; known here: "
        f"{', '.join(known_providers())}. {remedy}"
    )


def _entry_points() -> list[EntryPoint]:
    from importlib.metadata import entry_points

    return list(entry_points(group=ENTRY_POINT_GROUP))


def _hashing(name: str) -> Any:
    from retrieval_index.encoders.hashing import HashingEncoder

    return HashingEncoder.from_name(name)


def _precomputed(name: str) -> Any:
    from retrieval_index.encoders.precomputed import PrecomputedVectors

    return PrecomputedVectors.from_name(name)


def _sentence_transformers(name: str) -> Any:
    from retrieval_index.encoders.sentence_transformer import SentenceTransformerEncoder

    return SentenceTransformerEncoder.from_name(name)


_BUILT_IN: dict[str, Callable[[str], Any]] = {
    "hashing": _hashing,
    "precomputed": _precomputed,
    "sentence-transformers": _sentence_transformers,
}
