"""Random walks through what can be done with adapters, beside a model of them in NumPy.

At each step one thing is done, allowed or not: add, train, activate, merge, unmerge, swap, delete,
save, load. The outputs must be those of the NumPy model, what is not trained must keep its bits,
and what is refused must have changed nothing.
"""

from collections import Counter

import keras
import numpy as np
import pytest
import tensorflow as tf

import kzoo
from kzoo.errors import AdapterError

SPECS = {
    "lora": {"method": "lora", "r": 2, "alpha": 4, "targets": ["up", "down"]},
    "ia3": {"method": "ia3", "targets": ["up", "down"]},
}
LAYERS = ("up", "down")
X = np.random.default_rng(7).normal(size=(4, 5)).astype("float32")


class Numbers:
    """What must come out: kernels, biases, adapters, and the order in which they act."""

    def __init__(self, model):
        self.base = {n: [np.array(w) for w in model.get_layer(n).get_weights()] for n in LAYERS}
        self.methods, self.values, self.active = {}, {}, ()
        self.merged = []  # (name, the base before)
        self.folders = {}

    def change(self, name, layer, kernel, bias):
        """A kernel and bias with an adapter in them."""
        own = {key.rpartition(".")[2]: v for key, v in self.values[name].items() if layer in key}
        if self.methods[name] == "ia3":
            return kernel * own["ia3_l"], bias * own["ia3_l"]
        return kernel + 4 / 2 * own["lora_a"] @ own["lora_b"], bias

    def outputs(self):
        x = X.astype("float64")
        for layer in LAYERS:
            kernel, bias = (w.astype("float64") for w in self.base[layer])
            for name in self.active:
                kernel, bias = self.change(name, layer, kernel, bias)
            x = x @ kernel + bias
            x = np.tanh(x) if layer == "up" else x
        return x

    def print_of(self, name=None):
        """The trunk that an adapter is saved for: of a merged one, as it was before."""
        base = next((before for one, before in self.merged if one == name), self.base)
        return b"".join(w.tobytes() for n in LAYERS for w in base[n])


