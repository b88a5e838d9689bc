"""Adapters in the files of other libraries, as methods of the manager."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kzoo.adapters.composition import Block


class Exchange:
    """What `model.adapters` reads and writes beside kzoo's own files."""

    def _require(self, name: str) -> None:
        raise NotImplementedError  # the manager's

    def save_peft(
        self, name: str, path: str | Path, with_head: bool = True, **options: Any
    ) -> None:
        """Writes one adapter as a folder that HF PEFT loads; see `kzoo.adapters.interop`.

        Args:
            name: Which adapter.
            path: Folder to write; an existing adapter folder is replaced as a whole.
            with_head: Also write the classification head, where HF's has the form of ours.
            **options: `base_model` and `prefix`, as `write_peft` has them.

        Raises:
            AdapterError: The name is not known, or PEFT cannot say this adapter.
        """
        from kzoo.adapters.interop.on_models import save_peft

        self._require(name)
        save_peft(self, name, path, with_head, **options)

    def load_peft(
        self,
        path: str | Path,
        name: str | None = None,
        activate: bool = True,
        with_head: bool = True,
    ) -> str:
        """Adds an adapter from a folder that HF PEFT wrote; no torch needed.

        Args:
            path: Folder with `adapter_config.json` and its weights.
            name: Name to give it. Default: the folder's name.
            activate: Make it the only active adapter.
            with_head: Also take a classification head from the file, where it has the form of ours.

        Returns:
            The adapter's name.

        Raises:
            AdapterError: A method that kzoo does not have, or files that do not fit; the first
                missing, unexpected and mis-shaped keys are named. The model is unchanged then.
        """
        from kzoo.adapters.interop.on_models import load_peft

        name = name or "".join(c if c.isalnum() or c in "-_" else "-" for c in Path(path).name)
        load_peft(self, path, name, activate, with_head)
        return name

    def save_adapterhub(
        self, name: str, path: str | Path, with_head: bool = True, base_model: str | None = None
    ) -> None:
        """Writes one adapter as a folder that AdapterHub's library loads (`use_safetensors=True`).

        Args:
            name: Which adapter.
            path: Folder to write; an existing adapter folder is replaced as a whole.
            with_head: Also write the classification head, where the library has one like it.
            base_model: Name of the trunk, for people.

        Raises:
            AdapterError: The name is not known, or the library cannot say this adapter.
        """
        from kzoo.adapters.interop.adapterhub_models import save_adapterhub

        self._require(name)
        save_adapterhub(self, name, path, with_head, base_model)

    def load_adapterhub(
        self,
        path: str | Path,
        name: str | None = None,
        activate: bool = True,
        with_head: bool = True,
        direft: bool | None = None,
    ) -> str:
        """Adds an adapter from a folder that AdapterHub's library wrote; no torch needed.

        Args:
            path: Folder with `adapter_config.json` and its weights.
            name: Name to give it. Default: the one it was saved under.
            activate: Make it the only active adapter.
            with_head: Also take a classification head from the folder, where it fits. Of a head of
                two layers, the first becomes a pooler that belongs to the adapter.
            direft: Whether a ReFT was trained as DiReFT, which its files do not say.

        Returns:
            The adapter's name.

        Raises:
            AdapterError: A method that kzoo does not have, or files that do not fit; the first
                missing, unexpected and mis-shaped keys are named. The model is unchanged then.
        """
        from kzoo.adapters.interop.adapterhub_models import load_adapterhub

        return load_adapterhub(self, path, name, activate, with_head, direft)

    def load_adapterhub_setup(
        self, path: str | Path, activate: bool = True, with_head: bool = False
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
        from kzoo.adapters.interop.adapterhub_setup import load_setup

        return load_setup(self, path, activate, with_head)
