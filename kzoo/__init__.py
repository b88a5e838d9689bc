"""kzoo: what people add to a pretrained Transformer, as Keras layers, models and losses.

Attributes load on first use, so that ``import kzoo`` costs no TensorFlow import.
"""

from __future__ import annotations

import importlib
from typing import Any

from kzoo import saving

__version__ = "0.1.0"

_WHERE = {
    "list": "kzoo.zoo.catalogue:list_recipes",
    "info": "kzoo.zoo.catalogue:info",
    "load": "kzoo.zoo.loading:load",
    "adapt": "kzoo.adapters.adapted:adapt",
    "Trunk": "kzoo.trunk.layer:Trunk",
    "TextInput": "kzoo.reads.text:TextInput",
    "WindowsInput": "kzoo.reads.windows:WindowsInput",
    "WordsInput": "kzoo.reads.windows:WordsInput",
    "ImageInput": "kzoo.reads.images:ImageInput",
    "ArrayInput": "kzoo.reads.arrays:ArrayInput",
    "Model": "kzoo.models.model:Model",
    "TextClassifier": "kzoo.models.classifier:TextClassifier",
    "TextGenerator": "kzoo.models.generator:TextGenerator",
    "Seq2SeqGenerator": "kzoo.models.seq2seq:Seq2SeqGenerator",
    "TextEncoder": "kzoo.retrieval.text_encoder:TextEncoder",
    **{
        block: f"kzoo.adapters.acting.composition:{block}"
        for block in ("Stack", "Average", "Split", "BatchSplit", "Fuse", "PerRow", "Parallel")
    },
    "Distiller": "kzoo.distillation.distiller:Distiller",
}
_PACKAGES = (
    "adapters",
    "backbones",
    "datasets",
    "distillation",
    "fusion",
    "heads",
    "metrics",
    "reads",
    "retrieval",
    "runs",
    "training",
    "zoo",
)

__all__ = [*_WHERE, *_PACKAGES]


saving.install()


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        module, _, attribute = _WHERE[name].partition(":")
        return getattr(importlib.import_module(module), attribute)
    if name in _PACKAGES:
        return importlib.import_module(f"kzoo.{name}")
    raise AttributeError(f"module 'kzoo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
