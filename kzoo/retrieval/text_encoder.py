"""`kzoo.TextEncoder`: sentence vectors, an encoder for `retrieval_index`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from numpy.typing import NDArray

from kzoo.errors import InputError
from kzoo.heads.embed import Embed
from kzoo.keras_internals import history, inputs_of_call
from kzoo.models.model import Model
from kzoo.retrieval.provider import NamedEncoder


@keras.saving.register_keras_serializable(package="kzoo")
class TextEncoder(Model):
    """Maps texts to float32 vectors (batch, dimension), of length 1 where the recipe says so.

    Make one with `kzoo.load` or `TextEncoder.on(trunk)`. One that ends in `kzoo.heads.Contrast` or
    `kzoo.heads.Similarity` learns by `fit` from rows of several texts; `encode` takes single texts,
    before and after, and a `.keras` file holds both.

    Example:
        >>> model = kzoo.load("minilm-trained")
        >>> model.fit([("how do I open a file?", "open() returns a file object"), ...])
        >>> vectors = model.encode(["read a file"])
    """

    head_kind: ClassVar[str] = "embed"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._tower = _Tower()

    def tower(self) -> Model:
        """The model of one text and its vector: itself, or what the first column becomes.

        Raises:
            InputError: The head is not called on what `kzoo.heads.Embed` gives.
        """
        if isinstance(self.head, Embed):
            return self
        if self._tower.model is None:
            made = history(self.outputs[0])
            assert made is not None, "a head has made it"
            vector = inputs_of_call(*made)[0]
            if not isinstance(history(vector)[0], Embed):  # type: ignore[index]
                raise InputError(
                    f"The head `{self.head.name}` must be called on what kzoo.heads.Embed gives, "
                    "so that texts can be encoded."
                )
            own = {key: self.input[key] for key in self.feeds[0].read.keys}
            self._tower.model = Model(own, vector, f"{self.name}_tower", seed=self.data_seed)
        return self._tower.model

    @property
    def dimension(self) -> int:
        """Width of the vectors."""
        return self.tower().head.units

    @property
    def max_tokens(self) -> int:
        """Longer texts are cut here, special tokens included."""
        return self.text.max_tokens  # type: ignore[union-attr]

    @property
    def fingerprint(self) -> str:
        """Changes when any weight, the tokenizer, the length or the pooling changes."""
        assert self.text is not None, "an encoder reads texts"
        head: Any = self.tower().head
        digest = hashlib.sha256(self.text.fingerprint.encode())
        digest.update(f"{head.pooling}|{head.normalize}".encode())
        digest.update(f"{self.trunk.architecture!r}|{self.adapters.active}".encode())
        for variable in self.weights:
            digest.update(np.ascontiguousarray(np.asarray(variable)).data)
        return digest.hexdigest()

    def encode(
        self,
        texts: Sequence[str],
        batch_size: int = 32,
        progress: bool = False,
        size: int | None = None,
    ) -> NDArray[np.float32]:
        """Encodes texts, similar lengths together; rows come back in the order given.

        Args:
            texts: n texts.
            batch_size: Rows a step.
            progress: Show Keras' progress bar.
            size: Only the first so many numbers of each vector, brought to length 1 again; for an
                encoder that was trained for it (`sizes` of `kzoo.heads.Contrast`).

        Returns:
            float32 (n, dimension), or (n, size); no rows for no texts.

        Raises:
            InputError: A `size` that the vectors do not have.
        """
        if size is not None and not 1 <= size <= self.dimension:
            raise InputError(f"`size` must be from 1 to {self.dimension}. Received: {size}")
        if len(texts) == 0:
            return np.zeros((0, size or self.dimension), "float32")
        found = self.tower().predict(
            list(texts), batch_size=batch_size, verbose=1 if progress else 0
        )
        vectors = np.asarray(found, "float32")[:, :size]
        if size is not None:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors

    def as_index_encoder(self, name: str | None = None) -> NamedEncoder:
        """Itself under the name by which `retrieval_index` finds it again.

        Args:
            name: Zoo name or path. Default: the recipe's name.
        """
        recipe = self.recipe or {}
        return NamedEncoder(f"kzoo:{name or recipe.get('name') or self.name}", self)

    def token_offsets(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """Character spans of each text's tokens, for chunking by tokens."""
        assert self.text is not None, "an encoder reads texts"
        return self.text.token_offsets(texts)


class _Tower:
    """A box that Keras' attribute tracking does not look into."""

    model: Model | None = None
