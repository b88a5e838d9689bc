"""The two small nets of PEFT's own test configurations, in torch and in Keras, with equal weights.

The names and options of the configurations are in `peft_mlp_cases.json`: a list of
[name, net, PEFT's config class without `Config`, its arguments].
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

CASES = json.loads((Path(__file__).parent / "peft_mlp_cases.json").read_text())
INPUTS = {
    "mlp": np.random.default_rng(0).normal(size=(7, 10)).astype("float32"),
    "emb": np.arange(90).reshape(9, 10),
}


def numpy_weights(net: str) -> dict[str, np.ndarray]:
    """The weights of a net by torch's names: reproducible, and with no unit that never acts."""
    shapes = {
        "mlp": {"lin0": (20, 10), "lin1": (2, 20)},
        "emb": {"emb": (100, 5), "conv1d": (5, 1), "lin0": (2, 10)},
    }[net]
    rng = np.random.default_rng(1)
    weights = {}
    for layer, shape in shapes.items():
        weights[f"{layer}.weight"] = (0.4 * rng.normal(size=shape)).astype("float32")
        if layer != "emb":
            size = 1 if layer == "conv1d" else shape[0]
            weights[f"{layer}.bias"] = (1.0 + 0.2 * rng.normal(size=size)).astype("float32")
    return weights


def torch_net(net: str):
    """The net in torch, in evaluation mode."""
    import torch
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    class Mlp(nn.Module):
        def __init__(self):
            super().__init__()
            self.lin0, self.lin1 = nn.Linear(10, 20), nn.Linear(20, 2)
            self.drop = nn.Dropout(0.5)

        def forward(self, x):
            return self.lin1(self.drop(self.lin0(x).relu())).log_softmax(-1)

    class EmbConv1D(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb, self.conv1d, self.lin0 = nn.Embedding(100, 5), Conv1D(1, 5), nn.Linear(10, 2)

        def forward(self, x):
            return self.lin0(self.conv1d(self.emb(x)).relu().flatten(1)).log_softmax(-1)

    model = {"mlp": Mlp, "emb": EmbConv1D}[net]()
    weights = numpy_weights(net)
    model.load_state_dict({key: torch.tensor(value) for key, value in weights.items()})
    return model.eval()


def keras_net(net: str):
    """The net in Keras, as a functional model that `kzoo.adapt` has taken."""
    import keras

    import kzoo

    layers = keras.layers
    if net == "mlp":
        x = inputs = keras.Input((10,))
        x = layers.Dropout(0.5)(layers.ReLU()(layers.Dense(20, name="lin0")(x)))
        x = layers.Dense(2, name="lin1")(x)
    else:
        x = inputs = keras.Input((10,), dtype="int32")
        x = layers.Dense(1, name="conv1d")(layers.Embedding(100, 5, name="emb")(x))
        x = layers.Dense(2, name="lin0")(layers.Flatten()(layers.ReLU()(x)))
    model = keras.Model(inputs, keras.ops.log_softmax(x))
    for key, value in numpy_weights(net).items():
        name, _, kind = key.partition(".")
        layer = model.get_layer(name)
        if kind == "bias":
            layer.bias.assign(value)
        elif name == "emb":
            layer.embeddings.assign(value)
        else:  # HF's Conv1D is (in, out), as Keras' layers are
            layer.kernel.assign(value if name == "conv1d" else value.T)
    kzoo.adapt(model)
    return model
