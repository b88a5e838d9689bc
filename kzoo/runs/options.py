"""What a run is asked to do, apart from its recipe and its dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from kzoo.errors import RunError
from kzoo.runs.goals import GOALS, METRICS
from kzoo.zoo.recipe import SHORTCUTS

JIT: dict[str, bool | str] = {"auto": "auto", "on": True, "off": False}
_SHORT_FOR = {path: key for key, path in SHORTCUTS.items()}
_RECIPE_KEYS = ("epochs", "batch_size", "learning_rate", "adapter", "max_tokens", "seed")


@dataclass(frozen=True)
class DataOptions:
    """How a dataset is read; see `kzoo.datasets.load`.

    Args:
        text_column: Column of the text. Default: found by its name.
        pair_column: Column of the second text. Default: found by its name.
        label_column: Column of the label. Default: found by its name.
        label_separator: Between several labels in one string. Default `|`.
        encoding: Encoding of text files. Default `utf-8`.
        strict: Refuse the first bad row instead of counting it.
    """

    text_column: str | None = None
    pair_column: str | None = None
    label_column: str | None = None
    encoding: str = "utf-8"
    strict: bool = False
    label_separator: str = "|"


@dataclass(frozen=True)
class TrainOptions:
    """Everything else; None leaves a value to the recipe.

    Args:
        epochs: Passes over the training rows.
        batch_size: Rows a step.
        learning_rate: Peak rate.
        adapter: Such as `lora[r=8]`; `none` for no adapter.
        max_tokens: Longest input.
        seed: Decides initial values, data order, dropout and the validation rows.
        overrides: Further recipe keys, with dots or as shortcuts: `training.warmup` and `warmup`
            are the same.
        jit: XLA: `auto`, `on` or `off`.
        take: Train on so many rows, every class in proportion. Default: all.
        patience: Stop when `metric` did not improve for so many epochs. Default: never.
        metric: The best epoch by it becomes `model.keras`. Default: `val_accuracy` (or
            `val_macro_f1`) for classes, `val_micro_f1` (`val_macro_f1`, `val_lrap`) for label sets,
            `val_kappa` (`val_mae`, `val_accuracy`) for ratings, `val_pearson` (`val_spearman`,
            `val_rmse`) for numbers, `val_perplexity` (`val_accuracy`, of tokens) for texts.
        tune_thresholds: Of label sets: after the training give each label the threshold with the
            best F1 on the validation rows, of each label (`macro`) or over all (`micro`). Default:
            probability one half for all.
        tensorboard: Write `tensorboard/` too.
        data: How the dataset is read.
        overwrite: Replace an existing run folder.
        resume: Continue an existing run folder after its last complete epoch.
    """

    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    adapter: str | None = None
    max_tokens: int | None = None
    seed: int | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    jit: Literal["auto", "on", "off"] = "auto"
    take: int | None = None
    patience: int | None = None
    metric: str | None = None
    tune_thresholds: Literal["macro", "micro"] | None = None
    tensorboard: bool = False
    data: DataOptions = DataOptions()
    overwrite: bool = False
    resume: bool = False

    def __post_init__(self) -> None:
        if self.jit not in JIT:
            raise RunError(f"`jit` must be auto, on or off. Received: {self.jit!r}")
        if self.metric not in (None, *METRICS):
            known = "; ".join(f"{' or '.join(goal.metrics)} for {goal.what}" for goal in GOALS)
            raise RunError(f"`metric` must be {known}. Received: {self.metric!r}")
        if self.tune_thresholds not in (None, "macro", "micro"):
            raise RunError(
                f"`tune_thresholds` must be macro or micro. Received: {self.tune_thresholds!r}"
            )
        for name in ("take", "patience"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise RunError(f"`{name}` must be at least 1. Received: {value}")
        if self.overwrite and self.resume:
            raise RunError("`overwrite` and `resume` exclude each other; give one of them.")

    def recipe_overrides(self) -> dict[str, Any]:
        """Recipe keys and the values that replace those of the recipe.

        Raises:
            RunError: A key was given twice.
        """
        given = {k: getattr(self, k) for k in _RECIPE_KEYS if getattr(self, k) is not None}
        if given.get("adapter") == "none":
            given["adapter"] = None
        for key, value in self.overrides.items():
            flat = _SHORT_FOR.get(key, key)
            if flat in given:
                raise RunError(f"`{flat}` was given twice. Give it once.")
            given[flat] = value
        return given

    def to_dict(self) -> dict[str, Any]:
        """The options as plain data, for `config.yaml`; what concerns the folder is left out."""
        plain = asdict(self) | {"overrides": dict(self.overrides)}
        return {key: value for key, value in plain.items() if key not in ("overwrite", "resume")}

    def on_top_of(self, stored: Mapping[str, Any]) -> TrainOptions:
        """The options of an earlier run where these say nothing; for `resume`.

        Args:
            stored: What `to_dict` returned then.
        """
        known = {item.name for item in fields(self)}
        merged = {key: value for key, value in stored.items() if key in known and key != "data"}
        data = dict(stored.get("data") or {})
        data |= _changed(self.data, DataOptions())
        changed = {k: v for k, v in _changed(self, type(self)()).items() if k != "data"}
        return type(self)(**{**merged, **changed, "data": DataOptions(**data)})


def _changed(options: Any, default: Any) -> dict[str, Any]:
    return {
        item.name: getattr(options, item.name)
        for item in fields(options)
        if getattr(options, item.name) != getattr(default, item.name)
    }
