"""Any sentence-transformers model as an encoder."""

from __future__ import annotations

import hashlib
import os
from functools import cached_property
from typing import TYPE_CHECKING, Any

from retrieval_index.errors import EncoderError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

INSTALL = "pip install sentence-transformers"


class SentenceTransformerEncoder:
    """Encodes with a sentence-transformers model.

    Args:
        model_or_path: A loaded `SentenceTransformer`, a folder, or a name that
            sentence-transformers knows. Code inside a model folder is never run.
        device: As in sentence-transformers, such as "cpu"; None lets it choose. Only used when
            the model is loaded here.

    Raises:
        EncoderError: If sentence-transformers is not installed or cannot load the model.
    """

    def __init__(self, model_or_path: Any, device: str | None = None) -> None:
        if isinstance(model_or_path, str | os.PathLike):
            path = os.fspath(model_or_path)
            # An index may be searched from another working folder than it was built in.
            source = os.path.abspath(path) if os.path.isdir(path) else path
            self._model = _load(source, device)
        else:
            self._model = model_or_path
            transformer = getattr(model_or_path[0], "auto_model", None)
            source = getattr(transformer, "name_or_path", "") or "unnamed"
        self.name = f"sentence-transformers:{source}"

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        # Renamed in sentence-transformers 5.4; the old name warns since then.
        get = getattr(self._model, "get_embedding_dimension", None)
        return int((get or self._model.get_sentence_embedding_dimension)())

    @property
    def max_tokens(self) -> int | None:
        """The model's `max_seq_length`."""
        length = self._model.max_seq_length
        return None if length is None else int(length)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of everything that decides the vectors: weights, modules, pooling, length."""
        import torch

        digest = hashlib.sha256()
        modules = [type(module).__name__ for module in self._model]
        pooling = [getattr(module, "pooling_mode", None) for module in self._model]
        digest.update(repr((modules, [str(mode) for mode in pooling], self.max_tokens)).encode())
        for key, tensor in sorted(self._model.state_dict().items()):
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(flat.view(torch.uint8).numpy().data)  # bfloat16 has no numpy type
        return f"sha256:{digest.hexdigest()}"

    def encode(self, texts: list[str], /) -> npt.NDArray[np.float32]:
        """Returns passage vectors, float32 of shape (len(texts), dimension)."""
        return self._encode(getattr(self._model, "encode_document", self._model.encode), texts)

    def encode_queries(self, texts: list[str], /) -> npt.NDArray[np.float32]:
        """Returns query vectors; differs from `encode` where the model has a query prompt."""
        return self._encode(getattr(self._model, "encode_query", self._model.encode), texts)

    def token_offsets(self, texts: list[str], /) -> list[list[tuple[int, int]]]:
        """Returns the character spans of the tokens of each text, nothing truncated."""
        answer = self._model.tokenizer(
            texts,
            add_special_tokens=False,
            return_offsets_mapping=True,
            truncation=False,
            padding=False,
            verbose=False,  # or it warns of every text longer than the model reads
        )
        return [[(int(a), int(b)) for a, b in spans] for spans in answer["offset_mapping"]]

    @staticmethod
    def _encode(call: Any, texts: list[str]) -> npt.NDArray[np.float32]:
        import numpy as np

        vectors = call(texts, batch_size=len(texts), show_progress_bar=False, convert_to_numpy=True)
        return np.asarray(vectors, dtype=np.float32)


def _load(source: str, device: str | None) -> Any:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise EncoderError(
            f"`encoder` {source} needs sentence-transformers, which cannot be imported ({error}). "
            f"Run: {INSTALL}"
        ) from error
    try:
        return SentenceTransformer(source, device=device, trust_remote_code=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise EncoderError(
            f"`encoder` must be a model that sentence-transformers can load; {source!r} is not: "
            f"{error}"
        ) from error
