"""What tells one encoder from another: the options in its name, and the digest of its model."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

from retrieval_index.errors import EncoderError


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
