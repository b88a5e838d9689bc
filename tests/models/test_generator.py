"""TextGenerator: what is learned, what is generated, and that files keep it."""

import keras
import numpy as np
import pytest
from tiny import make_model

import kzoo
from kzoo.backbones.architecture import Architecture
from kzoo.backbones.families import family_named
from kzoo.backbones.loading import Pretrained
from kzoo.errors import InputError, WeightsError
from kzoo.models.generator import TextGenerator
from kzoo.reads.language import language_rows
from tests.families import make_tiny_backbone
from tests.models.letters import LETTERS, letter_tokenizer

PAIRS = [("one two", " three"), ("red green", " blue"), ("cat dog", " bird")]


def make_generator(family="gpt2", adapter=None, **changes):
    backbone = make_tiny_backbone(family, **changes)
    row = family_named(family)
    architecture = Architecture.of_built(backbone, row)
    architecture.apply(backbone, row)
    trunk = Pretrained(backbone, row, architecture, letter_tokenizer(), "tiny")
    model = make_model(TextGenerator, trunk, recipe="tiny", max_tokens=20)
    if adapter:
        model.adapters.add("default", adapter)
    return model


def test_rows_of_texts_and_pairs():
    model = make_generator()
    tokens = {letter: i + 1 for i, letter in enumerate(LETTERS)}
    rows = language_rows(model.text, ["abc"], model.end, 60)
    ids = [tokens["a"], tokens["b"], tokens["c"], 0]
    assert rows.encoded.ids.tolist() == ids
    assert rows.labels.tolist() == [*ids[1:], 0]
    assert rows.weights.tolist() == [1, 1, 1, 0]
    rows = language_rows(model.text, [("ab", "c"), ("a", "b")], model.end, 60)
    assert rows.encoded.lengths.tolist() == [4, 3]
    # Only what follows the prompt is learned: the completion and the end.
    assert rows.weights.tolist() == [0, 1, 1, 0, 1, 1, 0]
    rows = language_rows(model.text, ["a" * 50], model.end, 60)
    assert (len(rows.encoded.ids), rows.encoded.truncated) == (20, 1)
    assert model.end not in rows.encoded.ids
    # A shifted prefix takes positions, of which GPT-2 has a table.
    model.adapters.add("p", "prefix[num_virtual_tokens=3,shift_positions=true]")
    rows = language_rows(model.text, ["a" * 50], model.end, 60)
    assert len(rows.encoded.ids) == 17
    with pytest.raises(InputError, match="more than `max_tokens` 17"):
        model.generate(["a" * 10], max_new_tokens=17)


def greedy(model, prompt, steps):
    """The most probable tokens, by whole forward passes."""
    ids = list(model.text.tokenize([prompt]).ids)
    start = len(ids)
    for _ in range(steps):
        row = np.asarray([ids], "int32")
        logits = np.asarray(model({"token_ids": row, "padding_mask": np.ones_like(row)}))
        ids.append(int(logits[0, -1].argmax()))
        if ids[-1] == model.end:
            break
    return model.text.tokenizer.decode(ids[start:])


def test_fit_learns_completions_and_generate_gives_what_is_learned(tmp_path):
    model = make_generator(
        adapter="lora[r=8,alpha=16,targets=[query,value,attention_output,ffn_output]]"
    )
    trunk = [np.asarray(v) for v in model.trunk.trunk_variables]
    model.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    prompts = [prompt for prompt, _ in PAIRS]
    untrained = model.generate(prompts, max_new_tokens=4)
    before = model.evaluate(PAIRS, verbose=0, return_dict=True)
    model.fit(PAIRS, epochs=15, batch_size=3, verbose=0)
    after = model.evaluate(PAIRS, verbose=0, return_dict=True)
    assert after["loss"] < 0.8 * before["loss"]
    np.testing.assert_allclose(after["perplexity"], np.exp(after["loss"]), rtol=1e-3)
    now = model.trunk.trunk_variables
    same = [(np.asarray(v) == t).all() for v, t in zip(now, trunk, strict=True)]
    assert all(same)
    found = model.generate(prompts, max_new_tokens=4)
    assert found == [greedy(model, prompt, 4) for prompt in prompts]
    assert model.generate(prompts[1:2], max_new_tokens=2) == [greedy(model, prompts[1], 2)]
    model.save(tmp_path / "model.keras")
    again = kzoo.load(tmp_path / "model.keras")
    assert again.generate(prompts, max_new_tokens=4) == found
    model.adapters.deactivate()
    assert model.generate(prompts, max_new_tokens=4) == untrained


