"""`model.adapters`: add, switch, delete, save and load named adapters of one model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kzoo.adapters.adaptable import Adaptable
from kzoo.adapters.combining import Combination, Trained, combine
from kzoo.adapters.composition import Block, Stack, compose, parse_composition
from kzoo.adapters.config import AdapterConfig, parse_adapter
from kzoo.adapters.exchange import Exchange
from kzoo.adapters.folding import Folded
from kzoo.adapters.methods.fusion import FusionConfig
from kzoo.backbones.trunk import fingerprint
from kzoo.errors import AdapterError, did_you_mean


class Adapters(Exchange):
    """The named adapters of a model; reachable as `model.adapters`.

    Args:
        model: The model whose backbone is adapted.
    """

    def __init__(self, model: Adaptable) -> None:
        self._model = model
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
        if self._active is None:
            return ()
        return tuple(self._active.names()) if isinstance(self._active, Block) else (self._active,)

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
        model = self._model
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
        for adapter in adapters:
            self._require(adapter)
        how = Combination(combination, density, svd_rank, majority_sign, seed)
        chosen = [Trained.of(other, self._configs[other], self._model.sites) for other in adapters]
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
        for adapter in adapters:
            self._require(adapter)
        configs = [self._configs[adapter] for adapter in adapters]
        name = name or "-".join(adapters)
        self.add(name, FusionConfig.of(configs, self._model.sites.places, **options), False)
        return name

    def activate(self, *adapters: str | Block) -> None:
        """Makes exactly these adapters act.

        Args:
            adapters: One name or block, such as `kzoo.Average("a", "b")`; several are a `Stack`,
                the first innermost.

        Raises:
            AdapterError: A name is not known, given twice, or merged.
        """
        if not adapters:
            raise AdapterError("`adapters` is empty. Use deactivate() to switch all adapters off.")
        chosen = adapters[0] if len(adapters) == 1 else compose(Stack, *adapters)
        chosen = parse_composition(chosen)
        names = list(chosen.names()) if isinstance(chosen, Block) else [chosen]
        for name in names:
            self._require(name)
            if name in self._folded:
                raise AdapterError(f"`{name}` is merged into the trunk. Unmerge it first.")
        if isinstance(chosen, Stack) and len(set(names)) != len(names):
            raise AdapterError(f"`adapters` must be different. Received: {names}")
        self._set_active(chosen)

    def deactivate(self) -> None:
        """Switches all adapters off; the trunk's outputs are the original ones, bit for bit."""
        self._set_active(None)

    def delete(self, name: str) -> None:
        """Removes an adapter and its variables; a composition that needs it is switched off.

        Raises:
            AdapterError: The name is not known, or the adapter is merged.
        """
        self._require(name)
        if name in self._folded:
            raise AdapterError(f"`{name}` is merged into the trunk. Unmerge it first.")
        left = tuple(other for other in self.active if other != name)
        plain = all(isinstance(child, str) for child in getattr(self._active, "children", ()))
        self._model.sites.remove(name)
        del self._configs[name]
        self._model.forget(name)
        if len(left) == len(self.active):
            self._set_active(self._active)
        elif isinstance(self._active, Stack) and plain and left:
            self._set_active(left[0] if len(left) == 1 else compose(Stack, *left))
        else:
            self._set_active(None)

    def merge(self, name: str) -> None:
        """Folds an adapter into the trunk's weights: the same outputs at the trunk's own speed.

        Raises:
            AdapterError: The name is not known, already merged, holds NaN, or its method is no
                linear change of weights. Nothing has changed then.
        """
        self._require(name)
        if name in self._folded:
            raise AdapterError(f"`{name}` is merged already.")
        self._folded.put_in(name, [layer for _, layer in self._model.sites.layers(name)])
        self._set_active(None if name in self.active else self._active)

    def unmerge(self, name: str) -> None:
        """Restores the trunk's weights bit for bit and makes the adapter the only active one.

        Raises:
            AdapterError: It is not merged, or others were merged over it.
        """
        self._folded.take_out(name)
        self._set_active(name)

    def merge_and_unload(self, name: str) -> None:
        """Folds an adapter into the trunk's weights for good and deletes it.

        Raises:
            AdapterError: As `merge`.
        """
        self.merge(name)
        self._folded.keep(name)
        self.delete(name)

    def variables(self, name: str) -> dict[str, Any]:
        """An adapter's Keras variables by file key, from the input upwards."""
        self._require(name)
        return self._model.sites.variables(name)

    def count(self, name: str) -> int:
        """An adapter's trainable parameters, those at an unused pooler too, as HF PEFT counts."""
        self._require(name)
        return sum(math.prod(v.shape) for v in self._model.sites.trainable(name))

    def trunk_fingerprint(self) -> str:
        """sha256 of the trunk's weights, merged adapters taken out."""
        return fingerprint([self._folded.original(v) for v in self._model.trunk_variables])

    def summary(self, print_fn: Any = None) -> list[dict[str, Any]]:
        """Prints a table of the adapters and returns its rows.

        Args:
            print_fn: Called with the rendered table. Default: rich's console.
        """
        rows = [
            {
                "name": name,
                "method": config.method,
                "sites": ", ".join(site for part in config.parts for site in part.sites),
                "parameters": self.count(name),
                "active": name in self.active,
            }
            for name, config in self._configs.items()
        ]
        from rich.console import Console
        from rich.table import Table

        table = Table("adapter", "method", "sites", "parameters", "active")
        for row in rows:
            values = (row["name"], row["method"], row["sites"], f"{row['parameters']:,}")
            table.add_row(*map(str, values), "yes" if row["active"] else "no")
        (print_fn or Console().print)(table)
        return rows

    def state(self) -> dict[str, Any]:
        """JSON-ready: configurations, composition and what is merged."""
        active = self._active
        return {
            "configs": [
                {"name": name, "config": config.model_dump(mode="json")}
                for name, config in self._configs.items()
            ],
            "active": active.to_dict() if isinstance(active, Block) else active,
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

    def refresh_training(self) -> None:
        """Marks what acts as trained, and nothing else."""
        active = self._active
        trained = set(active.trained() if isinstance(active, Block) else [active])
        for name in self._configs:
            self._model.sites.set_trainable(name, name in trained and self._model.trainable)

    def _set_active(self, composition: str | Block | None) -> None:
        self._model.prepare_composition(composition)
        self._active = composition
        self._model.sites.activate(composition)
        self.refresh_training()
        self._model.adapters_changed()

    def _check_new(self, name: str) -> None:
        if not name or not all(c.isalnum() or c in "-_" for c in name):
            raise AdapterError(f"`name` may hold letters, digits, - and _. Received: {name!r}")
        if name in self._configs:
            raise AdapterError(f"`name` {name!r} is taken. Delete it first, or choose another.")

    def _require(self, name: str) -> None:
        if name not in self._configs:
            hint = did_you_mean(name, self._configs) if self._configs else " There are none."
            raise AdapterError(f"There is no adapter `{name}`.{hint}")
