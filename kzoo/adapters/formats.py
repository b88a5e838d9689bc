"""The formats that adapters are saved in, and the manager's methods for those of two libraries.

Each is found by name: kzoo's own is in `kzoo.adapters.files`, those of other libraries in
`kzoo.interop`. A package outside of kzoo adds one as an entry point of the group
`kzoo.adapter-formats`, and `model.adapters.save(..., format=...)` has it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kzoo.adapters.acting.composition import Block
from kzoo.adapters.files import load_adapter, save_adapter
from kzoo.errors import AdapterError
from kzoo.registry import Registry

if TYPE_CHECKING:  # uses this module
    from kzoo.adapters.manager import Adapters


@dataclass(frozen=True)
class AdapterFormat:
    """How the adapters of a model are written to folders of one kind, and read from them.

    Each function takes the model's manager first; its further arguments are those of the manager's
    methods `save` and `load`, and options of its own by name.

    Args:
        save: (adapters, name, path, with_head, **options) to None.
        load: (adapters, path, name, activate, with_head, **options) to the adapter's name; leaves
            the model unchanged where it raises.
        load_setup: (adapters, path, activate, with_head) to a composition, where the format has
            several adapters in one folder.
    """

    save: Callable[..., None]
    load: Callable[..., str]
    load_setup: Callable[..., Any] | None = None


FORMATS: Registry[AdapterFormat] = Registry(
    "adapter-formats", "kzoo.interop", singular="format", error=AdapterError, of=AdapterFormat
)
FORMATS.register("kzoo", AdapterFormat(save_adapter, load_adapter))


# What follows are methods of the manager: `save` and `load` with a format of another library's.
# Their arguments are those of `save` and `load` where nothing else is said.


def save_peft(
    adapters: Adapters, name: str, path: str | Path, with_head: bool = True, **options: Any
) -> None:
    """Writes one adapter as a folder that HF PEFT loads; see `save`.

    Args:
        with_head: Also write the classification head, where HF's has the form of ours.
        **options: `base_model` and `prefix`, as `kzoo.interop.write_peft` has them.

    Raises:
        AdapterError: As `save`, or PEFT cannot say this adapter.
    """
    adapters.save(name, path, with_head, "peft", **options)


def load_peft(
    adapters: Adapters,
    path: str | Path,
    name: str | None = None,
    activate: bool = True,
    with_head: bool = True,
) -> str:
    """Adds an adapter from a folder that HF PEFT wrote; see `load`. No torch needed.

    Args:
        name: Name to give it. Default: the folder's name.
        with_head: Also take a classification head from the file, where it has the form of ours.

    Raises:
        AdapterError: A method that kzoo does not have, or files that do not fit; the first
            missing, unexpected and mis-shaped keys are named. The model is unchanged then.
    """
    return adapters.load(path, name, activate, with_head, "peft")


def save_adapterhub(
    adapters: Adapters,
    name: str,
    path: str | Path,
    with_head: bool = True,
    base_model: str | None = None,
) -> None:
    """Writes one adapter as AdapterHub's library loads it (`use_safetensors=True`); see `save`.

    Args:
        with_head: Also write the classification head, where the library has one like it.
        base_model: Name of the trunk, for people.

    Raises:
        AdapterError: As `save`, or the library cannot say this adapter.
    """
    adapters.save(name, path, with_head, "adapterhub", base_model=base_model)


def load_adapterhub(
    adapters: Adapters,
    path: str | Path,
    name: str | None = None,
    activate: bool = True,
    with_head: bool = True,
    direft: bool | None = None,
) -> str:
    """Adds an adapter from a folder that AdapterHub's library wrote; see `load_peft`.

    Args:
        name: Name to give it. Default: the one it was saved under.
        with_head: Also take a classification head from the folder, where it fits. Of a head of
            two layers, the first becomes a pooler that belongs to the adapter.
        direft: Whether a ReFT was trained as DiReFT, which its files do not say.
    """
    return adapters.load(path, name, activate, with_head, "adapterhub", direft=direft)


def load_adapterhub_setup(
    adapters: Adapters, path: str | Path, activate: bool = True, with_head: bool = False
) -> str | Block:
    """Adds the adapters and fusions of a setup that AdapterHub's library wrote.

    Args:
        path: Folder with `adapter_setup.json` and a folder for each adapter and fusion.
        activate: Make the composition act.
        with_head: Also take a classification head, where one adapter has one.

    Returns:
        The composition.

    Raises:
        AdapterError: A composition that kzoo does not have, or as `load_adapterhub`.
    """
    load_setup = FORMATS.get("adapterhub").load_setup
    assert load_setup is not None
    composition: str | Block = load_setup(adapters, path, activate, with_head)
    return composition
