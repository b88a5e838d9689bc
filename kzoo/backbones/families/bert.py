"""BERT, which others derive from."""

from kzoo.backbones.families import FAMILIES
from kzoo.backbones.families.shared import BERT

FAMILIES.register("bert", BERT)
