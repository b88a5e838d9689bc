"""The encoder of an index, found when the first query needs it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval_index.encoders.protocol import check_encoder, encode_queries
from retrieval_index.encoders.registry import resolve_encoder
from retrieval_index.errors import EncoderError, EncoderMismatchError
from retrieval_index.storage.manifest import Manifest

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from retrieval_index.encoders.protocol import Encoder


class QueryEncoder:
    """Encodes queries for an index.

    Args:
        path: Folder of the index, for messages.
        manifest: Says which encoder made the vectors.
        encoder: The encoder or its name; None: found by the name in the manifest when needed.

    Raises:
        EncoderMismatchError: If an encoder was given that is not the one of the index.
    """

    def __init__(self, path: Path, manifest: Manifest, encoder: str | Encoder | None) -> None:
        self._path = path
        self._manifest = manifest
        self._given = encoder
        self._encoder: Encoder | None = None
        if encoder is not None and not isinstance(encoder, str):
            self._encoder = check_same_encoder(encoder, manifest, path)

    def __call__(self, texts: list[str]) -> npt.NDArray[np.float32]:
        """Returns the vectors of queries, float32 of shape (len(texts), dimension)."""
        return encode_queries(self._found(), texts, self._manifest.encoder.normalize)

    def _found(self) -> Encoder:
        if self._encoder is None:
            name = self._given or self._manifest.encoder.name
            try:
                found = resolve_encoder(name)
            except EncoderError as error:
                raise EncoderError(
                    f"The encoder {name!r} of the index {self._path} cannot be found by its name; "
                    f"`retrieval_index.open(path, encoder=...)` takes the encoder itself. {error}"
                ) from error
            self._encoder = check_same_encoder(found, self._manifest, self._path)
        return self._encoder


def check_same_encoder(encoder: Any, manifest: Manifest, path: Path) -> Encoder:
    """Returns the encoder if it made the vectors of an index.

    Raises:
        EncoderMismatchError: If it did not.
    """
    checked = check_encoder(encoder)
    wanted = manifest.encoder
    received = (checked.dimension, checked.fingerprint)
    if received != (wanted.dimension, wanted.fingerprint):
        raise EncoderMismatchError(
            f"`encoder` must be the one that built {path}: {wanted.name}, dimension "
            f"{wanted.dimension}, fingerprint {wanted.fingerprint}; received "
            f"{checked.name}, dimension {received[0]}, fingerprint {received[1]}. "
            "Search with the former, or build the index again with the latter."
        )
    return checked
