"""Sizes of a trunk, and its parameter count by arithmetic (so that `kzoo info` builds nothing)."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt, model_validator

from kzoo.backbones.families import FAMILIES, family_of
from kzoo.backbones.family import Family, Spot
from kzoo.backbones.places import LINEAR_SITES, NORM_SITES, Place


class Dims(BaseModel):
    """Sizes of a trunk. What is left out has the family's usual value.

    Args:
        family: Its family, which says what sublayers there are.
        num_layers: Transformer blocks; in an encoder-decoder of each of both.
        hidden_dim: Width of the residual stream.
        intermediate_dim: Width inside the feed-forward part.
        num_heads: Attention heads.
        vocabulary_size: Rows of the token embedding; 0 where there is none.
        max_sequence_length: Rows of a position embedding; 0 where there is none.
        num_segments: Rows of the segment embedding; 0 where the family has none.
        pooler: Whether there is a dense layer behind `[CLS]`.
        num_kv_heads: Heads of keys and values. Default: `num_heads`.
        head_dim: Width of a head. Default: `hidden_dim / num_heads`.
        embedding_dim: Width of the token embedding. Default: `hidden_dim`.
        distinct_blocks: Blocks with weights of their own in each stack, where blocks are shared
            (ALBERT). 0: all of them.
        gated: Whether the feed-forward part has a gate. Default: as in the family.
        biased: Sites whose sublayer has a bias. Default: as in the family.
        tied_embeddings: Whether a decoder computes logits with its token embedding.
        relative_positions: Rows of DeBERTa's table of relative positions.
        patch_dim: Numbers in an image patch, over all channels; 0 for text.
        post_norms: Whether there are norms behind both parts of a block too (Gemma 2).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: str = "bert"
    num_layers: PositiveInt
    hidden_dim: PositiveInt
    intermediate_dim: PositiveInt
    num_heads: PositiveInt
    vocabulary_size: NonNegativeInt
    max_sequence_length: NonNegativeInt = 0
    num_segments: NonNegativeInt = 0
    pooler: bool = False
    num_kv_heads: PositiveInt
    head_dim: PositiveInt
    embedding_dim: PositiveInt
    distinct_blocks: NonNegativeInt = 0
    gated: bool
    biased: tuple[str, ...]
    tied_embeddings: bool = True
    relative_positions: NonNegativeInt = 0
    patch_dim: NonNegativeInt = 0
    post_norms: bool = False

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, data: Any) -> Any:
        """Fills in what follows from the rest; wrong types are left to pydantic."""
        if not isinstance(data, dict):
            return data
        family = data.get("family", "bert")
        if family not in FAMILIES:
            raise ValueError(f"`family` must be one of {', '.join(FAMILIES)}. Received: {family!r}")
        row = FAMILIES.get(family)
        usual: dict[str, Any] = {"gated": row.gated, "biased": row.biased}
        heads, width = data.get("num_heads"), data.get("hidden_dim")
        if isinstance(heads, int) and isinstance(width, int) and heads > 0:
            usual |= {"num_kv_heads": heads, "head_dim": width // heads, "embedding_dim": width}
        return {**usual, **data}

    @property
    def row(self) -> Family:
        """The family itself."""
        return FAMILIES.get(self.family)

    def places(self) -> list[Place]:
        """The places of a trunk of these sizes, without layers; as `Family.places` gives them."""
        blocks = self.distinct_blocks or self.num_layers
        spots = self.row.spots([blocks] * len(self.row.stacks), self.gated)
        # A pooler may be missing (roberta) or be there in some checkpoints only.
        return [self._place(spot) for spot in spots if spot.site != "pooler" or self.pooler]

    def _place(self, spot: Spot) -> Place:
        size_in, size_out = self._sizes(spot.site, spot.block is not None)
        return Place(
            key=spot.key,
            site=spot.site,
            name=spot.name,
            size_in=size_in,
            size_out=size_out,
            bias=spot.site in self.biased,
            block=spot.block,
            method=spot.method,
            pre_norm=self.row.pre_norm,
        )

    def _sizes(self, site: str, inside: bool) -> tuple[int, int]:
        h, i, e = self.hidden_dim, self.intermediate_dim, self.embedding_dim
        heads, kv = self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        return {
            "query": (h, heads),
            "key": (h, kv),
            "value": (h, kv),
            "attention_output": (heads, h),
            "attention": (heads, kv),
            "ffn_gate": (h, i),
            "ffn_intermediate": (h, i),
            "ffn_output": (i, h),
            "token_embedding": (self.vocabulary_size, e),
            # Rotary positions, inside the blocks, have no table.
            "position_embedding": (0, 0) if inside else (self.max_sequence_length, e),
            # BART's are behind the embedding of full width, ALBERT's before its projection.
            "embeddings_norm": (e, e),
            "attention_norm": (h, h),
            "ffn_norm": (h, h),
            "final_norm": (h, h),
            "pooler": (h, h),
            "block": (0, 0),
        }[site]

    @classmethod
    def of(cls, backbone: Any) -> Dims:
        """Reads the sizes off a built KerasHub backbone."""
        row = family_of(backbone)

        def size(*names: str, default: Any = 0) -> Any:
            found = [getattr(backbone, name, None) for name in names]
            return next((value for value in found if value is not None), default)

        heads = size("num_heads", "num_query_heads")
        tokens = getattr(backbone, "token_embedding", None)
        usual = {
            "family": row.name,
            "num_layers": backbone.num_layers,
            "hidden_dim": backbone.hidden_dim,
            "intermediate_dim": size("intermediate_dim", "mlp_dim"),
            "num_heads": heads,
            "vocabulary_size": size("vocabulary_size", "vocab_size"),
            "max_sequence_length": size("max_sequence_length"),
            "num_segments": size("num_segments"),
            "pooler": row.pooler is not None,
            "num_kv_heads": size("num_key_value_heads", default=heads),
            "head_dim": size("head_dim", "key_value_dim", default=backbone.hidden_dim // heads),
            "embedding_dim": size("embedding_dim", default=backbone.hidden_dim),
            "gated": row.is_gated(backbone),
            "biased": _biased(row, backbone),
            "tied_embeddings": bool(getattr(tokens, "tie_weights", True)),
        }
        return cls(**{**usual, **row.sizes(backbone)})

    @property
    def different_blocks(self) -> int:
        """Transformer blocks with weights of their own, over all stacks."""
        return len(self.row.stacks) * (self.distinct_blocks or self.num_layers)

    @property
    def pooler_parameters(self) -> int:
        """Parameters of the dense layer behind `[CLS]`."""
        return self.hidden_dim * (self.hidden_dim + 1) if self.pooler else 0

    @property
    def trunk_parameters(self) -> int:
        """Parameters of embeddings, blocks and pooler."""
        return sum(map(_count, self.places())) + self._outside_places

    @property
    def _outside_places(self) -> int:
        """Parameters of the layers at which no adapter stands."""
        segments = self.embedding_dim * self.num_segments
        output = 0 if self.tied_embeddings else self.vocabulary_size * self.hidden_dim
        return segments + output + self.row.extra_parameters(self)


def _biased(row: Family, backbone: Any) -> tuple[str, ...]:
    """The sites that have a bias, in the order of the family's row where they are its own."""
    found = {place.site for place in row.places(backbone) if place.bias}
    missing = {place.site for place in row.places(backbone)} - found
    kept = tuple(site for site in row.biased if site not in missing)
    return (*kept, *sorted(found - set(kept)))


def _count(place: Place) -> int:
    if place.site in LINEAR_SITES:
        return place.size_out * (place.size_in + place.bias)
    if place.site in NORM_SITES:
        return place.size_out * (1 + place.bias)
    table = place.site in ("token_embedding", "position_embedding")
    return place.size_in * place.size_out if table else 0
