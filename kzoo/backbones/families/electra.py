"""ELECTRA's discriminator: BERT, with embeddings that may be narrow."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kzoo.backbones.dims import Dims
from kzoo.backbones.families import FAMILIES
from kzoo.backbones.families.shared import BERT, hub_of_two_layers
from kzoo.backbones.hf_format import HFClasses


def _renamed(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """KerasHub calls one argument otherwise than in all other families."""
    return {("vocab_size" if k == "vocabulary_size" else k): v for k, v in arguments.items()}


def _projection(dims: Dims) -> int:
    """From the embedding to the residual stream, where the two are not equally wide."""
    same = dims.embedding_dim == dims.hidden_dim
    return 0 if same else (dims.embedding_dim + 1) * dims.hidden_dim


FAMILIES.register(
    "electra",
    replace(
        BERT,
        name="electra",
        backbone="ElectraBackbone",
        names=replace(
            BERT.names,
            outside={**BERT.names.outside, "embeddings_projection": "embeddings_project"},
            optional=("embeddings_projection",),
        ),
        config=replace(
            BERT.config,
            keys={**_renamed(BERT.config.keys), "embedding_dim": "embedding_size"},
            defaults={**BERT.config.defaults, "embedding_size": 128},
        ),
        miniature={**_renamed(BERT.miniature), "embedding_dim": 8},
        classes=HFClasses("electra"),
        hub=hub_of_two_layers("Electra", "gelu"),
        extra_parameters=_projection,
    ),
)
