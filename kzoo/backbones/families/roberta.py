"""RoBERTa."""

from kzoo.backbones.families import FAMILIES
from kzoo.backbones.families.shared import roberta_like

FAMILIES.register("roberta", roberta_like("roberta", "RobertaBackbone", tokenizer="byte-pair"))
