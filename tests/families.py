"""A tiny random backbone of every family; see `kzoo.backbones.miniatures`."""

from kzoo.backbones.miniatures import CONFIGS, VOCABULARY, sequence_output
from kzoo.backbones.miniatures import make_miniature as make_tiny_backbone
from kzoo.backbones.miniatures import miniature_inputs as tiny_inputs

FAMILY_NAMES = tuple(CONFIGS)

__all__ = [
    "CONFIGS",
    "FAMILY_NAMES",
    "VOCABULARY",
    "make_tiny_backbone",
    "sequence_output",
    "tiny_inputs",
]
