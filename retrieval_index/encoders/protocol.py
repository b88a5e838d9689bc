"""What an encoder is, what tells one from another, and calls of one with its answers checked."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable
from urllib.parse import parse_qsl, urlencode

from retrieval_index.errors import EncoderError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Vectors = npt.NDArray[np.float32]


@runtime_checkable
class Encoder(Protocol):
    """Turns texts into vectors.

    An encoder may also have:

    - `token_offsets(texts: list[str]) -> list[list[tuple[int, int]]]`: the character spans of its
      tokens, special tokens left out and nothing truncated. Chunk sizes then count its tokens.
    - `encode_queries(texts: list[str])`: like `encode`, for models that treat queries otherwise
      than passages. Without it, `encode` does both.
    - `encode_documents(ids: list[str], texts: list[str])`: like `encode`, for vectors that are
      found by document id (`PrecomputedVectors`). Where it exists it is called instead of `encode`
      for everything that goes into an index, and each document is one passage: the chunking
      method is "none".
    - `as_index_encoder()`: the encoder itself under a `name` that finds it again, where its own
      `name` means something else.
    """

    @property
    def name(self) -> str:
        """ "<provider>:<name>", through which `resolve_encoder` finds the encoder again."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes whenever the vectors would change; a hash of the weights, for instance."""
        ...

    @property
    def max_tokens(self) -> int | None:
        """Tokens read of a text, special tokens included; None when there is no limit."""
        ...

    def encode(self, texts: list[str], /) -> npt.NDArray[np.float32]:
        """Returns float32 vectors of shape (len(texts), dimension), in the order of the texts."""
        ...


def check_encoder(encoder: Any) -> Encoder:
    """Returns the encoder if it fits the protocol.

    Raises:
        EncoderError: If a part is missing or of the wrong kind; all such parts are named.
    """
    # A model whose own `name` cannot find it again offers itself under one that can.
    under_a_name = getattr(encoder, "as_index_encoder", None)
    if callable(under_a_name):
        encoder = under_a_name()
    wrong: list[str] = []
    if not callable(getattr(encoder, "encode", None)):
        wrong.append("a method `encode(list[str])`")
    dimension = getattr(encoder, "dimension", None)
    if isinstance(dimension, bool) or not isinstance(dimension, int) or dimension < 1:
        wrong.append(f"`dimension`, an int of at least 1 (it is {dimension!r})")
    for attribute in ("fingerprint", "name"):
        value = getattr(encoder, attribute, None)
        if not isinstance(value, str) or not value:
            wrong.append(f"`{attribute}`, a non-empty str (it is {value!r})")
    limit = getattr(encoder, "max_tokens", "missing")
    if isinstance(limit, bool) or not isinstance(limit, int | None) or (limit or 1) < 1:
        wrong.append(f"`max_tokens`, an int or None (it is {limit!r})")
    if wrong:
        raise EncoderError(
            f"`encoder` of type {type(encoder).__name__} must have " + "; ".join(wrong) + "."
        )
    checked: Encoder = encoder
    return checked


def encode_passages(encoder: Encoder, texts: list[str], normalize: bool) -> Vectors:
    """Returns the checked vectors of passages, float32 of shape (len(texts), dimension).

    Args:
        encoder: The encoder.
        texts: At least one text.
        normalize: Whether rows are scaled to length 1; a zero row stays zero.

    Raises:
        EncoderError: If shape or dtype is wrong, or a value is not finite.
    """
    return check_vectors(encoder.encode(list(texts)), encoder.dimension, texts, normalize)


def encode_queries(encoder: Encoder, texts: list[str], normalize: bool) -> Vectors:
    """As `encode_passages`, through `encoder.encode_queries` where the encoder has it."""
    call: Callable[[list[str]], Any] = getattr(encoder, "encode_queries", encoder.encode)
    return check_vectors(call(list(texts)), encoder.dimension, texts, normalize)


def check_vectors(found: Any, dimension: int, texts: list[str], normalize: bool) -> Vectors:
    """Returns what an encoder returned for texts, checked, as float32 rows.

    Raises:
        EncoderError: If shape or dtype is wrong, or a value is not finite.
    """
    import numpy as np

    raw = np.asarray(found)
    expected = (len(texts), dimension)
    if raw.shape != expected:
        raise EncoderError(
            f"`encoder` must return an array of shape {expected}; received {raw.shape}."
        )
    if not np.issubdtype(raw.dtype, np.floating):
        raise EncoderError(f"`encoder` must return float32; received dtype {raw.dtype}.")
    vectors = np.ascontiguousarray(raw, dtype=np.float32)
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise EncoderError(
            "`encoder` must return finite numbers; received NaN or infinity for "
            f"{texts[row]!r:.80}."
        )
    return normalized(vectors) if normalize else vectors


