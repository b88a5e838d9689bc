"""Adapters in files, as methods of the manager."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kzoo.adapters.adaptable import Adaptable
from kzoo.adapters.composition import Block
from kzoo.adapters.config import AdapterConfig
from kzoo.adapters.files import AdapterFile, check_tensors, read_adapter, write_adapter
from kzoo.errors import AdapterError


class Exchange:
    """What `model.adapters` reads and writes: kzoo's own folders, HF PEFT's and AdapterHub's."""

    # The manager's.
    _model: Adaptable
    _configs: dict[str, AdapterConfig]
    _active: str | Block | None
    add: Callable[..., None]
    delete: Callable[[str], None]
    variables: Callable[[str], dict[str, Any]]
    trunk_fingerprint: Callable[[], str]
    _set_active: Callable[[str | Block | None], None]
    _require: Callable[[str], None]

    def save(self, name: str, path: str | Path, with_head: bool = True) -> None:
        """Writes one adapter, and by default the head it was trained with, as a folder.

        Args:
            name: Which adapter.
            path: Folder to write; an existing adapter folder is replaced as a whole.
            with_head: Save the head and the label names too.

        Raises:
            AdapterError: The name is not known, or `path` holds something else.
        """
        self._require(name)
        target = Path(path)
        foreign = target.exists() and not (target / "adapter_config.json").is_file()
        if foreign and (not target.is_dir() or any(target.iterdir())):
            raise AdapterError(
                f"`path` {str(path)!r} exists and is no adapter folder; choose another."
            )
        head, head_variables = self._model.head_state(name) if with_head else (None, {})
        write_adapter(
            target,
            AdapterFile(
                name=name,
                config=self._configs[name],
                trunk=self._trunk_facts(),
                tensors={k: np.asarray(v) for k, v in self.variables(name).items()},
                head=head,
                head_tensors={k: np.asarray(v) for k, v in head_variables.items()},
            ),
        )

    def load(
        self,
        path: str | Path,
        name: str | None = None,
        activate: bool = True,
        with_head: bool = True,
    ) -> str:
        """Adds a saved adapter.

        Args:
            path: Folder that `save` wrote.
            name: Name to give it. Default: the one it was saved under.
            activate: Make it the only active adapter.
            with_head: Also take the saved head and label names, where there are any.

        Returns:
            The adapter's name.

        Raises:
            AdapterError: Another trunk (both fingerprints are named), files that do not fit, or a
                taken name. The model is unchanged then.
        """
        content = self._read(path)
        name = name or content.name
        before = self._active
        self.add(name, content.config, activate=False)
        try:
            # The head last of what can fail: it may take on the file's classes.
            self._check(content, name, path)
            if with_head and content.head is not None:
                self._model.accept_head(content.head, name)
            self._assign(content, name, path, with_head)
        except BaseException:
            self.delete(name)
            self._set_active(before)
            raise
        if activate:
            self._set_active(name)
        return name

    def swap(self, name: str, path: str | Path, with_head: bool = True) -> None:
        """Puts a saved adapter's values in the place of an adapter's, without any retracing.

        Compiled functions, optimizer and composition stay as they are, so that a server can go
        from one adapter to the next between two batches.

        Args:
            name: Whose values to replace.
            path: Folder that `save` wrote, of an adapter with the same configuration.
            with_head: Take the head's values too, where there are any.

        Raises:
            AdapterError: Another trunk, configuration or other classes, or files that do not fit;
                `load` takes those. Nothing has changed then.
        """
        self._require(name)
        content = self._read(path)
        mine, theirs = self._configs[name].model_dump(), content.config.model_dump()
        if differing := [k for k in {**mine, **theirs} if mine.get(k) != theirs.get(k)]:
            raise AdapterError(
                f"The adapter in {str(path)!r} differs from `{name}` in "
                f"{', '.join(f'`{key}`' for key in differing)}. Use load()."
            )
        self._check(content, name, path)
        if with_head and content.head is not None:
            facts, _ = self._model.head_state(name)
            if facts != content.head:
                raise AdapterError(
                    f"The head in {str(path)!r} has other classes or pooling than this model. "
                    "Use load(), or `with_head=False`."
                )
        self._assign(content, name, path, with_head)

    def _read(self, path: str | Path) -> AdapterFile:
        content = read_adapter(path)
        here = self.trunk_fingerprint()
        if content.trunk.get("fingerprint", "") not in (here, None):  # None: converted
            raise AdapterError(
                f"The adapter in {str(path)!r} was trained on another trunk: fingerprint "
                f"{content.trunk.get('fingerprint')} ({content.trunk.get('origin')}), this "
                f"model's trunk is {here} ({self._model.origin})."
            )
        return content

    def _check(self, content: AdapterFile, name: str, path: str | Path) -> None:
        shapes = {key: tuple(v.shape) for key, v in self.variables(name).items()}
        check_tensors(content.tensors, shapes, f"{str(path)!r}")

    def _assign(self, content: AdapterFile, name: str, path: str | Path, with_head: bool) -> None:
        if with_head and content.head is not None:
            _, head = self._model.head_state(name)
            shapes = {key: tuple(v.shape) for key, v in head.items()}
            check_tensors(content.head_tensors, shapes, f"the head in {str(path)!r}")
            for key, variable in head.items():
                variable.assign(content.head_tensors[key])
        for key, variable in self.variables(name).items():
            variable.assign(content.tensors[key])

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

    def _trunk_facts(self) -> dict[str, Any]:
        return {
            "fingerprint": self.trunk_fingerprint(),
            **self._model.trunk_facts(),
            "origin": Path(self._model.origin).name,
        }
