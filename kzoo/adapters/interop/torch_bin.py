"""Reads PyTorch's zip checkpoints (`.bin`) without PyTorch and without running anything in them.

A checkpoint is a pickle, and a pickle may call any function. This reader knows the one function
that builds a tensor, the storage types and `OrderedDict`; whatever else a file asks for is
refused before it is looked up.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kzoo.errors import AdapterError

_STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "<u2",  # widened below
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


def read_torch_bin(path: str | Path) -> dict[str, NDArray[Any]]:
    """Reads a state dict that `torch.save` wrote (PyTorch 1.6 and later).

    Args:
        path: The file.

    Returns:
        Key -> array. bfloat16 comes as float32.

    Raises:
        AdapterError: No zip checkpoint, something else than tensors in it, or sizes that the
            stored bytes do not have.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(path, archive)
    except AdapterError:
        raise
    except OSError as error:
        raise AdapterError(f"{path} cannot be read: {error}") from error
    except Exception as error:  # a broken pickle raises whatever its bytes happen to say
        raise AdapterError(f"{path} is no PyTorch checkpoint that can be read: {error}") from error


def _read(path: Path, archive: zipfile.ZipFile) -> dict[str, NDArray[Any]]:
    pickles = [name for name in archive.namelist() if name.endswith("data.pkl")]
    if len(pickles) != 1:
        raise AdapterError(f"{path} is no PyTorch checkpoint: it has {len(pickles)} data.pkl.")
    root = pickles[0].removesuffix("data.pkl")
    order = f"{root}byteorder"
    if order in archive.namelist() and archive.read(order).strip() != b"little":
        raise AdapterError(f"{path} was written on a big-endian machine.")
    found = _Tensors(io.BytesIO(archive.read(pickles[0])), archive, f"{root}data/").load()
    if not isinstance(found, dict):
        raise AdapterError(f"{path} holds a {type(found).__name__} instead of a state dict.")
    for key, value in found.items():
        if not isinstance(key, str) or not isinstance(value, np.ndarray):
            raise AdapterError(f"{path}: `{key}` is a {type(value).__name__} instead of a tensor.")
    return dict(found)


class _Tensors(pickle.Unpickler):
    """An unpickler that can build tensors and nothing else."""

    def __init__(self, stream: io.BytesIO, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(stream)
        self.archive = archive
        self.folder = folder
        self.storages: dict[str, NDArray[Any]] = {}

    def find_class(self, module: str, name: str) -> Any:
        """The few names a state dict needs."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _parameter
        if module == "torch" and name in _STORAGES:
            return name
        raise AdapterError(f"The checkpoint asks for `{module}.{name}`, which is not allowed.")

    def persistent_load(self, pid: Any) -> NDArray[Any]:
        """The bytes of a storage."""
        if not isinstance(pid, tuple) or len(pid) != 5 or pid[0] != "storage":
            raise AdapterError("The checkpoint refers to something that is no storage.")
        _, kind, key, _, _ = pid
        if kind not in _STORAGES or not isinstance(key, str):
            raise AdapterError(f"The checkpoint has a storage of type {kind!r}.")
        if key not in self.storages:
            values = np.frombuffer(self.archive.read(self.folder + key), _STORAGES[kind])
            if kind == "BFloat16Storage":  # the upper half of a float32
                values = (values.astype("<u4") << 16).view("<f4")
            self.storages[key] = values
        return self.storages[key]


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> NDArray[Any]:
    numbers = (offset, *shape, *strides)
    if not isinstance(storage, np.ndarray) or not all(
        isinstance(number, int) and number >= 0 for number in numbers
    ):
        raise AdapterError("The checkpoint has a tensor without valid sizes.")
    if len(shape) != len(strides):
        raise AdapterError("The checkpoint has a tensor with a wrong number of strides.")
    if 0 in shape:
        return np.zeros(shape, storage.dtype)
    last = offset + sum((size - 1) * step for size, step in zip(shape, strides, strict=True))
    if last >= storage.size:  # as_strided would read past the end
        raise AdapterError("The checkpoint has a tensor larger than its storage.")
    view = np.lib.stride_tricks.as_strided(
        storage[offset:], shape, [step * storage.itemsize for step in strides], writeable=False
    )
    return np.array(view)


def _parameter(data: Any, *_: Any) -> Any:
    return data
