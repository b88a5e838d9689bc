"""The ReFT layer; formulas in `kzoo.adapters.methods.reft`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from kzoo.adapters.config import Building
from kzoo.adapters.layers.base import FUNCTIONS, AdapterLayer, Function
from kzoo.adapters.methods.reft import ReftConfig
from kzoo.backbones.places import Place
from kzoo.errors import AdapterError
from kzoo.seeds import derive_seed

_PADDING = ("padding_mask", "decoder_padding_mask", "attention_mask")  # T5's is the last
_INDICES = ("self_attention_cache_update_index", "cache_update_index")
_CACHES = ("self_attention_cache", "cache")


class ReftLayer(AdapterLayer):
    """Edits a block's output at its first and last real tokens.

    Variables, for each of the units `prefix` and `suffix`, or for `tied`: `<unit>_source_kernel`
    (H, r) and `<unit>_source_bias` (r,), W and b of the paper transposed; `<unit>_projection`
    (H, r), R transposed, or the free matrix whose Q is R transposed. A matrix with orthonormal
    columns is its own Q, so that an R from elsewhere is assigned as it is.
    """

    def __init__(self, config: ReftConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building.name)
        hidden, r = place.size_out, config.r
        for unit in config.units:
            seed = derive_seed(building.seed_at(place), unit)
            start: Any = keras.initializers.Orthogonal(seed=seed)
            if not config.orthogonal:
                start = keras.initializers.GlorotUniform(seed=seed)
            # Never cast to half precision: QR would fail, and lose what makes Q orthonormal.
            shape = (hidden, r)
            name = f"{unit}_projection"
            setattr(self, name, self.add_weight(shape, start, "float32", autocast=False, name=name))
            name = f"{unit}_source_kernel"
            source = self.add_weight(shape, "zeros", "float32", autocast=False, name=name)
            setattr(self, name, source)
            name = f"{unit}_source_bias"
            setattr(self, name, self.add_weight((r,), "zeros", name=name))
            if config.subtract_projection and config.non_linearity is None:
                source.assign(self.projection(unit))
        if config.dropout:
            self.dropout = keras.layers.Dropout(config.dropout, seed=building.seed_at(place))

    def projection(self, unit: str) -> Any:
        """R transposed, (H, r)."""
        free = keras.ops.convert_to_tensor(getattr(self, f"{unit}_projection"))
        return orthonormal(keras.ops.cast(free, "float32")) if self.config.orthogonal else free

    def edited(self, h: Any, unit: str) -> Any:
        """The edit at every position; shape of h."""
        ops, config = keras.ops, self.config
        r = self.projection(unit)
        kernel = ops.convert_to_tensor(getattr(self, f"{unit}_source_kernel"))
        bias = getattr(self, f"{unit}_source_bias")

        def times(matrix: Any) -> Any:
            return ops.matmul(h, ops.cast(matrix, h.dtype))

        if config.non_linearity is not None:
            move = FUNCTIONS[config.non_linearity](times(kernel) + bias)
            move = move - times(r) if config.subtract_projection else move
        else:  # W h - R h as (W - R) h: one product instead of two
            if config.subtract_projection:
                kernel = keras.ops.cast(kernel, r.dtype) - r
            move = times(kernel) + bias
        out = h + ops.matmul(move, ops.cast(ops.transpose(r), h.dtype))
        return self.dropout(out) if config.dropout else out

    def apply(self, inner: Function, x: Any) -> Any:
        """x: `(args, kwargs)` of the block."""
        args, kwargs = x
        # BART calls its decoder blocks with names only.
        states = args[0] if args else kwargs["decoder_sequence"]
        y = inner(x)
        h = y[0] if isinstance(y, (tuple, list)) else y
        first, last = self.positions(states, kwargs)
        out = h
        for name, where in (("prefix", first), ("suffix", last)):
            if where is not None:
                unit = "tied" if self.config.tied else name
                out = keras.ops.where(where[..., None], self.edited(h, unit), out)
        return type(y)((out, *y[1:])) if isinstance(y, (tuple, list)) else out

    def positions(self, states: Any, kwargs: Mapping[str, Any]) -> tuple[Any, Any]:
        """Which tokens are among the first and the last ones: (rows or 1, tokens), or None each.

        Args:
            states: What goes into the block, (rows, tokens, H).
            kwargs: The other arguments of the block, which hold the mask, or cache and index.

        Raises:
            AdapterError: Last positions while generating.
        """
        ops, config = keras.ops, self.config
        tokens = ops.shape(states)[1]
        cached = any(kwargs.get(name) is not None for name in _CACHES)
        mask = None if cached else _real(kwargs)
        if mask is None:
            index = next((kwargs[n] for n in _INDICES if kwargs.get(n) is not None), 0)
            number = (ops.arange(tokens) + (index if cached else 0))[None]
            total: Any = tokens
            real: Any = True
        else:
            real = ops.cast(mask, "bool")
            number = ops.cumsum(ops.cast(real, "int32"), axis=1) - 1
            total = number[:, -1:] + 1
        first = last = None
        if config.prefix_positions:
            first = ops.logical_and(real, number < config.prefix_positions)
        if config.suffix_positions:
            if cached:
                raise AdapterError(
                    f"`suffix_positions` of `{config.method}` cannot be found while generating: "
                    "only `prefix_positions` can. Call the model without a cache instead."
                )
            last = ops.logical_and(real, number >= total - config.suffix_positions)
        return first, last


def orthonormal(matrix: Any) -> Any:
    """Q of the QR decomposition with a positive diagonal: (m, n) with orthonormal columns.

    With that sign, Q is unique, depends smoothly on the matrix, and is the matrix itself where its
    columns are orthonormal already.
    """
    q, r = keras.ops.qr(matrix)
    return q * keras.ops.where(keras.ops.diagonal(r) < 0, -1.0, 1.0)


def _real(kwargs: Mapping[str, Any]) -> Any:
    for name in _PADDING:
        mask = kwargs.get(name)
        if mask is None:
            continue
        if len(mask.shape) == 2:
            return mask
        if len(mask.shape) == 3 and mask.shape[1] == 1:
            return mask[:, 0]
    return None
