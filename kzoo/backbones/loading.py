"""From a name, a path or a hub handle to a built trunk with its tokenizer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kzoo.backbones.architecture import Architecture
from kzoo.backbones.chat import template_of_folder
from kzoo.backbones.dims import Dims
from kzoo.backbones.families import FAMILIES, Family, family_named, family_of
from kzoo.backbones.gguf_file import GGUFFile
from kzoo.backbones.hf_format import backbone_config
from kzoo.backbones.hf_weights import assign_weights
from kzoo.backbones.source import BackboneSource, is_hub_handle, verify
from kzoo.backbones.tokenizer import tokenizer_from_folder, tokenizer_from_hub
from kzoo.backbones.trunk import build
from kzoo.errors import WeightsError

_HF_FILES = ["*.json", "*.safetensors", "*.txt", "*.jinja", "1_Pooling/*"]


@dataclass
class Pretrained:
    """A built backbone and what belongs to it.

    Args:
        backbone: KerasHub backbone with pretrained weights.
        family: Its row in the family table.
        architecture: Activation and epsilon, already applied.
        tokenizer_json: The HF tokenizer as JSON text.
        origin: Where the weights came from, for people.
        pooler: Whether the pooler's weights came with it.
        pooling: How the published encoder makes a sentence vector.
        normalize: Whether that vector has length 1.
        max_tokens: Longest published input; None where that is not known.
        chat: See `kzoo.backbones.chat.rendered`; empty without a template.
    """

    backbone: Any
    family: Family
    architecture: Architecture
    tokenizer_json: str
    origin: str
    pooler: bool = True
    pooling: str = "mean"
    normalize: bool = True
    max_tokens: int | None = None
    chat: Mapping[str, str] = field(default_factory=dict)


def load_pretrained(spec: BackboneSource | str) -> Pretrained:
    """Loads a trunk.

    Args:
        spec: A named source; or a path to an HF-format or KerasHub preset directory, or to a
            GGUF file; or a `hf://`, `kaggle://` handle or KerasHub preset name.

    Returns:
        The trunk with weights, right activation and tokenizer.

    Raises:
        WeightsError: Nothing there, wrong checksum, or an unsupported family; the message names
            the one command or argument that helps.
    """
    if isinstance(spec, BackboneSource):
        return _from_source(spec)
    if is_hub_handle(spec):
        return _from_handle(spec, revision=None)
    path = Path(spec).expanduser()
    if path.is_dir():
        return _from_folder(path)
    if path.is_file() and path.suffix.lower() == ".gguf":
        return _from_gguf(path)
    if path.exists() or "/" in spec or spec.startswith((".", "~")):
        raise WeightsError(
            f"`backbone` {spec!r} is neither a directory nor a .gguf file. Pass a directory with "
            "config.json, weights and tokenizer files, a .gguf file, a hf:// or kaggle:// handle, "
            "or a preset name."
        )
    return _from_keras_hub(spec)


def _from_source(source: BackboneSource) -> Pretrained:
    folder = source.package_folder()
    if folder is not None:
        verify(folder, source.sha256)
        file = source.package.file if source.package else None
        trunk = _from_folder(folder) if file is None else _from_gguf(folder / file)
    elif source.hub is not None:
        try:
            trunk = _from_handle(source.hub, revision=source.revision, sha256=source.sha256)
        except WeightsError as error:
            if source.package is None:
                raise
            raise WeightsError(
                f"The weights of `{source.name}` are not on this machine. "
                f"Run: {source.package.install}"
            ) from error
    else:
        help_ = source.package.install if source.package else "pass a folder as `backbone=`"
        raise WeightsError(f"The weights of `{source.name}` are not on this machine. Run: {help_}")
    built = Dims.of(trunk.backbone)
    if built != source.dims:
        raise WeightsError(
            f"`{source.name}` has other sizes than its recipe says: {built!r} instead of "
            f"{source.dims!r}."
        )
    pooling = source.pooling
    return replace(
        trunk,
        pooling=pooling.mode,
        normalize=pooling.normalize,
        max_tokens=source.max_tokens,
    )


def _from_handle(
    handle: str, revision: str | None, sha256: dict[str, str] | None = None
) -> Pretrained:
    if not handle.startswith("hf://"):
        return _from_keras_hub(handle)
    # Through the hub's own client, so that the revision can be pinned (KerasHub cannot) and the
    # HF config is at hand: KerasHub drops `hidden_act` and the epsilon.
    import huggingface_hub

    try:
        folder = huggingface_hub.snapshot_download(
            handle.removeprefix("hf://"), revision=revision, allow_patterns=_HF_FILES
        )
    except Exception as error:  # the client raises a dozen unrelated classes
        raise WeightsError(
            f"`{handle}` could not be fetched ({type(error).__name__}). Check the name and the "
            "network, or pass a local folder as `backbone=`."
        ) from error
    if sha256:
        verify(Path(folder), sha256)
    if "model_type" not in _read_config(Path(folder)):
        return _from_keras_hub(handle)
    trunk = _from_folder(Path(folder))
    trunk.origin = handle
    return trunk


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise WeightsError(
            f"`backbone` {str(folder)!r} has no config.json. An HF-format or KerasHub preset "
            "directory is needed."
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise WeightsError(f"{path} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise WeightsError(f"{path} must hold a JSON object. Received: {type(config).__name__}")
    return config


def _from_folder(folder: Path) -> Pretrained:
    config = _read_config(folder)
    if "model_type" not in config:
        return _from_keras_hub(str(folder))
    if config["model_type"] not in FAMILIES:
        raise WeightsError(
            f"`model_type` {config['model_type']!r} in {folder / 'config.json'} is not supported. "
            f"Supported: {', '.join(FAMILIES)}."
        )
    built = _built(config, folder, tokenizer_from_folder(folder), folder)
    return replace(built, chat=template_of_folder(folder))


def _from_gguf(path: Path) -> Pretrained:
    file = GGUFFile(path)
    return replace(_built(file.config, file, file.tokenizer_json(), path), chat=file.chat())


def _built(
    config: dict[str, Any], source: Path | GGUFFile, tokenizer: str, origin: Path
) -> Pretrained:
    family = family_named(config["model_type"])
    architecture = Architecture.from_hf(config, family)
    backbone = build(family.name, backbone_config(family, config), architecture)
    pooler = assign_weights(backbone, family, source)
    return Pretrained(backbone, family, architecture, tokenizer, str(origin), pooler)


def _from_keras_hub(preset: str) -> Pretrained:
    import keras_hub

    try:
        backbone = keras_hub.models.Backbone.from_preset(preset)
        tokenizer = keras_hub.models.Tokenizer.from_preset(preset)
    except Exception as error:  # KerasHub and its downloaders raise whatever they meet
        reason = str(error).splitlines()[0] if str(error) else ""
        raise WeightsError(
            f"`backbone` {preset!r} could not be loaded through KerasHub "
            f"({type(error).__name__}: {reason[:200]}). Check the name and the network, or pass a "
            "local folder."
        ) from error
    family = family_of(backbone)
    architecture = Architecture.of_built(backbone, family)
    architecture.apply(backbone, family)
    return Pretrained(backbone, family, architecture, tokenizer_from_hub(tokenizer, family), preset)
