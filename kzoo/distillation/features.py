"""The inner layers that the distillation losses compare, and the passes that read them."""

from __future__ import annotations

import dataclasses
import difflib
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from kzoo.distillation.feeding import symbolic_inputs
from kzoo.errors import DistillationError
from kzoo.keras_internals import parts
from kzoo.trunk.capture import Call, Spot, watched

#: Stands for the model's own output where a loss names no layer.
OUTPUT = ""


@dataclasses.dataclass(frozen=True)
class Taps:
    """Layer name -> layer, for one model. Not a Keras object, so nothing is tracked twice."""

    model: Any
    role: str
    layers: dict[str, Any]

    @classmethod
    def of(cls, model: Any, role: str, losses: list[Any]) -> Taps:
        """Finds the layers of `role` that `losses` name.

        Raises:
            DistillationError: if a name is missing or ambiguous, see `find_layer`.
        """
        names = {layer_name(loss, role) for loss in losses} - {OUTPUT}
        return cls(model, role, {n: find_layer(model, n, role) for n in sorted(names)})

    def run(self, x: Any, training: bool | None, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """One forward pass: the model's output, and the features by layer name."""
        if not self.layers:
            outputs = self.model(x, training=training, **kwargs)
            return outputs, {OUTPUT: outputs}
        with watched({name: Spot(layer) for name, layer in self.layers.items()}) as calls:
            outputs = self.model(x, training=training, **kwargs)
        features = {name: single(calls, name, self.role) for name in self.layers}
        return outputs, {OUTPUT: outputs, **features}

    def widths(self) -> dict[str, int]:
        """Layer name -> size of its output's last axis, without computing anything.

        Raises:
            DistillationError: if the model has no symbolic inputs to trace from.
        """
        inputs = symbolic_inputs(self.model)
        if inputs is None:
            raise DistillationError(
                f"`{self.role}`: {self.model.name!r} has no symbolic inputs, so the width of its "
                "layers is unknown. Build it with the functional API, or use "
                "`HiddenMSE(project=False)`."
            )
        probe = _Probe(lambda x: self.run(x, training=False)[1])
        specs = probe.compute_output_spec(inputs)
        return {
            name: spec.shape[-1] for name, spec in specs.items() if not keras.tree.is_nested(spec)
        }


class LastPass(threading.local):
    """The features of the student's latest pass, from `call` to `compute_loss`.

    Keras calls the model and computes the loss in two methods; handing the features over spares the
    second student pass. Per thread, because tf.distribute runs every replica in its own.
    """

    def __init__(self) -> None:
        self.kept: tuple[Any, dict[str, Any]] | None = None

    def keep(self, outputs: Any, features: dict[str, Any]) -> None:
        self.kept = (outputs, features)

    def take(self, outputs: Any) -> dict[str, Any] | None:
        """The features belonging to exactly these outputs; forgets them either way."""
        kept, self.kept = self.kept, None
        return kept[1] if kept is not None and kept[0] is outputs else None


class _Probe(keras.layers.Layer):  # type: ignore[misc]
    """Traces a function symbolically; `compute_output_spec` of a layer is Keras' public way."""

    def __init__(self, function: Any) -> None:
        super().__init__(dtype="float32", autocast=False)
        self.function = function

    def call(self, x: Any) -> Any:
        return self.function(x)


def layer_name(loss: Any, role: str) -> str:
    """The layer that `loss` compares in the model of `role`; `OUTPUT` if it names none."""
    return getattr(loss, f"{role}_layer_name", None) or OUTPUT


def single(calls: Mapping[str, list[Call]], name: str, role: str) -> Any:
    """The one tensor that the layer `name` returned.

    Raises:
        DistillationError: if the layer was not called once, or returned a structure.
    """
    if len(calls[name]) != 1:
        raise DistillationError(
            f"`{role}_layer_name`: layer {name!r} was called {len(calls[name])} times in one pass "
            f"of the {role}; only the output of a layer that is called once is defined."
        )
    (call,) = calls[name]
    if isinstance(call.result, (list, tuple, dict)):
        raise DistillationError(
            f"`{role}_layer_name`: layer {name!r} returns a {type(call.result).__name__} of "
            f"{len(call.result)}; name a layer that returns one tensor."
        )
    return call.result


def find_layer(model: Any, name: str, role: str = "model") -> Any:
    """The layer that `name` means, also inside a nested backbone or inside another layer.

    A path from the model down (`"backbone.transformer_layer_3"`, or a top-level name) wins;
    otherwise `name` must be the end of exactly one layer's path.

    Args:
        model: a `keras.Model`.
        name: layer name or dotted path.
        role: what to call the model in an error: `"teacher"`, `"student"`.

    Returns:
        The `keras.Layer`.

    Raises:
        DistillationError: if no layer or more than one answers to `name`; near names, or the
            candidates' paths, are listed.
    """
    paths = dict(_walk(model, ""))
    if name in paths:
        return paths[name]
    matches: dict[int, tuple[str, Any]] = {}
    for path, layer in paths.items():
        if path.endswith(f".{name}"):
            matches.setdefault(id(layer), (path, layer))  # one layer, several ways to reach it
    if len(matches) == 1:
        return next(iter(matches.values()))[1]
    argument = f"`{role}_layer_name`"
    if matches:
        listed = ", ".join(repr(path) for path, _ in matches.values())
        raise DistillationError(
            f"{argument}: {name!r} is the name of {len(matches)} layers of {model.name!r}; "
            f"give one of the paths {listed}."
        )
    # Compare with bare names too, else a long path never looks like a short typo.
    known = {path.rpartition(".")[2]: path for path in reversed(paths)}
    near = difflib.get_close_matches(name, [*paths, *known], n=5, cutoff=0.5)
    near_paths = list(dict.fromkeys(known.get(n, n) for n in near)) or list(paths)[:10]
    listed = ", ".join(repr(path) for path in near_paths)
    raise DistillationError(
        f"{argument}: no layer {name!r} in {model.name!r} or the layers inside it; near: {listed}."
    )


def _walk(layer: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for child in parts(layer):
        path = f"{prefix}{child.name}"
        yield path, child
        yield from _walk(child, f"{path}.")