class Walk:
    """A model, its adapters, their numbers, and what was done."""

    def __init__(self, seed, folder):
        keras.utils.set_random_seed(seed)
        inputs = keras.Input((5,))
        hidden = keras.layers.Dense(6, "tanh", name="up", bias_initializer="normal")(inputs)
        outputs = keras.layers.Dense(3, name="down", bias_initializer="normal")(hidden)
        self.model = keras.Model(inputs, outputs)
        self.adapters = kzoo.adapt(self.model)
        self.rng, self.folder, self.count = np.random.default_rng(seed), folder, Counter()
        self.numbers = Numbers(self.model)
        self.made = 0

    def any_of(self, names):
        return None if not names else str(self.rng.choice(sorted(names)))

    def read(self, name):
        return {key: np.array(v) for key, v in self.adapters.variables(name).items()}

    def take(self):
        kinds = ["add", "train", "activate", "merge", "unmerge", "swap", "delete", "save", "load"]
        weights = np.array([2, 6, 4, 2, 3, 2, 1, 2, 2])
        kind = str(self.rng.choice(kinds, p=weights / weights.sum()))
        try:
            done = getattr(self, kind)()
        except AdapterError as error:
            self.count[f"{kind} refused"] += 1
            self.check(f"{kind}: {error}")
            return
        self.count[kind] += done is not False
        self.check(kind)

    def check(self, what):
        numbers = self.numbers
        assert set(self.adapters) == set(numbers.values), what
        assert self.adapters.active == numbers.active, what
        assert self.adapters.merged == tuple(name for name, _ in numbers.merged), what
        for name, values in numbers.values.items():
            for key, value in self.read(name).items():
                np.testing.assert_array_equal(value, values[key], err_msg=f"{what}: {name} {key}")
        for layer in LAYERS:
            found = self.model.get_layer(layer).get_weights()
            for mine, theirs in zip(numbers.base[layer], found[:2], strict=True):
                np.testing.assert_allclose(theirs, mine, rtol=2e-6, atol=1e-6, err_msg=what)
        expected = numbers.outputs()
        size = max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(
            np.asarray(self.model(X)) / size, expected / size, atol=2e-5, err_msg=what
        )

    # --- What is done ------------------------------------------------------------------------

    def add(self):
        if len(self.numbers.values) > 5:
            return False
        self.made += 1
        name, method = f"n{self.made}", self.any_of(SPECS)
        before = np.asarray(self.model(X)) if not self.numbers.active else None
        self.adapters.add(name, SPECS[method])
        if before is not None:  # untrained it changes nothing, to the bit or nearly
            np.testing.assert_allclose(np.asarray(self.model(X)), before, atol=1e-6)
        for variable in self.adapters.variables(name).values():  # as if it had been trained
            variable.assign(variable + self.rng.normal(0, 0.2, variable.shape))
        self.numbers.methods[name] = method
        self.numbers.values[name], self.numbers.active = self.read(name), (name,)
        return True

    def train(self):
        trained = self.model.trainable_variables
        own = [v for n in self.numbers.active for v in self.adapters.variables(n).values()]
        assert {id(v) for v in trained} == {id(v) for v in own}
        if not trained:
            return False
        with tf.GradientTape() as tape:
            loss = keras.ops.mean(keras.ops.square(self.model(X, training=True) - 1.0))
        gradients = tape.gradient(loss, [v.value for v in trained])
        assert all(gradient is not None for gradient in gradients)
        for variable, gradient in zip(trained, gradients, strict=True):
            variable.assign(variable - 0.02 * keras.ops.clip(gradient, -1, 1))
        for name in self.numbers.active:
            before, self.numbers.values[name] = self.numbers.values[name], self.read(name)
            assert any((before[k] != v).any() for k, v in self.numbers.values[name].items())
        return True

    def activate(self):
        names = [n for n in self.numbers.values if n not in self.adapters.merged]
        size = int(self.rng.integers(0, 4))
        chosen = [str(n) for n in self.rng.permutation(sorted(names))[:size]]
        if self.rng.random() < 0.1 and self.adapters.merged:
            chosen.append(self.adapters.merged[0])  # refused
        if not chosen:
            self.adapters.deactivate()
        else:
            self.adapters.activate(kzoo.Stack(*chosen) if len(chosen) > 1 else chosen[0])
            assert not set(chosen) & set(self.adapters.merged)
        self.numbers.active = tuple(chosen)
        return True

    def merge(self):
        name, numbers = self.any_of(self.numbers.values), self.numbers
        if name is None:
            return False
        acted, before = name in numbers.active, np.asarray(self.model(X))
        self.adapters.merge(name)
        numbers.merged.append((name, numbers.base))
        numbers.base = {
            layer: [w.astype("float32") for w in numbers.change(name, layer, *numbers.base[layer])]
            for layer in LAYERS
        }
        numbers.active = tuple(n for n in numbers.active if n != name)
        if acted:
            size = max(1.0, np.abs(before).max())
            np.testing.assert_allclose(np.asarray(self.model(X)) / size, before / size, atol=2e-5)
        self.exact()
        return True

    def exact(self):
        """The model's own bits from here on: NumPy's last bit may be another."""
        for layer in LAYERS:
            self.numbers.base[layer] = [
                np.array(w) for w in self.model.get_layer(layer).get_weights()[:2]
            ]

    def unmerge(self):
        name = self.any_of(self.adapters.merged)
        if name is None:
            return False
        self.adapters.unmerge(name)
        assert self.numbers.merged[-1][0] == name, "only the last one can be taken out here"
        _, self.numbers.base = self.numbers.merged.pop()
        for layer in LAYERS:  # bit for bit
            for mine, now in zip(
                self.numbers.base[layer], self.model.get_layer(layer).get_weights(), strict=False
            ):
                np.testing.assert_array_equal(now, mine)
        self.numbers.active = (name,)
        return True

    def delete(self):
        name = self.any_of(self.numbers.values)
        if name is None:
            return False
        self.adapters.delete(name)
        del self.numbers.values[name], self.numbers.methods[name]
        self.numbers.active = tuple(n for n in self.numbers.active if n != name)
        return True

    def save(self):
        name, numbers = self.any_of(self.numbers.values), self.numbers
        if name is None:
            return False
        place = f"f{int(self.rng.integers(0, 5))}"
        self.adapters.save(name, self.folder / place)
        numbers.folders[place] = (numbers.methods[name], numbers.values[name])
        numbers.folders[place] += (numbers.print_of(name),)
        return True

    def load(self):
        place, numbers = self.any_of(self.numbers.folders), self.numbers
        if place is None or len(numbers.values) > 5:
            return False
        method, values, trunk = numbers.folders[place]
        self.made += 1
        name, same = f"n{self.made}", trunk == numbers.print_of()
        try:
            self.adapters.load(self.folder / place, name)
        except AdapterError:
            assert not same
            raise
        assert same
        numbers.methods[name], numbers.values[name] = method, values
        numbers.active = (name,)
        return True

    def swap(self):
        place, name = self.any_of(self.numbers.folders), self.any_of(self.numbers.values)
        if place is None or name is None:
            return False
        method, values, trunk = self.numbers.folders[place]
        fits = method == self.numbers.methods[name] and trunk == self.numbers.print_of()
        fits = fits and name not in self.adapters.merged
        try:
            self.adapters.swap(name, self.folder / place)
        except AdapterError:
            assert not fits
            raise
        assert fits
        self.numbers.values[name] = values
        return True


def walk(seed, steps, folder):
    going = Walk(seed, folder)
    for number in range(steps):
        try:
            going.take()
        except Exception as error:
            raise AssertionError(f"seed {seed}, step {number}, {dict(going.count)}") from error
    return going.count


def test_a_walk(tmp_path):
    """Each thing is done and refused."""
    count = walk(0, 400, tmp_path)
    for kind in ("add", "train", "activate", "merge", "unmerge", "swap", "delete", "save", "load"):
        assert count[kind] >= 3, (kind, count)
    for kind in ("merge", "unmerge", "swap", "delete", "load", "activate"):
        assert count[f"{kind} refused"] >= 1, (kind, count)


@pytest.mark.sweep
@pytest.mark.parametrize("seed", range(1, 21))
def test_ten_thousand_steps(seed, tmp_path):
    walk(seed, 500, tmp_path)
