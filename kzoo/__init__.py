"""kzoo: what people add to a pretrained Transformer, as Keras layers, models and losses.

Attributes load on first use, so that ``import kzoo`` costs no TensorFlow import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kzoo import saving
from retrieval_index.lazy import lazy

if TYPE_CHECKING:
    from kzoo import (
        adapters,
        backbones,
        datasets,
        distillation,
        fusion,
        heads,
        metrics,
        reads,
        retrieval,
        runs,
        training,
        zoo,
    )
    from kzoo.adapters.acting.composition import (
        Average,
        BatchSplit,
        Fuse,
        Parallel,
        PerRow,
        Split,
        Stack,
    )
    from kzoo.adapters.adapted import adapt
    from kzoo.distillation.distiller import Distiller
    from kzoo.models.classifier import TextClassifier
    from kzoo.models.generator import Seq2SeqGenerator, TextGenerator
    from kzoo.models.mask_filler import MaskFiller
    from kzoo.models.model import Model
    from kzoo.reads.arrays import ArrayInput
    from kzoo.reads.choices import ChoicesInput
    from kzoo.reads.images import ImageInput
    from kzoo.reads.text import TextInput
    from kzoo.reads.windows import WindowsInput, WordsInput
    from kzoo.retrieval.reranker import Reranker
    from kzoo.retrieval.text_encoder import TextEncoder
    from kzoo.trunk.layer import Trunk
    from kzoo.zoo.catalogue import info
    from kzoo.zoo.catalogue import list_recipes as list
    from kzoo.zoo.hf_models import save_hf
    from kzoo.zoo.loading import load

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy(__name__)

saving.install()
