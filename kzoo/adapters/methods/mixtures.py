"""Published unions of methods: MAM (He et al. 2022) and UniPELT (Mao et al. 2022)."""

from __future__ import annotations

from kzoo.adapters.config import register_method
from kzoo.adapters.methods.union import UnionConfig

# Mix-and-match, arXiv:2110.04366: a prefix in the attention, a scaled adapter beside the
# feed-forward part.
MAM = ("prefix[num_virtual_tokens=30,projection=true,bottleneck=800]", "par_bn")

# arXiv:2110.07577: a prefix, a bottleneck and a LoRA, each with a gate.
UNIPELT = (
    "gated_prefix[num_virtual_tokens=10,projection=true]",
    "seq_bn[use_gating=true]",
    "gated_lora[r=8]",
)

register_method("mam", configs=MAM)(UnionConfig)
register_method("unipelt", configs=UNIPELT)(UnionConfig)
