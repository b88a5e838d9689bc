"""From an HF-format folder to a KerasHub backbone, by a table of tensor names.

KerasHub reads such folders too, but only of some families (not T5, DeBERTa, ELECTRA), only with the
key prefix that its authors had at hand (a bare `RobertaModel` or `DistilBertModel` fails), and it
drops RoBERTa's token-type row.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kzoo.backbones.family import Family, reach
from kzoo.backbones.gguf_file import GGUFFile
from kzoo.backbones.hf_format import HFNames
from kzoo.backbones.places import einsum_axes, layer_sizes
from kzoo.errors import WeightsError


def assign_weights(backbone: Any, family: Family, source: Path | GGUFFile) -> bool:
    """Loads every variable of a backbone from a folder's safetensors, or from a GGUF file.

    Args:
        backbone: A built backbone of the right sizes.
        family: Its family.
        source: A folder that holds `model.safetensors`, or shards with an index; or the file.

    Returns:
        Whether the pooler was there (masked-language-model checkpoints have none).

    Raises:
        WeightsError: No file, an unreadable file, a missing tensor or a wrong shape.
    """
    names = family.names
    tensors = Tensors(source, names.anchor) if isinstance(source, Path) else source
    filling = _Filling(names, tensors)
    _walk(filling, backbone, family)
    filling.logits(getattr(backbone, "token_embedding", None))
    pooler = family.pooler is not None and filling.pooler(reach(backbone, family.pooler))
    filling.check_complete(backbone)
    if isinstance(source, GGUFFile):
        source.check_all_read()
    return pooler


def _walk(filling: _Filling, backbone: Any, family: Family) -> None:
    """Shows every sublayer of a backbone, but for a pooler, with the name of its HF module."""
    names = family.names
    inner = getattr(backbone, "num_inner_repetitions", 1)
    gated = family.is_gated(backbone)
    for stack, blocks, template, modules in zip(
        family.stacks, family.block_lists(backbone), names.blocks, names.sites, strict=True
    ):
        paths = stack.paths(gated)
        for i, block in enumerate(blocks):
            name = template.format(i=i, group=i // inner, inner=i % inner)
            filling.block(block, paths, modules, name, gated)
        for path, tensor in names.first_block.items():
            full = f"{template.format(i=0)}.{tensor}"
            filling.variable(reach(blocks[0], path), full)
    for path, module in names.outside.items():
        if not filling.may_skip(backbone, path):
            filling.outside(reach(backbone, path), module, path)


class _Filling:
    """Assigns tensors to variables and remembers which variables have got one."""

    def __init__(self, names: HFNames, tensors: Tensors | GGUFFile) -> None:
        self.names = names
        self.tensors = tensors
        self.done: set[int] = set()

    def block(
        self,
        block: Any,
        paths: Mapping[str, str],
        modules: Mapping[str, str],
        name: str,
        gated: bool,
    ) -> None:
        """Fills the sublayers of one Transformer block.

        Args:
            block: The block.
            paths: Site name -> attribute path inside it.
            modules: Site name or attribute path -> module inside of HF's block.
            name: Path of HF's block.
            gated: Whether the feed-forward part has a gate.
        """
        shared = {m: 0 for m in modules.values() if list(modules.values()).count(m) > 1}
        for site, module in modules.items():
            path = paths.get(site, site).partition(":")[0]
            if self.may_skip(block, path):
                continue
            layer = reach(block, path)
            self.layer(layer, f"{name}.{self.names.module(module, gated)}", shared.get(module))
            if module in shared:
                shared[module] += layer_sizes(layer)[1]

    def outside(self, target: Any, module: str, path: str) -> None:
        """Fills an embedding, a norm or a bare variable."""
        if not hasattr(target, "weights"):
            self.variable(target, module)
        elif hasattr(target, "position_embeddings"):
            rows = self.tensors[f"{module}.weight"][self.names.position_offset :]
            if self.names.every_position is not None and self.names.every_position in self.tensors:
                rows = rows + self.tensors[self.names.every_position][:1]
            self.assign(target.position_embeddings, rows, module)
        else:
            self.layer(target, module)

    def variable(self, variable: Any, name: str) -> None:
        """Fills a bare variable."""
        self.assign(variable, self.tensors[name], name)

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


def tensors_of(backbone: Any, family: Family) -> dict[str, NDArray[np.float32]]:
    """What `assign_weights` would read, from a built backbone.

    Args:
        backbone: A built backbone.
        family: Its family.

    Returns:
        HF's name behind the model's prefix -> tensor, the pooler's included.

    Raises:
        WeightsError: The family has tensors that are not written.
    """
    writing = _Writing(family.names)
    _walk(writing, backbone, family)
    if family.pooler is not None and family.names.pooler is not None:
        writing.layer(reach(backbone, family.pooler), family.names.pooler)
    return writing.found


class _Writing(_Filling):
    """Collects tensors instead of assigning them."""

    def __init__(self, names: HFNames) -> None:
        self.names = names
        self.found: dict[str, NDArray[np.float32]] = {}

    def variable(self, variable: Any, name: str) -> None:
        """Refused: see `tensors_of`."""
        raise WeightsError(f"`{name}` is not written: only BERT and its relatives are.")

    def outside(self, target: Any, module: str, path: str) -> None:
        """Takes an embedding or a norm."""
        if not hasattr(target, "position_embeddings"):
            super().outside(target, module, path)
            return
        rows = _array(target.position_embeddings)
        unused = np.zeros((self.names.position_offset, rows.shape[1]), "float32")
        self.found[f"{module}.weight"] = np.concatenate([unused, rows])
        if self.names.every_position is not None:  # what it says is part of the positions
            self.found[self.names.every_position] = np.zeros((1, rows.shape[1]), "float32")

    def layer(self, layer: Any, name: str, start: int | None = None) -> None:
        """Takes one layer."""
        if start is not None or self.names.conv1d:
            self.variable(layer, name)
        if hasattr(layer, "gamma"):
            self.found |= {
                f"{name}.weight": _array(layer.gamma),
                f"{name}.bias": _array(layer.beta),
            }
        elif hasattr(layer, "embeddings"):
            self.found[f"{name}.weight"] = _array(layer.embeddings)
        elif hasattr(layer, "kernel"):
            kernel, equation = _array(layer.kernel), getattr(layer, "equation", None)
            if equation is not None:
                kernel = kernel.transpose([axis for axes in einsum_axes(equation) for axis in axes])
            size_in, size_out, _ = layer_sizes(layer)
            self.found[f"{name}.weight"] = kernel.reshape(size_in, size_out).T
            if layer.bias is not None:
                self.found[f"{name}.bias"] = _array(layer.bias).ravel()
        else:
            self.variable(layer, name)


def _array(variable: Any) -> NDArray[np.float32]:
    return np.asarray(variable, "float32")


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


class Tensors:
    """Tensors of a folder by their name behind the model's prefix, read when asked for.

    Args:
        folder: Holds `model.safetensors`, or shards with an index.
        anchor: A tensor that has to be there; what stands before it is the prefix.

    Raises:
        WeightsError: No file, an unreadable file, or no anchor.
    """

    def __init__(self, folder: Path, anchor: str) -> None:
        self.folder = folder
        self.where: dict[str, tuple[Path, str]] = {}
        for path in _weight_files(folder):
            with _open(path) as tensors:
                for key in tensors.keys():  # noqa: SIM118 (not a dict)
                    self.where[key] = (path, key)
        anchors = [key for key in self.where if key == anchor or key.endswith(f".{anchor}")]
        if not anchors:
            raise WeightsError(f"The weights in {folder} have no tensor `{anchor}`.")
        prefix = min(anchors, key=len).removesuffix(anchor)  # "", "bert.", "model.", ...
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
