"""From an HF-format folder to a KerasHub backbone, by a table of tensor names.

KerasHub reads such folders too, but only with the key prefix that its authors had at hand (a bare
`RobertaModel` or `DistilBertModel` fails), and it drops RoBERTa's token-type row.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kzoo.backbones.families import Family
from kzoo.errors import WeightsError

# Dimensions: KerasHub argument -> HF config key.
_BERT_DIMS = {
    "vocabulary_size": "vocab_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "hidden_dim": "hidden_size",
    "intermediate_dim": "intermediate_size",
    "max_sequence_length": "max_position_embeddings",
    "dropout": "hidden_dropout_prob",
}
# Linear layers of a block: attribute path -> HF name.
_BERT_BLOCK = {
    "_self_attention_layer._query_dense": "attention.self.query",
    "_self_attention_layer._key_dense": "attention.self.key",
    "_self_attention_layer._value_dense": "attention.self.value",
    "_self_attention_layer._output_dense": "attention.output.dense",
    "_self_attention_layer_norm": "attention.output.LayerNorm",
    "_feedforward_intermediate_dense": "intermediate.dense",
    "_feedforward_output_dense": "output.dense",
    "_feedforward_layer_norm": "output.LayerNorm",
}
_DISTIL_BLOCK = {
    "_self_attention_layer._query_dense": "attention.q_lin",
    "_self_attention_layer._key_dense": "attention.k_lin",
    "_self_attention_layer._value_dense": "attention.v_lin",
    "_self_attention_layer._output_dense": "attention.out_lin",
    "_self_attention_layer_norm": "sa_layer_norm",
    "_feedforward_intermediate_dense": "ffn.lin1",
    "_feedforward_output_dense": "ffn.lin2",
    "_feedforward_layer_norm": "output_layer_norm",
}


@dataclass(frozen=True)
class _Names:
    dims: Mapping[str, str]
    defaults: Mapping[str, Any]
    layers: str
    block: Mapping[str, str]
    position_offset: int = 0


_TABLE = {
    "bert": _Names(
        {**_BERT_DIMS, "num_segments": "type_vocab_size"},
        {"hidden_dropout_prob": 0.1, "type_vocab_size": 2},
        "encoder.layer",
        _BERT_BLOCK,
    ),
    # RoBERTa counts positions from padding_idx + 1 = 2.
    "roberta": _Names(
        _BERT_DIMS, {"hidden_dropout_prob": 0.1}, "encoder.layer", _BERT_BLOCK, position_offset=2
    ),
    "distilbert": _Names(
        {
            "vocabulary_size": "vocab_size",
            "num_layers": "n_layers",
            "num_heads": "n_heads",
            "hidden_dim": "dim",
            "intermediate_dim": "hidden_dim",
            "max_sequence_length": "max_position_embeddings",
            "dropout": "dropout",
        },
        {"dropout": 0.1},
        "transformer.layer",
        _DISTIL_BLOCK,
    ),
}


def backbone_config(family: Family, hf: Mapping[str, Any]) -> dict[str, Any]:
    """KerasHub's constructor arguments from an HF `config.json`.

    Raises:
        WeightsError: A size is missing.
    """
    names = _TABLE[family.name]
    facts = {**names.defaults, **hf}
    if missing := [key for key in names.dims.values() if key not in facts]:
        raise WeightsError(f"config.json lacks {', '.join(f'`{key}`' for key in missing)}.")
    config = {ours: facts[theirs] for ours, theirs in names.dims.items()}
    config["max_sequence_length"] -= names.position_offset
    return config


def assign_weights(backbone: Any, family: Family, folder: Path) -> bool:
    """Loads every variable of a backbone from the folder's safetensors.

    Args:
        backbone: A built backbone of the right sizes.
        family: Its family.
        folder: Holds `model.safetensors`, or shards with an index.

    Returns:
        Whether the pooler was there (masked-language-model checkpoints have none).

    Raises:
        WeightsError: No file, an unreadable file, a missing tensor or a wrong shape.
    """
    tensors = _Tensors(folder)
    names = _TABLE[family.name]
    for block, layer in enumerate(family.block_list(backbone)):
        for path, name in names.block.items():
            target = layer
            for attribute in path.split("."):
                target = getattr(target, attribute)
            _assign_layer(target, tensors, f"{names.layers}.{block}.{name}")
    _assign_layer(backbone.embeddings_layer_norm, tensors, "embeddings.LayerNorm")
    tokens = tensors["embeddings.word_embeddings.weight"]
    positions = tensors["embeddings.position_embeddings.weight"][names.position_offset :]
    if family.name == "bert":
        _assign(backbone.token_embedding.embeddings, tokens, "word_embeddings")
        _assign(backbone.position_embedding.position_embeddings, positions, "position_embeddings")
        segments = tensors["embeddings.token_type_embeddings.weight"]
        _assign(backbone.segment_embedding.embeddings, segments, "token_type_embeddings")
    else:
        if family.name == "roberta":
            # Every token has type 0; KerasHub has no such table, so its row goes to the positions.
            positions = positions + tensors["embeddings.token_type_embeddings.weight"][:1]
        both = backbone.embeddings
        _assign(both.token_embedding.embeddings, tokens, "word_embeddings")
        _assign(both.position_embedding.position_embeddings, positions, "position_embeddings")
    if family.pooler is None:
        return False
    pooler = getattr(backbone, family.pooler)
    if "pooler.dense.weight" not in tensors:
        # Not left at random: the trunk's fingerprint has to be the same in every process.
        for variable in pooler.weights:
            variable.assign(np.zeros(variable.shape))
        return False
    _assign_layer(pooler, tensors, "pooler.dense")
    return True


def _assign_layer(layer: Any, tensors: _Tensors, name: str) -> None:
    if hasattr(layer, "gamma"):
        # The first TensorFlow conversions are named gamma and beta to this day.
        old = f"{name}.gamma" in tensors
        _assign(layer.gamma, tensors[f"{name}.{'gamma' if old else 'weight'}"], name)
        _assign(layer.beta, tensors[f"{name}.{'beta' if old else 'bias'}"], name)
    else:
        _assign(layer.kernel, tensors[f"{name}.weight"].T, name)
        _assign(layer.bias, tensors[f"{name}.bias"], name)


def _assign(variable: Any, value: NDArray[Any], name: str) -> None:
    if value.size != int(np.prod(variable.shape)):
        raise WeightsError(
            f"`{name}` has shape {value.shape}, which does not fill {tuple(variable.shape)}: "
            "config.json and weights do not belong together."
        )
    # Attention kernels are (width, heads, head size) or (heads, head size, width) here.
    variable.assign(value.astype("float32").reshape(variable.shape))


class _Tensors:
    """Tensors of a folder by their name behind the model's prefix, read when asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        files = _weight_files(folder)
        self.where: dict[str, tuple[Path, str]] = {}
        for path in files:
            with _open(path) as tensors:
                for key in tensors.keys():  # noqa: SIM118 (not a dict)
                    self.where[key] = (path, key)
        suffix = "embeddings.word_embeddings.weight"
        anchors = [key for key in self.where if key.endswith(suffix)]
        if not anchors:
            raise WeightsError(f"The weights in {folder} have no tensor `{suffix}`.")
        prefix = min(anchors, key=len).removesuffix(suffix)  # "", "bert.", "roberta.", ...
        self.where |= {
            key.removeprefix(prefix): place
            for key, place in self.where.items()
            if key.startswith(prefix)
        }

    def __contains__(self, name: str) -> bool:
        return name in self.where

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self.where:
            raise WeightsError(f"The weights in {self.folder} have no tensor `{name}`.")
        path, key = self.where[name]
        with _open(path) as tensors:
            return np.asarray(tensors.get_tensor(key))


def _weight_files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        files = [folder / name for name in sorted(shards)]
    else:
        files = [folder / "model.safetensors"]
    for path in files:
        if not path.is_file():
            hint = ""
            if (folder / "pytorch_model.bin").exists():
                hint = " pytorch_model.bin is a pickle, which kzoo does not read; convert it."
            raise WeightsError(f"`{path.name}` is missing in {folder}.{hint}")
    return files


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """safetensors.safe_open, with one kind of error."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as tensors:
            yield tensors
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} cannot be read: {error}") from error
