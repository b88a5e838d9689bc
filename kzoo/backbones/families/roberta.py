"""RoBERTa, which others derive from."""

from kzoo.backbones.families import FAMILIES
from kzoo.backbones.families.shared import ROBERTA

FAMILIES.register("roberta", ROBERTA)
