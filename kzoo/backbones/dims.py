"""Sizes of a trunk, and its parameter count by arithmetic (so that `kzoo info` builds nothing)."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, PositiveInt

from kzoo.backbones.places import Place


class Dims(BaseModel):
    """Sizes of an encoder trunk.

    Args:
        num_layers: Transformer blocks.
        hidden_dim: Width of the residual stream.
        intermediate_dim: Width inside the feed-forward part.
        num_heads: Attention heads.
        vocabulary_size: Rows of the token embedding.
        max_sequence_length: Rows of the position embedding.
        num_segments: Rows of the segment embedding; 0 where the family has none.
        pooler: Whether there is a dense layer behind `[CLS]`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    num_layers: PositiveInt
    hidden_dim: PositiveInt
    intermediate_dim: PositiveInt
    num_heads: PositiveInt
    vocabulary_size: PositiveInt
    max_sequence_length: PositiveInt
    num_segments: int = 0
    pooler: bool = False

    def places(self) -> list[Place]:
        """The places of a trunk of these sizes, without layers; as `Family.places` gives them."""
        h, i = self.hidden_dim, self.intermediate_dim
        inside = {
            "query": (h, h, True),
            "key": (h, h, True),
            "value": (h, h, True),
            "attention_output": (h, h, True),
            "attention_norm": (h, h, True),
            "attention": (h, h, False),
            "ffn_intermediate": (h, i, True),
            "ffn_output": (i, h, True),
            "ffn_norm": (h, h, True),
            "block": (0, 0, False),
        }
        outside = {
            "token_embedding": (self.vocabulary_size, h, False),
            "embeddings_norm": (h, h, True),
        }
        if self.pooler:
            outside["pooler"] = (h, h, True)
        places = [
            Place(site, site, site, size_in, size_out, bias)
            for site, (size_in, size_out, bias) in outside.items()
        ]
        for block in range(self.num_layers):
            places += [
                Place(f"blocks.{block}.{site}", site, site, size_in, size_out, bias, block)
                for site, (size_in, size_out, bias) in inside.items()
            ]
        return places

    @classmethod
    def of(cls, backbone: Any) -> Dims:
        """Reads the sizes off a built KerasHub encoder."""
        return cls(
            num_layers=backbone.num_layers,
            hidden_dim=backbone.hidden_dim,
            intermediate_dim=backbone.intermediate_dim,
            num_heads=backbone.num_heads,
            vocabulary_size=backbone.vocabulary_size,
            max_sequence_length=backbone.max_sequence_length,
            num_segments=getattr(backbone, "num_segments", 0),
            pooler=hasattr(backbone, "pooled_dense"),
        )

    @property
    def pooler_parameters(self) -> int:
        """Parameters of the dense layer behind `[CLS]`."""
        return self.hidden_dim * (self.hidden_dim + 1) if self.pooler else 0

    @property
    def trunk_parameters(self) -> int:
        """Parameters of embeddings, blocks and pooler."""
        h, i = self.hidden_dim, self.intermediate_dim
        embeddings = (
            h * (self.vocabulary_size + self.max_sequence_length + self.num_segments) + 2 * h
        )
        attention = 4 * (h * h + h)
        feedforward = h * i + i + i * h + h
        norms = 2 * 2 * h
        return (
            embeddings
            + self.num_layers * (attention + feedforward + norms)
            + self.pooler_parameters
        )
