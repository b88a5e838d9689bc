"""From an HF-format folder to a KerasHub backbone, by a table of tensor names.

KerasHub reads such folders too, but only of some families (not T5, DeBERTa, ELECTRA), only with the
key prefix that its authors had at hand (a bare `RobertaModel` or `DistilBertModel` fails), and it
drops RoBERTa's token-type row.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kzoo.backbones.family import Family, reach
from kzoo.backbones.hf_config import backbone_config
from kzoo.backbones.hf_tables import HF_NAMES, HFNames
from kzoo.backbones.hf_tensors import Tensors
from kzoo.backbones.sizes import einsum_axes, layer_sizes
from kzoo.errors import WeightsError

__all__ = ["assign_weights", "backbone_config"]

_ROBERTA_TYPES = "embeddings.token_type_embeddings.weight"


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
    names = HF_NAMES[family.name]
    filling = _Filling(names, Tensors(folder, names.anchor))
    inner = getattr(backbone, "num_inner_repetitions", 1)
    gated = family.is_gated(backbone)
    for stack, blocks, template, modules in zip(
        family.stacks, family.block_lists(backbone), names.blocks, names.sites, strict=True
    ):
        paths = stack.paths(gated)
        for i, block in enumerate(blocks):
            name = template.format(i=i, group=i // inner, inner=i % inner)
            filling.block(block, paths, modules, name)
        for path, tensor in names.first_block.items():
            full = f"{template.format(i=0)}.{tensor}"
            filling.assign(reach(blocks[0], path), filling.tensors[full], full)
    for path, module in names.outside.items():
        if not filling.may_skip(backbone, path):
            filling.outside(reach(backbone, path), module, path)
    filling.logits(getattr(backbone, "token_embedding", None))
    pooler = family.pooler is not None and filling.pooler(reach(backbone, family.pooler))
    filling.check_complete(backbone)
    return pooler


class _Filling:
    """Assigns tensors to variables and remembers which variables have got one."""

    def __init__(self, names: HFNames, tensors: Tensors) -> None:
        self.names = names
        self.tensors = tensors
        self.done: set[int] = set()

    def block(
        self, block: Any, paths: Mapping[str, str], modules: Mapping[str, str], name: str
    ) -> None:
        """Fills the sublayers of one Transformer block."""
        shared = {m: 0 for m in modules.values() if list(modules.values()).count(m) > 1}
        for site, module in modules.items():
            path = paths.get(site, site).partition(":")[0]
            if self.may_skip(block, path):
                continue
            layer, full = reach(block, path), f"{name}.{module}"
            if full.endswith("wi_0") and f"{full}.weight" not in self.tensors:
                full = full.removesuffix("_0")  # T5 without a gate
            self.layer(layer, full, shared.get(module))
            if module in shared:
                shared[module] += layer_sizes(layer)[1]

    def outside(self, target: Any, module: str, path: str) -> None:
        """Fills an embedding, a norm or a bare variable."""
        if not hasattr(target, "weights"):
            self.assign(target, self.tensors[module], module)
        elif hasattr(target, "position_embeddings"):
            rows = self.tensors[f"{module}.weight"][self.names.position_offset :]
            if path == "embeddings.position_embedding" and _ROBERTA_TYPES in self.tensors:
                # Every token has type 0; KerasHub has no such table, so its row goes here.
                rows = rows + self.tensors[_ROBERTA_TYPES][:1]
            self.assign(target.position_embeddings, rows, module)
        else:
            self.layer(target, module)

    def layer(self, layer: Any, name: str, start: int | None = None) -> None:
        """Fills one layer; `start` is its first column in a module that is several layers here."""
        if hasattr(layer, "gamma"):
            # The first TensorFlow conversions are named gamma and beta to this day.
            old = f"{name}.gamma" in self.tensors
            for ours, theirs in (("gamma", "weight"), ("beta", "bias")):
                self.assign(
                    getattr(layer, ours), self.tensors[f"{name}.{ours if old else theirs}"], name
                )
            return
        weight = self.tensors[f"{name}.weight"]
        if hasattr(layer, "embeddings"):
            self.assign(layer.embeddings, weight, name)
        elif hasattr(layer, "kernel"):
            columns = slice(None) if start is None else slice(start, start + layer_sizes(layer)[1])
            if weight.ndim == 4:  # a convolution: (out, in, height, width)
                self.assign(layer.kernel, weight.transpose(2, 3, 1, 0), name)
            else:
                matrix = (weight if self.names.conv1d else weight.T)[:, columns]
                self.assign(layer.kernel, _kernel(layer, matrix, name), name)
            if layer.bias is not None:
                self.assign(layer.bias, self.tensors[f"{name}.bias"][columns], name)
        else:  # an RMS norm has one variable, whatever its name
            self.assign(layer.weights[0], weight, name)

    def logits(self, embedding: Any) -> None:
        """Fills the matrix that computes logits, where it is not the token embedding itself."""
        matrix = getattr(embedding, "reverse_embeddings", None)
        if matrix is None:
            return
        if "lm_head.weight" in self.tensors:
            value = self.tensors["lm_head.weight"].T
        else:
            # A tied checkpoint (KerasHub's Mistral ties none), or a bare trunk without a head.
            value = np.asarray(embedding.embeddings).T
        self.assign(matrix, value, "lm_head")

    def pooler(self, pooler: Any) -> bool:
        """Fills the pooler; with zeros where the checkpoint has none."""
        if self.names.pooler is None or f"{self.names.pooler}.weight" not in self.tensors:
            # Not left at random: the trunk's fingerprint has to be the same in every process.
            for variable in pooler.weights:
                self.assign(variable, np.zeros(variable.shape), "pooler")
            return False
        self.layer(pooler, self.names.pooler)
        return True

    def assign(self, variable: Any, value: NDArray[Any], name: str) -> None:
        """Assigns one tensor, in any shape of the right size."""
        if value.size != int(np.prod(variable.shape)):
            raise _misfit(name, value.shape, variable.shape)
        variable.assign(value.astype("float32").reshape(variable.shape))
        self.done.add(id(variable))

    def may_skip(self, root: Any, path: str) -> bool:
        """Whether a path does not exist and need not."""
        return path in self.names.optional and not hasattr(root, path)

    def check_complete(self, backbone: Any) -> None:
        """Raises where a variable was left at random."""
        left = [v.path for v in backbone.weights if id(v) not in self.done]
        left = [path for path in left if not path.endswith("seed_generator_state")]
        if left:
            raise WeightsError(
                f"{self.tensors.folder} has nothing for `{left[0]}` of the backbone."
            )


def _kernel(layer: Any, matrix: NDArray[Any], name: str) -> NDArray[Any]:
    """A matrix (in, out) in the order of the kernel's axes: (width, heads, head size), ..."""
    equation = getattr(layer, "equation", None)
    if equation is None:
        return matrix
    order = [axis for axes in einsum_axes(equation) for axis in axes]
    shape = tuple(int(layer.kernel.shape[axis]) for axis in order)
    if matrix.size != int(np.prod(shape)):
        raise _misfit(name, matrix.shape, layer.kernel.shape)
    return np.transpose(matrix.reshape(shape), np.argsort(order))


def _misfit(name: str, found: Any, wanted: Any) -> WeightsError:
    return WeightsError(
        f"`{name}` has shape {tuple(found)}, which does not fill {tuple(wanted)}: "
        "config.json and weights do not belong together."
    )
