"""What a `kzoo.Trunk` is made of: from a name, folder, handle or object to a backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from kzoo.backbones.architecture import Architecture
from kzoo.backbones.dims import Dims
from kzoo.backbones.families import family_of
from kzoo.backbones.loading import Pretrained, load_pretrained
from kzoo.backbones.source import find_source
from kzoo.backbones.tokenizer import tokenizer_json_of
from kzoo.errors import WeightsError

_USUAL_LENGTH = 2048  # of trunks whose positions have no table, and no end


def resolved(source: Any, tokenizer: Any, dtype: Any = None) -> Pretrained:
    """What `source` stands for.

    Args:
        source: See `kzoo.Trunk`.
        tokenizer: See `kzoo.Trunk`.
        dtype: Keras dtype or policy of what is loaded. Default: the global one.

    Raises:
        WeightsError: It stands for nothing, or is a backbone of another dtype.
    """
    if tokenizer is not None and isinstance(source, (str, Path, Pretrained)):
        raise WeightsError(
            "`tokenizer` belongs to a backbone object; a name, folder or handle brings its own."
        )
    if isinstance(source, Pretrained):
        return source
    if isinstance(source, (str, Path)):
        usual = keras.config.dtype_policy()
        keras.config.set_dtype_policy(usual if dtype is None else dtype)
        try:
            return load_pretrained(find_source(str(source)))
        finally:
            keras.config.set_dtype_policy(usual)
    if not isinstance(source, keras.Model):
        raise WeightsError(
            "`source` must be a backbone's name, a folder, a handle or a KerasHub backbone. "
            f"Received: {type(source).__name__}"
        )
    own = source.dtype_policy.name
    if dtype is not None and keras.dtype_policies.get(dtype).name != own:
        raise WeightsError(f"`dtype` {dtype!r}: the backbone was built as {own}.")
    family = family_of(source)
    architecture = Architecture.of_built(source, family)
    architecture.apply(source, family)  # as `from_config` will
    json = "" if tokenizer is None else tokenizer_json_of(tokenizer, family)
    return Pretrained(source, family, architecture, json, str(source.name))


def longest_text(backbone: Any, wanted: int | None, usual: int | None) -> int:
    """Tokens of the longest text: as wanted, else as usual, else as the positions allow.

    Raises:
        WeightsError: More is wanted than there are positions.
    """
    positions = Dims.of(backbone).max_sequence_length  # 0: no table of positions
    if wanted is None:
        return usual or positions or _USUAL_LENGTH
    if 0 < positions < wanted:
        raise WeightsError(
            f"`max_tokens` must be at most {positions}, the positions of the trunk. "
            f"Received: {wanted}"
        )
    return wanted


def prefix_of_inputs(inputs: Mapping[str, Any], names: Sequence[str]) -> str:
    """What a named input has in front of the backbone's names: `question_token_ids`."""
    first = next((key for key in inputs if key.endswith(names[0])), "")
    prefix = first.removesuffix(names[0])
    return prefix if all(key.startswith(prefix) for key in inputs) else ""
