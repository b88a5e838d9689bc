"""kzoo's own format of adapters: `adapter_config.json`, `adapter.safetensors`, the head.

Keys are `blocks.<number>.<site>.<variable>`; the adapter's name is in the JSON only, so that a
file can be loaded under another name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kzoo.adapters.config import AdapterConfig, parse_adapter
from kzoo.errors import AdapterError
from kzoo.files import replacing_folder

if TYPE_CHECKING:  # needs Keras
    from kzoo.adapters.manager import Adapters

FORMAT = 1
CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter.safetensors"
HEAD_FILE = "head.safetensors"

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class AdapterFile:
    """What an adapter folder holds.

    Args:
        name: The name it was saved under.
        config: Method and options.
        trunk: Facts about the trunk it was trained on; `fingerprint` is the sha256 of its weights.
        tensors: Key -> array.
        head: Facts about the head (labels, pooling), or None when no head was saved.
        head_tensors: The head's arrays.
    """

    name: str
    config: AdapterConfig
    trunk: dict[str, Any]
    tensors: Tensors
    head: dict[str, Any] | None
    head_tensors: Tensors


def check_target(target: Path) -> None:
    """Refuses to replace anything but an adapter folder.

    Raises:
        AdapterError: There is something else.
    """
    foreign = target.exists() and not (target / CONFIG_FILE).is_file()
    if foreign and (not target.is_dir() or any(target.iterdir())):
        raise AdapterError(
            f"`path` {str(target)!r} exists and is no adapter folder; choose another."
        )


def save_adapter(adapters: Adapters, name: str, path: str | Path, with_head: bool = True) -> None:
    """Writes one adapter of a model; `model.adapters.save` says how."""
    check_target(Path(path).expanduser())
    model = adapters.host
    head, head_variables = model.head_state(name) if with_head else (None, {})
    write_adapter(
        path,
        AdapterFile(
            name=name,
            config=adapters.configs[name],
            trunk={
                "fingerprint": adapters.trunk_fingerprint(name),
                **model.trunk_facts(),
                "origin": Path(model.origin).name,
            },
            tensors={k: np.asarray(v) for k, v in adapters.variables(name).items()},
            head=head,
            head_tensors={k: np.asarray(v) for k, v in head_variables.items()},
        ),
    )


def load_adapter(
    adapters: Adapters,
    path: str | Path,
    name: str | None = None,
    activate: bool = True,
    with_head: bool = True,
) -> str:
    """Adds a saved adapter to a model; `model.adapters.load` says how."""
    content = _read_for(adapters, path)
    name = name or content.name
    adapters.add(name, content.config, activate=False)
    try:
        # The head last of what can fail: it may take on the file's classes.
        _check(adapters, content, name, path)
        if with_head and content.head is not None:
            adapters.host.accept_head(content.head, name)
        _assign(adapters, content, name, path, with_head)
    except BaseException:
        adapters.delete(name)
        raise
    if activate:
        adapters.activate(name)
    return name


def swap_adapter(adapters: Adapters, name: str, path: str | Path, with_head: bool) -> None:
    """Puts a saved adapter's values in the place of an adapter's; see `model.adapters.swap`."""
    content = _read_for(adapters, path)
    mine, theirs = adapters.configs[name].model_dump(), content.config.model_dump()
    if differing := [k for k in {**mine, **theirs} if mine.get(k) != theirs.get(k)]:
        raise AdapterError(
            f"The adapter in {str(path)!r} differs from `{name}` in "
            f"{', '.join(f'`{key}`' for key in differing)}. Use load()."
        )
    _check(adapters, content, name, path)
    if with_head and content.head is not None:
        facts, _ = adapters.host.head_state(name)
        if facts != content.head:
            raise AdapterError(
                f"The head in {str(path)!r} has other classes or pooling than this model. "
                "Use load(), or `with_head=False`."
            )
    _assign(adapters, content, name, path, with_head)


def _read_for(adapters: Adapters, path: str | Path) -> AdapterFile:
    """Reads a folder that is for this model's trunk."""
    content = read_adapter(path)
    here = adapters.trunk_fingerprint()
    if content.trunk.get("fingerprint", "") not in (here, None):  # None: converted
        raise AdapterError(
            f"The adapter in {str(path)!r} was trained on another trunk: fingerprint "
            f"{content.trunk.get('fingerprint')} ({content.trunk.get('origin')}), this "
            f"model's trunk is {here} ({adapters.host.origin})"
            + (f", with {list(adapters.merged)} merged into it." if adapters.merged else ".")
        )
    return content


