"""Combining trained adapters into a new one, by weights.

LoRA adapters are combined by their factors, by their ranks (`cat`) or by the changes of weights
that they stand for (`svd` and `*_svd`); the names mean what they mean in HF PEFT's
`add_weighted_adapter`. Adapters of other methods are averaged variable by variable.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kzoo.adapters.combining_tensors import MERGES, check_majority_sign, task_arithmetic
from kzoo.adapters.config import AdapterConfig
from kzoo.adapters.methods.lora import LoraConfig
from kzoo.backbones.places import Place
from kzoo.errors import AdapterError, did_you_mean
from kzoo.seeds import derive_seed

if TYPE_CHECKING:  # needs Keras
    from kzoo.adapters.acting.injection import Sites

Tensor = NDArray[Any]
Factors = tuple[Tensor, Tensor]  # A (in, r) and B (r, out)

_FACTORS = ("lora_a", "lora_b", "lora_a0", "lora_b0")

COMBINATIONS = (*MERGES, "cat", "svd", *(f"{m}_svd" for m in MERGES if m != "linear"))


@dataclass(frozen=True)
class Trained:
    """One adapter that goes into a combination.

    Args:
        name: For messages.
        config: Its configuration.
        tensors: Its values by file key: `<place>.<variable>`.
        places: The places of the model; only LoRA with patterns needs to know more than keys.
        frozen: Keys of what is not trained, such as projections drawn at random.
    """

    name: str
    config: AdapterConfig
    tensors: Mapping[str, Tensor]
    places: Sequence[Place] = ()
    frozen: frozenset[str] = frozenset()

    @classmethod
    def of(cls, name: str, config: AdapterConfig, sites: Sites) -> Trained:
        """An adapter that stands in a model."""
        variables = sites.variables(name)
        trained = {id(variable) for variable in sites.trainable(name)}
        tensors = {key: np.asarray(variable) for key, variable in variables.items()}
        frozen = frozenset(key for key, v in variables.items() if id(v) not in trained)
        return cls(name, config, tensors, sites.places, frozen)

    def scaling(self, key: str) -> float:
        """What a LoRA's A B is multiplied by at one place."""
        assert isinstance(self.config, LoraConfig)
        place = next((place for place in self.places if place.key == key), None)
        return self.config.scaling if place is None else self.config.scaling_at(place)

    def factors(self, key: str) -> Factors:
        """A LoRA's A (in, k) and B (k, out) in float32; k is 2r with a start from W (PiSSA)."""
        a, b = self._tensor(key, "lora_a"), self._tensor(key, "lora_b")
        if f"{key}.lora_a0" in self.tensors:  # the change is A B - A0 B0
            a = np.concatenate([a, self._tensor(key, "lora_a0")], axis=1)
            b = np.concatenate([b, -self._tensor(key, "lora_b0")], axis=0)
        return a, b

    def _tensor(self, key: str, variable: str) -> Tensor:
        return self.tensors[f"{key}.{variable}"].astype(np.float32)


@dataclass(frozen=True)
class Combination:
    """How adapters are combined.

    Args:
        method: One of `COMBINATIONS`.

            - `linear`: sums A and B separately, each with the root of weight times scaling. One
              adapter with weight w gives exactly w times its change; several also give cross terms
              (A of one times B of another). Equal ranks.
            - `cat`: sets the ranks side by side: the exact weighted sum; the rank is their sum.
            - `svd`: the best approximation of the weighted sum of rank `svd_rank`.
            - `magnitude_prune`, `ties`, `dare_linear`, `dare_ties`: as `linear`, with the function
              of that name in `kzoo.adapters.combining_tensors` in place of the sum. Equal ranks.
            - the same with `_svd`: merges the changes of weights instead, which has no cross
              terms, and then as `svd`.
        density: Share of entries that is kept; for the last two groups, which need it.
        svd_rank: Rank of the result of `svd` and `*_svd`. Default: the largest of the adapters.
        majority_sign: `total` or `frequency`; for the methods with `ties` in their name.
        seed: Decides what `dare_*` drops.

    Raises:
        AdapterError: `method` is not known, or an option is missing, out of range, or would have
            no effect.
    """

    method: str = "linear"
    density: float | None = None
    svd_rank: int | None = None
    majority_sign: str = "total"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in COMBINATIONS:
            raise AdapterError(
                f"`combination` {self.method!r} is not known."
                f"{did_you_mean(str(self.method), COMBINATIONS)}"
            )
        prunes = self.merge not in ("linear", "cat")
        if prunes and (self.density is None or not 0 < self.density <= 1):
            raise AdapterError(
                f"`density` must be over 0 and at most 1 for {self.method!r}. "
                f"Received: {self.density!r}"
            )
        if not prunes and self.density is not None:
            raise AdapterError(f"`density` has no effect on {self.method!r}; leave it out.")
        if self.svd_rank is not None and not self.decomposes:
            raise AdapterError(f"`svd_rank` has no effect on {self.method!r}; leave it out.")
        if self.svd_rank is not None and self.svd_rank < 1:
            raise AdapterError(f"`svd_rank` must be at least 1. Received: {self.svd_rank!r}")
        check_majority_sign(self.majority_sign)
        if self.majority_sign != "total" and "ties" not in self.method:
            raise AdapterError(f"`majority_sign` has no effect on {self.method!r}; leave it out.")

    @property
    def merge(self) -> str:
        """What happens to tensors: a key of `MERGES`, or `cat`."""
        return "linear" if self.method == "svd" else self.method.removesuffix("_svd")

    @property
    def decomposes(self) -> bool:
        """Whether the changes of weights are merged and then decomposed."""
        return self.method.endswith("svd")

    def merge_tensors(self, tensors: Sequence[Tensor], weights: Sequence[float], at: str) -> Tensor:
        """Merges the tensors that stand at one place; `at` gives `dare_*` a stream of its own."""
        options: dict[str, Any] = {}
        if self.density is not None:
            options["density"] = self.density
        if "ties" in self.merge:
            options["majority_sign"] = self.majority_sign
        if "dare" in self.merge:
            options["seed"] = derive_seed(self.seed, at)
        return MERGES[self.merge](tensors, weights, **options)