def normalized(vectors: Vectors) -> Vectors:
    """Returns rows scaled to length 1; a zero row stays zero, and scores 0 with everything."""
    import numpy as np

    # float64 sums: the squares of large float32 values overflow.
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    norms[norms == 0] = 1.0
    unit: Vectors = (vectors / norms[:, None]).astype(np.float32)
    return unit


def with_options(source: str, options: Mapping[str, object]) -> str:
    """Returns "source?option=value&...", percent-encoded; options that are None are left out."""
    given = {key: str(value) for key, value in options.items() if value is not None}
    return f"{source}?{urlencode(given, safe='/:')}" if given else source


def split_options(name: str, provider: str, known: Collection[str]) -> tuple[str, dict[str, str]]:
    """Returns the source and the options of a name.

    Args:
        name: What stands behind "<provider>:".
        provider: For messages.
        known: Options there are.

    Raises:
        EncoderError: If there is no source, or an option that is unknown, repeated or malformed.
    """
    if os.path.exists(name):  # a file whose name holds a question mark
        return name, {}
    source, mark, query = name.partition("?")
    if not source:
        raise EncoderError(
            f"`encoder` must be written '{provider}:<path or name>'; received: '{provider}:{name}'."
        )
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if mark else []
    except ValueError as error:
        raise EncoderError(
            f"`encoder` must be written '{provider}:<path or name>?<option>=<value>&...'; "
            f"received: '{provider}:{name}' ({error})."
        ) from error
    options = dict(pairs)
    unknown = sorted(set(options) - set(known))
    if unknown or len(options) < len(pairs):
        what = f"the unknown option {unknown[0]!r}" if unknown else "an option twice"
        raise EncoderError(
            f"`encoder` '{provider}:{name}' has {what}; there are: {', '.join(sorted(known))}."
        )
    return source, options


def model_digest(
    model: Any, backend: str, prompts: tuple[str, str], truncate_dim: int | None
) -> str:
    """Returns "sha256:..." of all that decides the vectors of a model.

    Args:
        model: A loaded `SentenceTransformer`.
        backend: "torch", "onnx" or "openvino".
        prompts: What is put before a query, and before a passage.
        truncate_dim: Numbers kept of a vector, or None.

    Raises:
        EncoderError: If the weights of a backend other than torch cannot be found.
    """
    import torch

    digest = hashlib.sha256()
    modules = [type(module).__name__ for module in model]
    pooling = [getattr(module, "pooling_mode", None) for module in model]
    length = None if model.max_seq_length is None else int(model.max_seq_length)
    digest.update(repr((modules, [str(mode) for mode in pooling], length)).encode())
    for key, tensor in sorted(model.state_dict().items()):
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(flat.view(torch.uint8).numpy().data)  # bfloat16 has no numpy type
    if prompts != ("", "") or truncate_dim is not None:
        digest.update(repr((prompts, truncate_dim)).encode())
    if backend != "torch":
        digest.update(backend.encode())
        for file in _weight_files(model[0].auto_model, backend):
            digest.update(file.name.encode())
            with file.open("rb") as stream:
                while block := stream.read(2**20):
                    digest.update(block)
    return f"sha256:{digest.hexdigest()}"


def _weight_files(model: Any, backend: str) -> list[Path]:
    """Returns the file an onnx or openvino model was read from, and the data beside it."""
    path, folder = getattr(model, "path", None), getattr(model, "model_save_dir", None)
    if path is not None and Path(path).is_file():
        path = Path(path)
        return sorted(file for file in path.parent.iterdir() if file.name.startswith(path.name))
    if folder is not None:
        suffixes = (".onnx", ".onnx_data") if backend == "onnx" else (".xml", ".bin")
        found = sorted(file for file in Path(folder).rglob("*") if file.suffix in suffixes)
        if found:
            return found
    raise EncoderError(
        f"`encoder` with the backend {backend} keeps its weights where they cannot be found, so "
        "changes to them would go unnoticed. Use the backend torch."
    )
