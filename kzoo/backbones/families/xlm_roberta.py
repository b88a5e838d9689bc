"""XLM-RoBERTa: RoBERTa with a SentencePiece vocabulary."""

from dataclasses import replace

from kzoo.backbones.families import FAMILIES
from kzoo.backbones.families.shared import ROBERTA, hub_of_two_layers

FAMILIES.register(
    "xlm-roberta",
    replace(
        ROBERTA,
        name="xlm-roberta",
        backbone="XLMRobertaBackbone",
        hub=hub_of_two_layers("XLMRoberta"),
        tokenizer=None,
    ),
)
