"""`model.adapters`: add, switch, delete, save and load named adapters of one model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kzoo.adapters import formats
from kzoo.adapters.acting.composition import (
    Block,
    Stack,
    chosen_of,
    names_in,
    parse_composition,
    without,
)
from kzoo.adapters.combining import Combination, Trained, combine
from kzoo.adapters.config import AdapterConfig, parse_adapter
from kzoo.adapters.files import swap_adapter
from kzoo.adapters.formats import FORMATS
from kzoo.adapters.host import Adaptable
from kzoo.adapters.layers.base import AdapterLayer
from kzoo.adapters.merging import Folded, check_alone
from kzoo.adapters.methods.fusion import FusionConfig
from kzoo.adapters.tables import adapter_rows, adapters_table, print_table
from kzoo.backbones.trunk import fingerprint
from kzoo.errors import AdapterError, did_you_mean


class Adapters:
    """The named adapters of a model; reachable as `model.adapters`.

    Args:
        host: The trunk or model that carries them.
    """

    def __init__(self, host: Adaptable) -> None:
        self.host = host
        self._configs: dict[str, AdapterConfig] = {}
        self._active: str | Block | None = None
        self._folded = Folded()

    def __iter__(self) -> Iterator[str]:
        return iter(self._configs)

    def __len__(self) -> int:
        return len(self._configs)

    def __contains__(self, name: object) -> bool:
        return name in self._configs

    def __repr__(self) -> str:
        return f"<Adapters {list(self._configs)}, active {list(self.active)}>"

    @property
    def active(self) -> tuple[str, ...]:
        """Names of the acting adapters, from the innermost or the left."""
        return names_in(self._active)

    @property
    def composition(self) -> str | Block | None:
        """How the active adapters act together."""
        return self._active

    @property
    def merged(self) -> tuple[str, ...]:
        """Names of the adapters that are folded into the trunk's weights."""
        return self._folded.names

    @property
    def configs(self) -> Mapping[str, AdapterConfig]:
        """Name -> configuration, in the order of adding."""
        return dict(self._configs)

    def add(
        self,
        name: str,
        config: str | Mapping[str, Any] | AdapterConfig,
        activate: bool = True,
    ) -> None:
        """Adds an untrained adapter; outputs do not change until it is trained.

        Prefixes and prompts are the exception: they have no values that change nothing.

        Args:
            name: Its name: letters, digits, `-` and `_`.
            config: Such as `"pfeiffer[reduction_factor=16]"` or `{"method": "lora", "r": 8}`.
            activate: Make it the only active adapter.

        Raises:
            AdapterError: The name is taken or unusable, or the configuration does not fit.
        """
        self._check_new(name)
        parsed = parse_adapter(config)
        model = self.host
        with model.strategy_scope():
            model.sites.add(name, parsed, model.seed)
        self._configs[name] = parsed
        try:
            self._set_active(name if activate else self._active)
        except BaseException:
            self.delete(name)
            raise

    def add_weighted(
        self,
        name: str,
        adapters: Sequence[str],
        weights: Sequence[float],
        combination: str = "linear",
        density: float | None = None,
        svd_rank: int | None = None,
        majority_sign: str = "total",
        seed: int = 0,
        activate: bool = True,
    ) -> None:
        """Adds a new adapter that is the weighted combination of others; these stay as they are.

        Args:
            name: Name of the new adapter.
            adapters: Names of adapters of one method at the same places; heads are left alone.
            weights: One an adapter; `kzoo.adapters.combining.combine` says which are possible.
            combination: linear, cat, svd, magnitude_prune, ties, dare_linear, dare_ties, or one of
                these four with `_svd`: see `kzoo.adapters.combining.Combination`.
            density: Share of entries that is kept, for these four.
            svd_rank: Rank of the result of `svd` and `*_svd`. Default: the adapters' largest.
            majority_sign: `total` or `frequency`, for ties.
            seed: Decides what dare drops.
            activate: Make it the only active adapter.

        Raises:
            AdapterError: An unknown or taken name, or adapters, weights or options that do not fit
                together. Nothing has changed then.
        """
        self._check_new(name)
        if isinstance(adapters, str):
            raise AdapterError(f"`adapters` must be a list of names. Received: {adapters!r}")
        self.check_known(*adapters)
        how = Combination(combination, density, svd_rank, majority_sign, seed)
        chosen = [Trained.of(other, self._configs[other], self.host.sites) for other in adapters]
        config, tensors = combine(chosen, weights, how)
        self.add(name, config, activate=activate)
        for key, variable in self.variables(name).items():
            variable.assign(tensors[key])

    def add_fusion(self, *adapters: str, name: str | None = None, **options: Any) -> str:
        """Adds an untrained AdapterFusion of bottleneck adapters; `kzoo.Fuse` activates it.

        Args:
            adapters: Names of at least two adapters that stand at the same places.
            name: Name of the fusion. Default: their names with `-` between them.
            options: Of the method `fusion`.

        Returns:
            The fusion's name.

        Raises:
            AdapterError: An unknown name, adapters that cannot be fused, or a taken name.
        """
        self.check_known(*adapters)
        configs = [self._configs[adapter] for adapter in adapters]
        name = name or "-".join(adapters)
        self.add(name, FusionConfig.of(configs, self.host.sites.places, **options), False)
        return name

    def activate(self, *adapters: str | Block) -> None:
        """Makes exactly these adapters act.

        Args:
            adapters: One name or block, such as `kzoo.Average("a", "b")`; several are a `Stack`,
                the first innermost.

        Raises:
            AdapterError: A name is not known, given twice, or merged.
        """
        chosen = chosen_of(adapters)
        names = names_in(chosen)
        self.check_known(*names)
        self._folded.refuse(*names)
        if isinstance(chosen, Stack) and len(set(names)) != len(names):
            raise AdapterError(f"`adapters` must be different. Received: {list(names)}")
        self._set_active(chosen)

    def deactivate(self) -> None:
        """Switches all adapters off; the trunk's outputs are the original ones, bit for bit."""
        self._set_active(None)

    def delete(self, name: str) -> None:
        """Removes an adapter and its variables; a composition that needs it is switched off.

        Raises:
            AdapterError: The name is not known, or the adapter is merged.
        """
        self.check_known(name)
        self._folded.refuse(name)
        self.host.sites.remove(name)
        del self._configs[name]
        self.host.forget(name)
        self._set_active(without(self._active, name))

    def merge(self, name: str) -> None:
        """Folds an adapter into the trunk's weights: the same outputs at the trunk's own speed.

        Of a stack the others go on acting.

        Raises:
            AdapterError: The name is not known, already merged, holds NaN, its method is no linear
                change of weights, or the outputs would not be the same: it acts in a composition,
                reads weights that another merge has changed, or stands at a table that is the
                output matrix too. Nothing has changed then.
        """
        self.check_known(name)
        check_alone(name, self._active, self._layers)
        output = any(head.reads_table for head in self.host.heads())
        self._folded.put_in(name, self._layers(name), output)
        self._set_active(without(self._active, name))

    def _layers(self, name: str) -> list[AdapterLayer]:
        return [layer for _, layer in self.host.sites.layers(name)]

    def unmerge(self, name: str) -> None:
        """Restores the trunk's weights bit for bit and makes the adapter the only active one.

        Raises:
            AdapterError: It is not merged, others were merged over it, or the trunk has been
                quantised since.
        """
        self._folded.take_out(name, self.host.trunk_variables)
        self._set_active(name)

    def merge_and_unload(self, name: str) -> None:
        """Folds an adapter into the trunk's weights for good and deletes it.

        Raises:
            AdapterError: As `merge`.
        """
        self.merge(name)
        self._folded.keep(name)
        self.delete(name)

    def save(
        self,
        name: str,
        path: str | Path,
        with_head: bool = True,
        format: str = "kzoo",
        **options: Any,
    ) -> None:
        """Writes one adapter, and by default the head it was trained with, as a folder.

        Args:
            name: Which adapter.
            path: Folder to write; an existing adapter folder is replaced as a whole.
            with_head: Save the head and the label names too.
            format: `kzoo`, `peft`, `adapterhub`, or one that another package adds; see
                `kzoo.adapters.formats`.
            **options: Of that format.

        Raises:
            AdapterError: The name is not known, or `path` holds something else.
        """
        self.check_known(name)
        FORMATS.get(format).save(self, name, path, with_head=with_head, **options)

    def load(
        self,
        path: str | Path,
        name: str | None = None,
        activate: bool = True,
        with_head: bool = True,
        format: str = "kzoo",
        **options: Any,
    ) -> str:
        """Adds a saved adapter.

        Args:
            path: Folder that `save` wrote.
            name: Name to give it. Default: the one it was saved under.
            activate: Make it the only active adapter.
            with_head: Also take the saved head and label names, where there are any.
            format: As for `save`.
            **options: Of that format.

        Returns:
            The adapter's name.

        Raises:
            AdapterError: Another trunk (both fingerprints are named), files that do not fit, or a
                taken name. The model is unchanged then.
        """
        return FORMATS.get(format).load(
            self, path, name=name, activate=activate, with_head=with_head, **options
        )

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
                `load` takes those; or the adapter is merged. Nothing has changed then.
        """
        self.check_known(name)
        self._folded.refuse(name)
        swap_adapter(self, name, path, with_head)

    # Folders of other libraries: plain functions whose first argument is this manager.
    save_peft = formats.save_peft
    load_peft = formats.load_peft
    save_adapterhub = formats.save_adapterhub
    load_adapterhub = formats.load_adapterhub
    load_adapterhub_setup = formats.load_adapterhub_setup

    def variables(self, name: str) -> dict[str, Any]:
        """An adapter's Keras variables by file key, from the input upwards."""
        self.check_known(name)
        return self.host.sites.variables(name)

    def count(self, name: str) -> int:
        """An adapter's trainable parameters, those at an unused pooler too, as HF PEFT counts."""
        self.check_known(name)
        return sum(math.prod(v.shape) for v in self.host.sites.trainable(name))

    def trunk_fingerprint(self, name: str | None = None) -> str:
        """sha256 of the trunk's weights, with what is merged into them.

        Args:
            name: Of a merged adapter, the weights as they were before it was merged. Default: now.
        """
        return fingerprint([self._folded.before(name, v) for v in self.host.trunk_variables])

    def summary(self, print_fn: Any = None) -> list[dict[str, Any]]:
        """Prints a table of the adapters and returns its rows.

        Args:
            print_fn: Called with the rendered table. Default: rich's console.
        """
        rows = adapter_rows(self)
        (print_fn or print_table)(adapters_table(rows))
        return rows

    def state(self) -> dict[str, Any]:
        """JSON-ready: configurations, composition and what is merged."""
        configs = {name: config.model_dump(mode="json") for name, config in self._configs.items()}
        return {
            "configs": [{"name": name, "config": config} for name, config in configs.items()],
            "active": self._active.to_dict() if isinstance(self._active, Block) else self._active,
            "merged": list(self.merged),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Adds the adapters of `state` to a model without any; values are not in it."""
        for adapter in state["configs"]:
            self.add(adapter["name"], adapter["config"], activate=False)
        if state["active"] is not None:
            self.activate(parse_composition(state["active"]))
        for name in state["merged"]:
            self._folded.mark(name)

    def check_known(self, *names: str) -> None:
        """Refuses names that no adapter has.

        Raises:
            AdapterError: There is one; the nearest name is suggested.
        """
        for name in names:
            if name not in self._configs:
                hint = did_you_mean(name, self._configs) if self._configs else " There are none."
                raise AdapterError(f"There is no adapter `{name}`.{hint}")

    def refresh_training(self) -> None:
        """Marks what acts as trained, and nothing else."""
        active = self._active
        trained = set(active.trained() if isinstance(active, Block) else [active])
        for name in self._configs:
            self.host.sites.set_trainable(name, name in trained and self.host.trainable)

    def _set_active(self, composition: str | Block | None) -> None:
        self.host.prepare_composition(composition)
        self._active = composition
        self.host.sites.activate(composition)
        self.refresh_training()
        self.host.adapters_changed()

    def _check_new(self, name: str) -> None:
        if not name or not all(c.isalnum() or c in "-_" for c in name):
            raise AdapterError(f"`name` may hold letters, digits, - and _. Received: {name!r}")
        if name in self._configs:
            raise AdapterError(f"`name` {name!r} is taken. Delete it first, or choose another.")
