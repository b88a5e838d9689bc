"""KerasHub's own backbones, nested as its tasks nest them: three inputs teach two."""

import keras
import keras_hub
import numpy as np
import pytest
from distillation_toys import cross_entropy

from kzoo.distillation import Distiller, HiddenMSE, SoftTargetKL


def classifier(family, layers, width, name):
    keras.utils.set_random_seed(len(name))
    backbone = family(
        vocabulary_size=50,
        num_layers=layers,
        num_heads=2,
        hidden_dim=width,
        intermediate_dim=2 * width,
        dropout=0.1,
        max_sequence_length=16,
        name="encoder",
    )
    inputs = {key: keras.Input((None,), dtype="int32", name=key) for key in backbone.input}
    states = backbone(inputs)
    states = states["sequence_output"] if isinstance(states, dict) else states
    return keras.Model(inputs, keras.layers.Dense(3, name="logits")(states[:, 0]), name=name)


@pytest.mark.parametrize("jit", [False, True])
def test_bert_teaches_a_narrower_distilbert(jit):
    teacher = classifier(keras_hub.models.BertBackbone, 3, 16, "bert")
    student = classifier(keras_hub.models.DistilBertBackbone, 1, 8, "distil")
    rng = np.random.default_rng(0)
    x = {
        "token_ids": rng.integers(1, 50, (32, 12)).astype("int32"),
        "segment_ids": np.zeros((32, 12), "int32"),
        "padding_mask": (np.arange(12) < rng.integers(3, 13, (32, 1))).astype("int32"),
    }
    y = rng.integers(0, 3, 32)
    hidden = HiddenMSE("transformer_layer_2", "transformer_layer_0")
    distiller = Distiller(teacher, student, [SoftTargetKL(), hidden], [1.0, 0.1])
    distiller.compile(keras.optimizers.Adam(3e-3), cross_entropy(), jit_compile=jit)
    assert distiller.projections[0].kernel.shape == (8, 16)
    history = distiller.fit(x, y, epochs=4, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    # The states before the head are the first token of what the loss compares.
    kernel = distiller.projections[0].kernel.numpy()
    inner = teacher.get_layer("encoder"), student.get_layer("encoder")
    t = inner[0](x, training=False)["sequence_output"].numpy()
    s = inner[1]({k: x[k] for k in ("token_ids", "padding_mask")}, training=False).numpy()
    mask = x["padding_mask"]
    expected = (((s @ kernel - t) ** 2).mean(-1) * mask).sum() / mask.sum()
    only = Distiller(teacher, student, hidden, student_loss_weight=0).compile("sgd")
    only.projections[0].kernel.assign(kernel)
    logs = only.evaluate(x, verbose=0, return_dict=True)
    assert logs["distillation_loss"] == pytest.approx(expected, rel=1e-4)
