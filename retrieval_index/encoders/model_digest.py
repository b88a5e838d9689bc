"""What tells one sentence-transformers model from another."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from retrieval_index.errors import EncoderError


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