def combine(
    adapters: Sequence[Trained], weights: Sequence[float], how: Combination
) -> tuple[AdapterConfig, dict[str, Tensor]]:
    """Combines adapters of one method that stand at the same places.

    LoRA adapters, rsLoRA, PiSSA and OLoRA included, give a plain LoRA whose scaling is 1. Adapters
    of other methods need equal configurations and `linear`: every trained variable is the weighted
    mean (Chronopoulou et al. 2023, arXiv:2302.07027), and what is not trained has to be the same
    in all. Weights of IA3 need not sum to 1, as in HF PEFT.

    Args:
        adapters: At least one.
        weights: One an adapter; they may be negative. They need not sum to 1 for LoRA and IA3.
        how: The combination.

    Returns:
        The configuration of the new adapter, and its values by file key.

    Raises:
        AdapterError: Nothing to combine, another number of weights, weights or values that are
            not finite, different methods or places, ranks or a method that the combination
            cannot deal with.
    """
    _check(adapters, weights)
    if _is_lora(adapters[0]):
        return _combine_lora(adapters, weights, how)
    return _combine_variables(adapters, weights, how)


def _is_lora(adapter: Trained) -> bool:
    # Not of a subclass, whose gates are no part of the matrix.
    return type(adapter.config) is LoraConfig


def _check(adapters: Sequence[Trained], weights: Sequence[float]) -> None:
    if not adapters:
        raise AdapterError("`adapters` must name at least one adapter. Received: none")
    if len(weights) != len(adapters):
        raise AdapterError(
            f"`weights` must be {len(adapters)} numbers, one an adapter. Received: {weights!r}"
        )
    if not all(isinstance(w, (int, float, np.number)) and math.isfinite(w) for w in weights):
        raise AdapterError(f"`weights` must be finite numbers. Received: {weights!r}")
    first = adapters[0]
    for other in adapters[1:]:
        if _is_lora(other) != _is_lora(first) or (
            not _is_lora(other) and other.config.method != first.config.method
        ):
            raise AdapterError(
                f"`adapters` must be of one method. `{first.name}` is {first.config.method}, "
                f"`{other.name}` is {other.config.method}."
            )
        for one, two in ((first, other), (other, first)):
            if only := sorted(_places(one) - _places(two)):
                raise AdapterError(
                    f"`adapters` must stand at the same places. `{two.name}` is not at {only[:3]} "
                    f"({len(only)} in all), where `{one.name}` is."
                )
    for adapter in adapters:
        for key, tensor in adapter.tensors.items():
            if not np.isfinite(tensor.astype(np.float32)).all():
                raise AdapterError(f"`{adapter.name}` holds NaN or infinity in {key}.")


def _places(adapter: Trained) -> set[str]:
    return {key.rpartition(".")[0] for key in adapter.tensors}


def _combine_variables(
    adapters: Sequence[Trained], weights: Sequence[float], how: Combination
) -> tuple[AdapterConfig, dict[str, Tensor]]:
    first = adapters[0]
    if how.method != "linear":
        raise AdapterError(
            f"`combination` {how.method!r} is for lora. Adapters of `{first.config.method}` can "
            "be combined with 'linear'."
        )
    if first.config.method != "ia3" and not math.isclose(sum(weights), 1, abs_tol=1e-6):
        raise AdapterError(
            f"`weights` must sum to 1 for `{first.config.method}`, whose variables can be averaged "
            f"but not scaled. Received: {weights!r}"
        )
    combined = {}
    for other in adapters[1:]:
        if other.config != first.config:
            raise AdapterError(
                f"`adapters` must have equal configurations. `{first.name}` is {first.config!r}, "
                f"`{other.name}` is {other.config!r}."
            )
    for key, tensor in first.tensors.items():
        same = [adapter.tensors[key] for adapter in adapters]
        if key not in first.frozen:
            combined[key] = task_arithmetic(same, weights)
        elif all(np.array_equal(tensor, other) for other in same[1:]):
            combined[key] = tensor
        else:
            raise AdapterError(
                f"`adapters` differ in {key}, which is not trained: what was learnt around it "
                "cannot be summed."
            )
    return first.config, combined


