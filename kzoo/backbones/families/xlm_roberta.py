"""XLM-RoBERTa: RoBERTa with a SentencePiece vocabulary."""

from kzoo.backbones.families import FAMILIES
from kzoo.backbones.families.shared import roberta_like

FAMILIES.register("xlm-roberta", roberta_like("xlm-roberta", "XLMRobertaBackbone"))
