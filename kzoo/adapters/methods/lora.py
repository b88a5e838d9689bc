"""LoRA (Hu et al. 2021, arXiv:2106.09685) and its variants rsLoRA, DoRA, PiSSA and OLoRA."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

from kzoo.adapters.config import register_method
from kzoo.adapters.targets import LowRankConfig, Rate, is_embedding
from kzoo.backbones.places import Place
from kzoo.errors import AdapterError


@register_method("lora")
@register_method("rslora", use_rslora=True)
@register_method("dora", use_dora=True)
@register_method("pissa", init="pissa")
@register_method("olora", init="olora")
class LoraConfig(LowRankConfig):
    """Low-rank update of a projection: y = W x + s B A x, s = alpha / r (section 4.1).

    A has shape (in, r) and B (r, out) on the *flattened* projection, as in the paper and in HF
    PEFT; heads are not factorised separately. B starts at zero, so that an untrained adapter is
    an exact identity. At an embedding, A has a row for each token and is the one that starts at
    zero.

    Variants, as options or under their own names:

    - `rslora` (Kalajdzievski 2023, arXiv:2312.03732): s = alpha / sqrt(r).
    - `dora` (Liu et al. 2024, arXiv:2402.09353, eq. 5): W' = m (W + s A B) / ||W + s A B||, the
      norm over each column and without a gradient (section 4.3), the magnitudes m trained.
    - `pissa` (Meng et al. 2024, arXiv:2404.02948): A and B start as the r largest singular
      directions of W. `olora` (Büyükakyüz 2024, arXiv:2406.01775): as the first r columns of Q
      and rows of R in W = Q R. The papers train W_res + s A B with W_res = W - s A0 B0, and
      libraries overwrite W by W_res. Here the trunk stays untouched: the layer keeps frozen copies
      of A0 and B0 and computes W x + s (B A x - B0 A0 x). That is the same function, an exact
      identity before training, and a plain LoRA of rank 2r with factors [A, A0] and [B; -B0].

    A merge at an embedding that is tied to the output changes the logits' weights as well.

    Args:
        targets: Sites, names or keys of projections and embeddings; or `all-linear`.
        r: Rank.
        alpha: The update is scaled by alpha / r. Default 8, PEFT's.
        rank_pattern: Other ranks for some targets: site, name or key -> r; the first that fits.
        alpha_pattern: The same for alpha.
        dropout: Share of inputs of A dropped in training; not at embeddings.
        init: `kaiming` (uniform, PEFT's), `gaussian` (standard deviation 1 / r), `pissa`, `olora`.
        use_rslora: Scale by alpha / sqrt(r).
        use_dora: Train magnitudes as well.
        dora_dialect: `peft`, the paper's. `adapterhub`: the projection's bias is rescaled too, and
            the norm is that of W + A B, without s; both as AdapterHub computes it.
        train_bias: `lora_only` trains a copy of the biases of the targets too.
        lora_bias: Train a bias behind B (scaled as the update).
    """

    layer = "kzoo.adapters.layers.lora:LoraLayer"
    embeddings: ClassVar[bool] = True

    dropout: Rate = 0.0
    init: Literal["kaiming", "gaussian", "pissa", "olora"] = "kaiming"
    use_rslora: bool = False
    use_dora: bool = False
    dora_dialect: Literal["peft", "adapterhub"] = "peft"
    train_bias: Literal["none", "lora_only"] = "none"
    lora_bias: bool = False

    def model_post_init(self, context: object) -> None:
        """Refuses what has no meaning together."""
        if self.lora_bias and (self.use_dora or self.from_weights):
            raise ValueError("`lora_bias` goes neither with `use_dora` nor with pissa and olora")
        if self.rescales_bias and (self.from_weights or self.train_bias != "none"):
            raise ValueError(
                "`dora_dialect` adapterhub goes neither with `train_bias` nor with pissa and olora"
            )

    @property
    def from_weights(self) -> bool:
        """Whether A and B start as parts of W."""
        return self.init in ("pissa", "olora")

    @property
    def rescales_bias(self) -> bool:
        """Whether DoRA is AdapterHub's."""
        return self.use_dora and self.dora_dialect == "adapterhub"

    def scaling_of(self, alpha: float, r: int) -> float:
        """Alpha / r, or alpha / sqrt(r)."""
        return alpha / math.sqrt(r) if self.use_rslora else alpha / r

    def choose(self, places: Sequence[Place]) -> list[Place]:
        """As for every method; embeddings have no bias and no decomposition.

        Raises:
            AdapterError: Also for `lora_bias`, `pissa` or `olora` at an embedding, or a rank
                beyond what the weights have to decompose.
        """
        chosen = super().choose(places)
        for place in chosen:
            if is_embedding(place) and (self.lora_bias or self.from_weights):
                option = "lora_bias" if self.lora_bias else "init"
                raise AdapterError(f"`{option}` is not possible at the embedding {place.key}.")
            limit = min(place.size_in, place.size_out)
            if self.from_weights and self.rank_at(place) > limit:
                raise AdapterError(
                    f"`r` must be at most {limit} at {place.key} with init {self.init!r}. "
                    f"Received: {self.rank_at(place)}"
                )
        return chosen

    def count_at(self, place: Place) -> int:
        """r (in + out), and `out` for magnitudes and each kind of bias."""
        trains_bias = self.train_bias != "none" and place.bias
        vectors = self.use_dora + trains_bias + self.lora_bias
        return self.rank_at(place) * (place.size_in + place.size_out) + vectors * place.size_out
