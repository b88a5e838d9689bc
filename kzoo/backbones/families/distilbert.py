"""DistilBERT: BERT without segments and pooler, under other names."""

from dataclasses import replace

from kzoo.backbones.families import FAMILIES
from kzoo.backbones.families.shared import ROBERTA
from kzoo.backbones.hf_format import HUB_BLOCK, HFClasses, HFConfig, HubHead, HubNames

_MODULES = {
    "query": "attention.q_lin",
    "key": "attention.k_lin",
    "value": "attention.v_lin",
    "attention_output": "attention.out_lin",
    "attention_norm": "sa_layer_norm",
    "ffn_intermediate": "ffn.lin1",
    "ffn_output": "ffn.lin2",
    "ffn_norm": "output_layer_norm",
}
_KEYS = {
    "vocabulary_size": "vocab_size",
    "num_layers": "n_layers",
    "num_heads": "n_heads",
    "hidden_dim": "dim",
    "intermediate_dim": "hidden_dim",
    "max_sequence_length": "max_position_embeddings",
    "dropout": "dropout",
}

FAMILIES.register(
    "distilbert",
    replace(
        ROBERTA,
        name="distilbert",
        backbone="DistilBertBackbone",
        names=replace(
            ROBERTA.names,
            blocks=("transformer.layer.{i}",),
            sites=(_MODULES,),
            position_offset=0,
            every_position=None,
        ),
        config=HFConfig(
            _KEYS,
            {"dropout": 0.1, "activation": "gelu", "layer_norm_eps": 1e-12},
            activation_key="activation",
        ),
        classes=HFClasses("distilbert"),
        hub=HubNames(
            (HUB_BLOCK,),
            ({"attention": "attention"},),
            self_prefix="self",
            model_class="DistilBertAdapterModel",
            head=HubHead(
                "DistilBertForSequenceClassification",
                ("pre_classifier", "classifier"),
                activation="relu",
            ),
        ),
        tokenizer="wordpiece",
        pad_tokens=("[PAD]", "<pad>"),
    ),
)
