"""KerasHub presets of tasks that end in a head: text classifiers and masked language models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from kzoo.backbones.architecture import activation_name
from kzoo.errors import WeightsError

# What KerasHub's class ends in -> the kind of head.
_KINDS = {"TextClassifier": "classify", "MaskedLM": "masked_lm"}
# End of a variable's path there -> of the head's output layer.
_VARIABLES = {
    "pooled_dense/kernel": "hidden_kernel",
    "pooled_dense/bias": "hidden_bias",
    "logits/kernel": "kernel",
    "logits/bias": "bias",
    "intermediate_dense/kernel": "kernel",
    "intermediate_dense/bias": "dense_bias",
    "intermediate_layer_norm/gamma": "gamma",
    "intermediate_layer_norm/beta": "beta",
    "output_bias": "bias",
}


def load_hub_task(
    folder: str | Path,
    max_tokens: int | None = None,
    frozen: bool = True,
    seed: int = 0,
    training: Any = None,
    **head: Any,
) -> Any:
    """Loads a preset of a KerasHub task with its head, outputs equal to KerasHub's.

    Reads what `save_to_preset` of a `BertMaskedLM`, `BertTextClassifier` and the like wrote: of
    each encoder that `kzoo.Trunk` takes. `kzoo.load(folder)` calls it.

    Args:
        folder: With `task.json` and `task.weights.h5` beside the backbone's files.
        max_tokens: As in `kzoo.Trunk`.
        frozen: As in `kzoo.Trunk`.
        seed: As in `kzoo.Trunk`.
        training: As in `kzoo.Model`.
        **head: Arguments of the head, such as `labels` (KerasHub keeps none).

    Returns:
        A `kzoo.Model`: `TextClassifier` or `MaskFiller`.

    Raises:
        WeightsError: Another task, or a head that is built otherwise.
    """
    import keras_hub

    from kzoo.trunk.layer import Trunk
    from kzoo.zoo.loading import model_class

    folder = Path(folder).expanduser()
    name = json.loads((folder / "task.json").read_text(encoding="utf-8"))["class_name"]
    kind = next((kind for ending, kind in _KINDS.items() if name.endswith(ending)), None)
    task_class = getattr(keras_hub.models, name, None)
    if kind is None or task_class is None:
        raise WeightsError(
            f"{folder} holds a {name}; of KerasHub's tasks those are read whose names end in "
            f"{' or '.join(_KINDS)}. Load the trunk alone with kzoo.Trunk(folder)."
        )
    task = task_class.from_preset(str(folder))
    trunk = Trunk(str(folder), max_tokens=max_tokens, frozen=frozen, seed=seed)
    facts = _facts(task, kind)
    own = facts if kind == "classify" else {}
    model = model_class(kind).on(
        trunk, {"kind": kind, "name": "head", **own, **head}, training=training
    )
    answer = model.head.answers[""]
    if kind == "masked_lm":
        answer.change(**facts)
    inside = {id(variable) for variable in task.backbone.weights}
    for value in (variable for variable in task.weights if id(variable) not in inside):
        ending = next((end for end in _VARIABLES if value.path.endswith(end)), "")
        variable = getattr(answer, _VARIABLES.get(ending, ""), None)
        if variable is None or variable.shape != value.shape:
            raise WeightsError(
                f"`{value.path}` in {folder}, of shape {tuple(value.shape)}, does not fit a head "
                f"of kind {kind}."
            )
        variable.assign(np.asarray(value))
    return model


def _facts(task: Any, kind: str) -> dict[str, Any]:
    """How the head is built: arguments of `classify`, facts of the output layer of `masked_lm`."""
    if kind == "masked_lm":
        head = task.masked_lm_head
        return {
            "activation": activation_name(head.intermediate_activation, head.name),
            "epsilon": head.layer_norm_epsilon,
        }
    dense = getattr(task, "pooled_dense", None)
    return {
        "num_classes": task.num_classes,
        "hidden": None if dense is None else activation_name(dense.activation, dense.name),
        "pooling": "pooler" if dense is None else "cls",
    }
