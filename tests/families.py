"""A tiny random backbone of every family; see `kzoo.backbones.miniatures`."""

from kzoo.backbones.families import FAMILIES
from kzoo.backbones.families.shared import VOCABULARY
from kzoo.backbones.miniatures import make_miniature as make_tiny_backbone
from kzoo.backbones.miniatures import miniature_inputs as tiny_inputs
from kzoo.backbones.miniatures import sequence_output

FAMILY_NAMES = FAMILIES.names()

__all__ = [
    "FAMILY_NAMES",
    "VOCABULARY",
    "make_tiny_backbone",
    "sequence_output",
    "tiny_inputs",
]
