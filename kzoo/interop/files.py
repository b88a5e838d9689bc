"""Folders of other libraries: JSON beside tensors, read without PyTorch.

A PyTorch checkpoint (`.bin`) is a pickle, and a pickle may call any function. The reader here knows
the one function that builds a tensor, the storage types and `OrderedDict`; whatever else a file
asks for is refused before it is looked up.
"""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kzoo.adapters.files import check_target
from kzoo.errors import AdapterError
from kzoo.files import replacing_folder

Tensors = dict[str, NDArray[Any]]


class InteropWarning(UserWarning):
    """Something in a file of another library was left aside."""


def read_json(path: Path) -> dict[str, Any]:
    """One JSON object.

    Raises:
        AdapterError: Missing, unreadable or something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AdapterError(
            f"`path` {str(path.parent)!r} has no {path.name}; it is no adapter folder."
        ) from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise AdapterError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise AdapterError(f"{path} holds a {type(found).__name__} instead of an object.")
    return found


def read_tensors(folder: Path, names: Sequence[str]) -> Tensors:
    """The tensors of the first of these files that is there, half precision as float32.

    Raises:
        AdapterError: None is there, or the file cannot be read.
    """
    for name in names:
        path = folder / name
        if path.is_file():
            return read_tensor_file(path)
    raise AdapterError(f"`path` {str(folder)!r} has none of {', '.join(names)}.")


def read_tensor_file(path: Path) -> Tensors:
    """The tensors of a safetensors file or a PyTorch checkpoint."""
    found = read_torch_bin(path) if path.suffix == ".bin" else _safetensors(path)
    return {
        key: array.astype("float32") if array.dtype.kind == "f" else array
        for key, array in found.items()
    }


def _safetensors(path: Path) -> Tensors:
    from safetensors import SafetensorError, safe_open

    found: Tensors = {}
    try:
        with safe_open(str(path), framework="numpy") as file:
            for key in file.keys():  # noqa: SIM118 (not a dict)
                if file.get_slice(key).get_dtype() == "BF16":
                    found[key] = _bfloat16(path, key)
                else:
                    found[key] = np.asarray(file.get_tensor(key))
    except (OSError, SafetensorError) as error:
        raise AdapterError(f"{path} cannot be read: {error}") from error
    return found


def _bfloat16(path: Path, key: str) -> NDArray[Any]:
    """A tensor of a type that NumPy does not have, as float32."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        facts = json.loads(file.read(size))[key]
        begin, end = facts["data_offsets"]
        file.seek(8 + size + begin)
        values = np.frombuffer(file.read(end - begin), "<u2").astype("<u4")
    return (values << 16).view("<f4").reshape(facts["shape"])


def write_folder(folder: str | Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    """Writes a folder as a whole, or nothing.

    Args:
        folder: An existing adapter folder is replaced; nothing else is.
        files: Name -> content: tensors for `.safetensors`, an object for `.json`.

    Raises:
        AdapterError: `folder` is there and is no adapter folder.
    """
    from safetensors.numpy import save_file

    target = Path(folder).expanduser()
    check_target(target)
    with replacing_folder(target) as fresh:
        for name, content in files.items():
            if name.endswith(".safetensors"):
                whole = {key: np.ascontiguousarray(array) for key, array in content.items()}
                # Readers that hand the file to torch ask for this key.
                save_file(whole, str(fresh / name), metadata={"format": "pt"})
            else:
                text = json.dumps(dict(content), indent=2, sort_keys=True) + "\n"
                (fresh / name).write_text(text, encoding="utf-8")


# --- PyTorch's checkpoints ------------------------------------------------------------------

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
    path = Path(path).expanduser()
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
