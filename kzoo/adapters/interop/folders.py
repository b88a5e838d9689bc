"""Adapter folders of others: a JSON config beside tensors, without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kzoo.adapters.interop.torch_bin import read_torch_bin
from kzoo.errors import AdapterError
from kzoo.files import replacing_folder

CONFIG_FILE = "adapter_config.json"

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


def write_folder(
    folder: str | Path, config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]], name: str
) -> None:
    """Writes config and tensors as a whole, or nothing.

    Args:
        folder: An existing adapter folder is replaced; nothing else is.
        config: Goes to `adapter_config.json`.
        tensors: Go to the safetensors file.
        name: Name of that file.

    Raises:
        AdapterError: `folder` is there and is no adapter folder.
    """
    from safetensors.numpy import save_file

    target = Path(folder)
    foreign = target.exists() and not (target / CONFIG_FILE).is_file()
    if foreign and (not target.is_dir() or any(target.iterdir())):
        raise AdapterError(
            f"`path` {str(folder)!r} exists and is no adapter folder; choose another."
        )
    whole = {key: np.ascontiguousarray(array) for key, array in tensors.items()}
    with replacing_folder(target) as fresh:
        # Readers that hand the file to torch ask for this key.
        save_file(whole, str(fresh / name), metadata={"format": "pt"})
        text = json.dumps(dict(config), indent=2, sort_keys=True) + "\n"
        (fresh / CONFIG_FILE).write_text(text, encoding="utf-8")