def test_the_loss_is_the_mean_over_learned_tokens():
    """Padding does not count, however much of it a batch has."""
    model = make_generator()
    model.compile(jit_compile=False)
    expected = []
    for prompt, completion in PAIRS:
        inputs = model.text.encode([prompt + completion])
        ids = [*inputs["token_ids"][0], model.end]
        logits = np.asarray(model(inputs))[0]
        chances = keras.ops.convert_to_numpy(keras.ops.log_softmax(logits))
        start = len(prompt) - 1
        expected += [-chances[t, ids[t + 1]] for t in range(start, len(ids) - 1)]
    found = model.evaluate(PAIRS, verbose=0, return_dict=True)["loss"]
    np.testing.assert_allclose(found, np.mean(expected), rtol=1e-4)


@pytest.mark.parametrize("method", ["prompt[num_virtual_tokens=3]", "prefix[num_virtual_tokens=3]"])
def test_prompts_are_learned_and_not_generated(method):
    model = make_generator(adapter=method)
    model.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    before = model.evaluate(PAIRS, verbose=0, return_dict=True)["loss"]
    model.fit(PAIRS, epochs=6, batch_size=3, verbose=0)
    assert model.evaluate(PAIRS, verbose=0, return_dict=True)["loss"] < before
    found = model.generate(["one", "cat dog"], max_new_tokens=5)
    assert all(set(text) <= set(LETTERS) for text in found)


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma"])
def test_other_families_generate_and_come_back_from_a_file(family, tmp_path):
    model = make_generator(family, adapter="lora[r=2]")
    for variable in model.adapters.variables("default").values():
        variable.assign(np.random.default_rng(0).normal(0, 0.5, variable.shape))
    found = model.generate(["one two", "a"], max_new_tokens=4)
    model.save(tmp_path / "model.keras")
    again = kzoo.load(tmp_path / "model.keras")
    inputs = model.text.encode(["one two", "a"])
    np.testing.assert_array_equal(np.asarray(again(inputs)), np.asarray(model(inputs)))
    assert again.generate(["one two", "a"], max_new_tokens=4) == found


def test_errors():
    model = make_generator()
    with pytest.raises(InputError, match="list of at least one"):
        model.generate("one")
    with pytest.raises(InputError, match="more than `max_tokens` 20"):
        model.generate(["one"], max_new_tokens=20)
    with pytest.raises(InputError, match="`stop` must be texts"):
        model.generate(["one"], max_new_tokens=2, stop=["STOP", ""])
    with pytest.raises(InputError, match="is empty"):
        model.fit([])
    with pytest.raises(WeightsError, match="generates no text"):
        make_generator("bert")


@pytest.mark.parametrize("form", ["tf.data", "tf.data batched", "dataset", "splits"])
def test_fit_on_streams_and_datasets(form):
    """The same rows as a list of pairs, or of texts, give the same losses."""
    import types

    import tensorflow as tf

    prompts, completions = ["ab", "bc", "ca", "ac"], ["c", "a", "b", "b"]
    plain = list(zip(prompts, completions, strict=True))
    x = tf.data.Dataset.from_tensor_slices((prompts, completions))
    if form.endswith("batched"):
        x = x.batch(4)
    if not form.startswith("tf.data"):
        # Class labels of a dataset are nothing for a language model: it learns the texts.
        x, plain = types.SimpleNamespace(inputs=prompts, labels=[0, 1, 0, 1]), prompts
    expected = make_generator().evaluate(plain, batch_size=4, verbose=0, return_dict=True)
    model = make_generator()
    found = model.evaluate(x, batch_size=4, verbose=0, return_dict=True)
    assert found == pytest.approx(expected, rel=1e-4)
    if form == "splits":
        x = type("Splits", (dict,), {"splits": property(lambda self: self)})(train=x)
    history = model.fit(x, epochs=1, batch_size=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
