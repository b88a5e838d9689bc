"""KerasHub's tasks with a head, loaded from their presets: outputs equal."""

import keras
import keras_hub as hub
import numpy as np
import pytest

import kzoo
from kzoo.errors import WeightsError

LETTERS = [chr(code) for code in range(97, 123)]
TEXTS = ["a b c", "ab", "x y z z y"]
FAMILIES = {"bert": "Bert", "roberta": "Roberta", "distilbert": "DistilBert"}
SIZES = {
    **{"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 24},
    "max_sequence_length": 32,
}


def write_preset(folder, ending, family, **options):
    """A tiny task with random weights away from their first values; returns it."""
    keras.utils.set_random_seed(0)
    name = FAMILIES[family]
    if family == "roberta":
        pieces = ["<s>", "<pad>", "</s>", "<mask>", "Ġ", *LETTERS, *(f"Ġ{x}" for x in LETTERS)]
        vocabulary = {token: i for i, token in enumerate(pieces)}
        merges = [f"Ġ {letter}" for letter in LETTERS]
        tokenizer = hub.models.RobertaTokenizer(vocabulary=vocabulary, merges=merges)
    else:
        vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS]
        vocabulary += [f"##{letter}" for letter in LETTERS]
        tokenizer = getattr(hub.models, f"{name}Tokenizer")(vocabulary, lowercase=True)
    backbone = getattr(hub.models, f"{name}Backbone")(vocabulary_size=len(vocabulary), **SIZES)
    preprocessor = getattr(hub.models, f"{name}{ending}Preprocessor")(tokenizer, sequence_length=16)
    task = getattr(hub.models, name + ending)(backbone, preprocessor=preprocessor, **options)
    for variable in task.weights:
        variable.assign(variable + 0.1 * keras.random.normal(variable.shape))
    task.save_to_preset(folder)
    task.preprocessor = None
    return task


@pytest.mark.parametrize("family", FAMILIES)
def test_hidden_tokens(family, tmp_path):
    task = write_preset(tmp_path, "MaskedLM", family)
    model = kzoo.load(tmp_path)
    assert isinstance(model, kzoo.MaskFiller)
    inputs = next(iter(model.prepare(TEXTS)))[0]
    inputs = {key: np.asarray(value) for key, value in inputs.items()}
    length = inputs["token_ids"].shape[1]
    places = np.tile(np.arange(length), (len(TEXTS), 1)).astype("int32")
    expected = task.predict({**inputs, "mask_positions": places}, verbose=0)
    real = inputs["padding_mask"] > 0
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(np.asarray(model(inputs))[real], expected[real], atol=1e-4)
    model.save(tmp_path / "m.keras")
    again = kzoo.load(tmp_path / "m.keras")
    np.testing.assert_allclose(np.asarray(again(inputs))[real], expected[real], atol=1e-4)
    (masks,) = model.fill(["a <mask> b" if family == "roberta" else "a [MASK] b"], k=2)
    assert len(masks[0]) == 2


@pytest.mark.parametrize("family", FAMILIES)
def test_classes(family, tmp_path):
    task = write_preset(tmp_path, "TextClassifier", family, num_classes=3)
    model = kzoo.load(tmp_path, labels=["x", "y", "z"])
    inputs = next(iter(model.prepare(TEXTS)))
    expected = task.predict({key: np.asarray(value) for key, value in inputs.items()}, verbose=0)
    np.testing.assert_allclose(model.predict(TEXTS, verbose=0), expected, atol=1e-4)


def test_another_task_is_refused(tmp_path):
    (tmp_path / "task.json").write_text('{"class_name": "GPT2CausalLM"}')
    with pytest.raises(WeightsError, match="holds a GPT2CausalLM"):
        kzoo.load(tmp_path)