def _check(adapters: Adapters, content: AdapterFile, name: str, path: str | Path) -> None:
    shapes = {key: tuple(v.shape) for key, v in adapters.variables(name).items()}
    check_tensors(content.tensors, shapes, f"{str(path)!r}")


def _assign(
    adapters: Adapters, content: AdapterFile, name: str, path: str | Path, with_head: bool
) -> None:
    if with_head and content.head is not None:
        _, head = adapters.host.head_state(name)
        shapes = {key: tuple(v.shape) for key, v in head.items()}
        check_tensors(content.head_tensors, shapes, f"the head in {str(path)!r}")
        for key, variable in head.items():
            variable.assign(content.head_tensors[key])
    for key, variable in adapters.variables(name).items():
        variable.assign(content.tensors[key])


# --- The folder itself ---------------------------------------------------------------------


def write_adapter(folder: str | Path, content: AdapterFile) -> None:
    """Writes the folder as a whole, or nothing."""
    from safetensors.numpy import save_file

    facts = {
        "format": FORMAT,
        "kind": "kzoo-adapter",
        "name": content.name,
        "adapter": content.config.model_dump(mode="json"),
        "trunk": content.trunk,
        "head": content.head,
        "parameters": int(sum(array.size for array in content.tensors.values())),
    }
    with replacing_folder(folder) as fresh:
        save_file(_contiguous(content.tensors), str(fresh / WEIGHTS_FILE))
        if content.head is not None:
            save_file(_contiguous(content.head_tensors), str(fresh / HEAD_FILE))
        (fresh / CONFIG_FILE).write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n")


def read_adapter(folder: str | Path) -> AdapterFile:
    """Reads an adapter folder.

    Raises:
        AdapterError: Missing, truncated or foreign files, or a newer format.
    """
    folder = Path(folder).expanduser()
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise AdapterError(f"`path` {str(folder)!r} has no {CONFIG_FILE}; it is no adapter folder.")
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(facts, dict) or facts.get("kind") != "kzoo-adapter":
            raise AdapterError(f"{path} does not describe a kzoo adapter.")
        if facts["format"] > FORMAT:
            raise AdapterError(
                f"{path} has format {facts['format']}; this kzoo reads up to {FORMAT}. "
                "Run: pip install -U kzoo"
            )
        return AdapterFile(
            name=str(facts["name"]),
            config=parse_adapter(facts["adapter"]),
            trunk=dict(facts["trunk"]),
            tensors=_read_tensors(folder / WEIGHTS_FILE),
            head=facts["head"],
            head_tensors=_read_tensors(folder / HEAD_FILE) if facts["head"] is not None else {},
        )
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise AdapterError(f"{path} is not JSON: {error}") from error
    except (KeyError, TypeError) as error:
        raise AdapterError(
            f"{path} is incomplete: {error} is missing or of a wrong type"
        ) from error


def check_tensors(found: Tensors, expected: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Compares names and shapes, before anything is assigned.

    Raises:
        AdapterError: Names the first missing, unexpected and mis-shaped keys.
    """
    problems = []
    if missing := [key for key in expected if key not in found]:
        problems.append(f"missing {missing[:3]} ({len(missing)} in all)")
    if unexpected := [key for key in found if key not in expected]:
        problems.append(f"unexpected {unexpected[:3]} ({len(unexpected)} in all)")
    for key, shape in expected.items():
        if key in found and tuple(found[key].shape) != tuple(shape):
            problems.append(f"`{key}` has shape {tuple(found[key].shape)} instead of {shape}")
            break
    if problems:
        raise AdapterError(f"{where} does not fit: " + "; ".join(problems))


def _contiguous(tensors: Tensors) -> dict[str, NDArray[Any]]:
    return {key: np.ascontiguousarray(array) for key, array in tensors.items()}


def _read_tensors(path: Path) -> Tensors:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors: Tensors = load_file(str(path))
        return tensors
    except (OSError, SafetensorError) as error:
        raise AdapterError(f"{path} cannot be read: {error}") from error
