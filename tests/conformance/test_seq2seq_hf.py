"""Seq2SeqGenerator against transformers: the loss of pairs and what is generated."""

import dataclasses

import numpy as np
import pytest
from test_families_hf import CASES, make_folder
from tiny import make_model

from kzoo.backbones.loading import load_pretrained
from kzoo.models.generator import Seq2SeqGenerator
from kzoo.models.writing import Writer, Writing
from tests.models.letters import letter_tokenizer

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

PAIRS = [("one", "eins"), ("two three", "zwei drei"), ("four", "vier")]


def hf_tokenizer(family, pad):
    import tokenizers

    own = tokenizers.Tokenizer.from_str(letter_tokenizer(family))
    return transformers.PreTrainedTokenizerFast(tokenizer_object=own, pad_token=pad)


@pytest.mark.parametrize("case", ["t5", "t5-v1.1", "bart"])
def test_loss_and_generation(case, tmp_path):
    make_folder(tmp_path, case)
    trunk = load_pretrained(str(tmp_path))
    family = trunk.family.name
    trunk = dataclasses.replace(trunk, tokenizer_json=letter_tokenizer(family))
    model = make_model(Seq2SeqGenerator, trunk, recipe="tiny", max_tokens=32)
    cls = getattr(transformers, CASES[case][0].replace("Model", "ForConditionalGeneration"))
    reference = cls.from_pretrained(tmp_path).eval()
    start = model.text.decoder_opening[0]  # T5Config has none
    reference.config.decoder_start_token_id = start
    reference.generation_config.decoder_start_token_id = start
    tokenizer = hf_tokenizer(family, "<pad>")
    sources, targets = map(list, zip(*PAIRS, strict=True))
    inputs = tokenizer(sources, padding=True, return_tensors="pt", return_token_type_ids=False)
    labels = tokenizer(targets, padding=True, return_tensors="pt")
    learned = labels.input_ids.masked_fill(labels.attention_mask == 0, -100)
    with torch.no_grad():
        expected = float(reference(**inputs, labels=learned).loss)
    model.compile(jit_compile=False)
    found = model.evaluate(sources, targets, verbose=0, return_dict=True)["loss"]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    # Keras weighs the losses of batches by their rows; the metrics count tokens.
    split = model.evaluate(sources, targets, batch_size=2, verbose=0, return_dict=True)
    np.testing.assert_allclose(split["perplexity"], np.exp(expected), rtol=1e-3)

    opening = torch.tensor([model.text.decoder_opening] * len(PAIRS))
    written = reference.generate(
        **inputs,
        decoder_input_ids=opening,
        max_new_tokens=6,
        do_sample=False,
        num_beams=1,
        forced_eos_token_id=None,
    )[:, opening.shape[1] :]
    writer = Writer(model, Writing())
    expected_texts = [writer.cut(row.tolist())[0] for row in written]
    assert model.generate(sources, max_new_tokens=6) == expected_texts
