"""KerasHub preset folders of the newer families."""

import numpy as np
import pytest
from families import make_tiny_backbone, tiny_inputs

from kzoo.backbones.families import family_named
from kzoo.backbones.loading import load_pretrained
from kzoo.backbones.text import TextProcessor
from kzoo.backbones.tokenizer import tokenizer_from_hub
from kzoo.errors import WeightsError


def test_a_gpt2_preset(tmp_path):
    import keras_hub

    letters = [chr(code) for code in range(97, 123)]
    vocabulary = {token: i for i, token in enumerate([*letters, "Ġ", "ab", "<|endoftext|>"])}
    tokenizer = keras_hub.models.GPT2Tokenizer(vocabulary=vocabulary, merges=["a b"])
    backbone = make_tiny_backbone("gpt2")
    backbone.save_to_preset(tmp_path)
    tokenizer.save_to_preset(tmp_path)
    trunk = load_pretrained(str(tmp_path))
    assert (trunk.family.name, trunk.architecture.activation) == ("gpt2", "gelu_new")
    inputs = tiny_inputs("gpt2")
    np.testing.assert_array_equal(np.asarray(trunk.backbone(inputs)), np.asarray(backbone(inputs)))
    text = TextProcessor(trunk.tokenizer_json, trunk.family, 16)
    for words in ("abc", "b ab", ""):
        assert text.tokenize([words]).ids.tolist() == np.asarray(tokenizer(words)).tolist()
    assert text.pad_id == vocabulary["<|endoftext|>"]


def test_a_tokenizer_that_cannot_be_rebuilt_is_refused():
    with pytest.raises(WeightsError, match=r"tokenizer of llama .* Pass a directory"):
        tokenizer_from_hub(object(), family_named("llama"))
