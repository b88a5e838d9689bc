"""A classifier on trunks of all kinds: adapters, training, files."""

import keras
import numpy as np
import pytest
from families import VOCABULARY, make_tiny_backbone
from tiny import make_model

from kzoo.adapters.tables import listed_methods
from kzoo.backbones.architecture import Architecture
from kzoo.backbones.families import FAMILIES, family_named
from kzoo.backbones.loading import Pretrained
from kzoo.errors import AdapterError
from kzoo.models.classifier import TextClassifier

# BERT has its own tests; the others left out share every class but the outermost with one here.
NAMES = ("albert", "electra", "deberta-v2", "gpt2", "llama", "qwen3", "gemma", "t5", "bart")
TEXTS = ["a b c d", "e f g h i j", "a e", "z"]


def letters():
    """A tokenizer whose words are letters, with the special tokens of every family."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    special = ["<pad>", "[PAD]", "[CLS]", "[SEP]", "</s>", "<|endoftext|>", "[UNK]"]
    words = [*special, *map(chr, range(97, 123))]
    vocabulary = {word: i for i, word in enumerate(words)}
    assert len(vocabulary) < VOCABULARY
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer.to_str()


def make_classifier(name):
    family, backbone = family_named(name), make_tiny_backbone(name)
    architecture = Architecture.of_built(backbone, family)
    architecture.apply(backbone, family)
    trunk = Pretrained(backbone, family, architecture, letters(), "tiny")
    return make_model(TextClassifier, trunk, recipe="tiny", max_tokens=16, num_classes=2)


@pytest.mark.parametrize("name", NAMES)
def test_classifier(name, tmp_path):
    model = make_classifier(name)
    x = model.text.encode(TEXTS)
    plain = np.asarray(model(x))
    # More padding, and what stands in it, change nothing.
    padded = model.text.encode(TEXTS, length=12)
    for key in [key for key in padded if key.endswith("token_ids")]:
        mask = padded[key.replace("token_ids", "padding_mask")]
        padded[key] = np.where(mask == 1, padded[key], 9).astype("int32")
    np.testing.assert_allclose(np.asarray(model(padded)), plain, atol=1e-5)

    model.adapters.add("a", "lora[r=2,targets=[query,value,ffn_output]]")
    np.testing.assert_array_equal(np.asarray(model(x)), plain)
    before = [np.asarray(v) for v in model.trunk.trunk_variables]
    model.compile(jit_compile=False, run_eagerly=True)
    model.fit(TEXTS, [0, 1, 0, 1], epochs=1, verbose=0)
    for value, variable in zip(before, model.trunk.trunk_variables, strict=True):
        np.testing.assert_array_equal(value, np.asarray(variable))
    trained = np.asarray(model(x))
    assert np.abs(trained - plain).max() > 1e-6
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_array_equal(np.asarray(again(x)), trained)


@pytest.mark.parametrize("name", [name for name, row in FAMILIES.items() if row.kind != "vision"])
def test_every_method_comes_back_from_a_keras_file(name, tmp_path):
    """All methods of a family in one file; each acts afterwards as it did before."""
    model = make_classifier(name)
    rng = np.random.default_rng(0)
    kept = {}
    fitting = {m: f"{m}[num_virtual_tokens=3]" for m in ("prompt", "ptuning", "mpt")}
    fitting["tokens"] = "tokens[indices=[7, 8]]"  # a and b
    for number, (method, spec) in enumerate({**listed_methods(), **fitting}.items()):
        try:
            model.adapters.add(f"a{number}", spec, activate=False)
        except AdapterError:  # tests/conformance/test_matrix.py knows which
            continue
        for variable in model.trunk.sites.trainable(f"a{number}"):
            variable.assign(np.asarray(variable) + rng.normal(0, 0.3, variable.shape))
        kept[f"a{number}"] = method
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    assert list(again.adapters) == list(kept)
    plain = np.asarray(model(model.text.encode(TEXTS)))
    for adapter, method in kept.items():
        outputs = []
        for either in (model, again):
            either.adapters.activate(adapter)
            outputs.append(np.asarray(either(either.text.encode(TEXTS))))
        np.testing.assert_array_equal(outputs[1], outputs[0], err_msg=method)
        assert np.abs(outputs[0] - plain).max() > 1e-6, method
    assert len(kept) > 25