def _combine_lora(
    adapters: Sequence[Trained], weights: Sequence[float], how: Combination
) -> tuple[AdapterConfig, dict[str, Tensor]]:
    for adapter in adapters:
        others = [key for key in adapter.tensors if key.rpartition(".")[2] not in _FACTORS]
        if others:
            raise AdapterError(
                f"`{adapter.name}` has more than low-rank factors, such as {others[0]}, and "
                "cannot be combined with others."
            )
    places = list(dict.fromkeys(key.rpartition(".")[0] for key in adapters[0].tensors))
    factors = {place: _combine_at(place, adapters, weights, how) for place in places}
    config = adapters[0].config
    assert isinstance(config, LoraConfig)
    rank = max(b.shape[0] for _, b in factors.values())
    tensors = {}
    for place, (a, b) in factors.items():
        missing = rank - b.shape[0]  # zeros add nothing
        tensors[f"{place}.lora_a"] = np.pad(a, ((0, 0), (0, missing)))
        tensors[f"{place}.lora_b"] = np.pad(b, ((0, missing), (0, 0)))
    # A plain LoRA with alpha = r, whatever variant the adapters are: the scaling is in A and B.
    combined = LoraConfig(
        method="lora",
        r=rank,
        alpha=float(rank),
        targets=config.targets,
        dropout=config.dropout,
        leave_out=config.leave_out,
        exclude=config.exclude,
    )
    return combined, tensors


def _combine_at(
    place: str, adapters: Sequence[Trained], weights: Sequence[float], how: Combination
) -> Factors:
    factors = [adapter.factors(place) for adapter in adapters]
    signed = [
        weight * adapter.scaling(place) for adapter, weight in zip(adapters, weights, strict=True)
    ]
    ranks = [b.shape[0] for _, b in factors]
    if how.method == "cat":
        return _side_by_side(factors, signed)
    if how.decomposes:
        rank = how.svd_rank or max(ranks)
        if how.merge == "linear":
            return _compress(*_side_by_side(factors, signed), rank)
        # With the scalings, because pruning and electing compare magnitudes.
        deltas = [
            adapter.scaling(place) * (a @ b)
            for adapter, (a, b) in zip(adapters, factors, strict=True)
        ]
        return _decompose(how.merge_tensors(deltas, weights, place), rank)
    if len(set(ranks)) > 1:
        named = ", ".join(f"`{a.name}` {r}" for a, r in zip(adapters, ranks, strict=True))
        raise AdapterError(
            f"`combination` {how.method!r} needs equal ranks. Received: {named}. "
            "Use 'cat' or 'svd'."
        )
    # The root on both sides gives the product the weight; the sign may stand on one side only.
    roots = [math.sqrt(abs(weight)) for weight in signed]
    with_signs = [math.copysign(root, weight) for root, weight in zip(roots, signed, strict=True)]
    return (
        how.merge_tensors([a for a, _ in factors], with_signs, f"{place}.lora_a"),
        how.merge_tensors([b for _, b in factors], roots, f"{place}.lora_b"),
    )


def _side_by_side(factors: Sequence[Factors], weights: Sequence[float]) -> Factors:
    """sum of w A B as one product: [w1 A1, w2 A2, ...] [B1; B2; ...]."""
    pairs = zip(factors, weights, strict=True)
    return (
        np.concatenate([a * np.float32(weight) for (a, _), weight in pairs], axis=1),
        np.concatenate([b for _, b in factors], axis=0),
    )


def _compress(a: Tensor, b: Tensor, rank: int) -> Factors:
    """The best approximation of A B of this rank, without forming A B.

    With A = Qa Ra and B = (Qb Rb)^T, the singular values of A B are those of the small Ra Rb^T.
    """
    left, left_small = np.linalg.qr(a.astype(np.float64))
    right, right_small = np.linalg.qr(b.T.astype(np.float64))
    small_a, small_b = _decompose(left_small @ right_small.T, rank)
    return (left @ small_a).astype(np.float32), (small_b @ right.T).astype(np.float32)


def _decompose(matrix: Tensor, rank: int) -> Factors:
    """The best approximation of a matrix of at most this rank (Eckart and Young 1936)."""
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    return left[:, :rank], values[:rank, None] * right[:rank]
