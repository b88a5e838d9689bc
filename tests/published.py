"""Sizes of published models, for counts that others have published."""

from kzoo.backbones.dims import Dims

BERT_BASE = Dims(
    num_layers=12,
    hidden_dim=768,
    intermediate_dim=3072,
    num_heads=12,
    vocabulary_size=30522,
    max_sequence_length=512,
    num_segments=2,
    pooler=True,
)
LLAMA_3B = Dims(
    family="llama",
    num_layers=28,
    hidden_dim=3072,
    intermediate_dim=8192,
    num_heads=24,
    num_kv_heads=8,
    vocabulary_size=128256,
)
