"""Any sentence-transformers model as an encoder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from retrieval_index.encoders.protocol import model_digest, split_options, with_options
from retrieval_index.errors import EncoderError, check_positive

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

BACKENDS = ("torch", "onnx", "openvino")
OPTIONS = ("backend", "file_name", "truncate_dim", "query_prompt", "document_prompt")
# The names under which sentence-transformers looks for the prompt of a passage, in this order.
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")


class SentenceTransformerEncoder:
    """Encodes with a sentence-transformers model.

    Args:
        model_or_path: A loaded `SentenceTransformer`, a folder, or a name that
            sentence-transformers knows. Code inside a model folder is never run.
        device: As in sentence-transformers, such as "cpu"; None lets it choose. Only used when
            the model is loaded here; not part of the encoder's name.
        backend: "torch", "onnx" or "openvino": what computes. Only used when the model is loaded
            here.
        file_name: Weights file inside the model, such as "onnx/model_qint8_avx512.onnx". Only for
            onnx and openvino, and when the model is loaded here.
        truncate_dim: Numbers kept of a vector, for models trained so that the first ones matter
            most (Matryoshka). Default: what the model says, as a rule all.
        query_prompt: What is put before each query. Default: the model's own prompt "query", if it
            has one; "" for none.
        document_prompt: What is put before each passage. Default: the model's own prompt
            "document", "passage" or "corpus", if it has one; "" for none.
        devices: Devices of processes that encode passages side by side, such as ["cuda:0",
            "cuda:1"]; they start with the first passage and end with `close()`. Default: none,
            everything is encoded in this process. A script that uses them needs
            `if __name__ == "__main__":`.

    Raises:
        EncoderError: If sentence-transformers or what the backend needs is not installed, the
            model cannot be loaded, or an option is none.
        ArgumentError: If `truncate_dim` is no whole number of at least 1.
    """

    def __init__(
        self,
        model_or_path: Any,
        device: str | None = None,
        *,
        backend: str = "torch",
        file_name: str | None = None,
        truncate_dim: int | None = None,
        query_prompt: str | None = None,
        document_prompt: str | None = None,
        devices: Sequence[str] | None = None,
    ) -> None:
        if truncate_dim is not None:
            truncate_dim = check_positive("truncate_dim", truncate_dim)
        if isinstance(model_or_path, str | os.PathLike):
            _check_backend(backend, file_name)
            path = os.fspath(model_or_path)
            # An index may be searched from another working folder than it was built in.
            source = os.path.abspath(path) if os.path.isdir(path) else path
            self._model = _load(source, device, backend, file_name)
        else:
            if (device, backend, file_name) != (None, "torch", None):
                raise EncoderError(
                    "`device`, `backend` and `file_name` decide how a model is loaded; received "
                    "them with a model that is loaded already."
                )
            self._model = model_or_path
            transformer = getattr(model_or_path[0], "auto_model", None)
            source = getattr(transformer, "name_or_path", "") or "unnamed"
        self.backend = str(getattr(self._model, "backend", "torch"))
        self._truncate_dim = truncate_dim or getattr(self._model, "truncate_dim", None)
        self._prompts = (query_prompt, document_prompt)
        self._devices = list(devices) if devices else None
        self._pool: Any = None
        if self._model is model_or_path:
            # They may have been set after it was loaded.
            query_prompt, document_prompt = (prompt or None for prompt in self.prompts)
        options = {
            "backend": None if self.backend == "torch" else self.backend,
            "file_name": file_name,
            "truncate_dim": self._truncate_dim,
            "query_prompt": query_prompt,
            "document_prompt": document_prompt,
        }
        self.name = f"sentence-transformers:{with_options(source, options)}"

    @classmethod
    def from_name(cls, name: str) -> SentenceTransformerEncoder:
        """Returns the encoder that "<folder or name>?backend=...&truncate_dim=...&..." names."""
        source, options = split_options(name, "sentence-transformers", OPTIONS)
        length = options.get("truncate_dim")
        if length is not None and not (length.isascii() and length.isdecimal()):
            raise EncoderError(f"`truncate_dim` must be a whole number; received: {length!r}.")
        return cls(
            source,
            backend=options.get("backend", "torch"),
            file_name=options.get("file_name"),
            truncate_dim=None if length is None else int(length),
            query_prompt=options.get("query_prompt"),
            document_prompt=options.get("document_prompt"),
        )

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        # Renamed in sentence-transformers 5.4; the old name warns since then.
        get = getattr(self._model, "get_embedding_dimension", None)
        full = int((get or self._model.get_sentence_embedding_dimension)())
        return min(full, self._truncate_dim or full)

    @property
    def max_tokens(self) -> int | None:
        """The model's `max_seq_length`, less the tokens of the prompt before each passage."""
        length = self._model.max_seq_length
        if length is None:
            return None
        prompt = self.prompts[1]
        return max(1, int(length) - (len(self.token_offsets([prompt])[0]) if prompt else 0))

    @property
    def prompts(self) -> tuple[str, str]:
        """What is put before a query, and before a passage; "" for nothing."""
        own: dict[str, str] = getattr(self._model, "prompts", None) or {}
        default = own.get(getattr(self._model, "default_prompt_name", None) or "", "")
        query, document = self._prompts
        if query is None:
            query = own.get("query", default)
        if document is None:
            # sentence-transformers 6 sets an empty "document" beside a "passage" a model came with,
            # and then takes the empty one.
            named = [own[name] for name in _DOCUMENT_PROMPTS if name in own]
            document = next((prompt for prompt in named if prompt), "") if named else default
        return query, document

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all that decides the vectors.

        Weights, modules, pooling, length, prompts, truncation and backend.
        """
        return model_digest(self._model, self.backend, self.prompts, self._truncate_dim)

    def encode(self, texts: list[str], /) -> npt.NDArray[np.float32]:
        """Returns passage vectors, float32 of shape (len(texts), dimension)."""
        call = getattr(self._model, "encode_document", self._model.encode)
        if self._devices and texts:
            if self._pool is None:
                self._pool = self._model.start_multi_process_pool(self._devices)
            share = -(-len(texts) // len(self._devices))
            return self._encode(call, texts, self.prompts[1], pool=self._pool, chunk_size=share)
        return self._encode(call, texts, self.prompts[1])

    def encode_queries(self, texts: list[str], /) -> npt.NDArray[np.float32]:
        """Returns query vectors; differs from `encode` where the model has a query prompt."""
        call = getattr(self._model, "encode_query", self._model.encode)
        return self._encode(call, texts, self.prompts[0])

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
        offsets: list[list[tuple[int, int]]] = answer["offset_mapping"]
        return offsets

    def close(self) -> None:
        """Ends the processes of `devices`; they start again when passages come."""
        if self._pool is not None:
            self._model.stop_multi_process_pool(self._pool)
            self._pool = None

    def _encode(
        self, call: Any, texts: list[str], prompt: str, **pool: Any
    ) -> npt.NDArray[np.float32]:
        import numpy as np

        options = dict(pool)
        if self._truncate_dim is not None:
            options["truncate_dim"] = self._truncate_dim
        vectors = call(
            texts,
            prompt=prompt,
            batch_size=pool.get("chunk_size", len(texts)),
            show_progress_bar=False,
            convert_to_numpy=True,
            **options,
        )
        return np.asarray(vectors, dtype=np.float32)


def _check_backend(backend: str, file_name: str | None) -> None:
    if backend not in BACKENDS:
        raise EncoderError(
            f"`backend` must be one of {', '.join(map(repr, BACKENDS))}; received: {backend!r}."
        )
    if file_name is not None and backend == "torch":
        raise EncoderError(
            f"`file_name` is for the backends onnx and openvino; received {file_name!r} with torch."
        )


def _load(source: str, device: str | None, backend: str, file_name: str | None) -> Any:
    extra = "" if backend == "torch" else f"[{backend}]"
    install = (
        f'pip install "sentence-transformers{extra}"'
        if extra
        else ("pip install sentence-transformers")
    )
    options: dict[str, Any] = {"backend": backend} if backend != "torch" else {}
    if file_name is not None:
        options["model_kwargs"] = {"file_name": file_name}
    try:
        from sentence_transformers import SentenceTransformer

        return SentenceTransformer(source, device=device, trust_remote_code=False, **options)
    except ImportError as error:
        what = (
            f"the backend {backend} of sentence-transformers"
            if extra
            else ("sentence-transformers")
        )
        raise EncoderError(
            f"`encoder` {source} needs {what}, which cannot be imported ({error}). Run: {install}"
        ) from error
    except Exception as error:
        # OSError, ValueError, RuntimeError, or whatever the backend has of its own.
        if str(error).startswith("Using the ") and extra:
            raise EncoderError(f"`encoder` {source}: {error} Run: {install}") from error
        raise EncoderError(
            f"`encoder` must be a model that sentence-transformers can load; {source!r} is not: "
            f"{error}"
        ) from error
