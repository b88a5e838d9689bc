"""Seq2SeqGenerator: what is learned, what is written, and that files keep it."""

import keras
import keras_hub
import numpy as np
import pytest
from tiny import make_model

import kzoo
from kzoo.backbones.architecture import Architecture
from kzoo.backbones.families import family_named
from kzoo.backbones.loading import Pretrained
from kzoo.errors import InputError, WeightsError
from kzoo.models.generator import Seq2SeqGenerator
from kzoo.reads.language import seq2seq_rows
from tests.families import make_tiny_backbone
from tests.models.letters import letter_id, letter_tokenizer

PAIRS = [("one", "eins"), ("two three", "zwei"), ("four", "vier")]
SIZE = 30  # of the vocabulary
SOURCES = [source for source, _ in PAIRS]


def make_generator(family="t5", adapter=None, **changes):
    backbone = make_tiny_backbone(family, **{"vocabulary_size": SIZE, **changes})
    table = backbone.token_embedding.embeddings  # published ones are large, T5's very
    table.assign(np.random.default_rng(0).normal(0, 4 if family == "t5" else 1, table.shape))
    row = family_named(family)
    architecture = Architecture.of_built(backbone, row)
    trunk = Pretrained(backbone, row, architecture, letter_tokenizer(family), "tiny")
    model = make_model(Seq2SeqGenerator, trunk, recipe="tiny", max_tokens=16)
    if adapter:
        model.adapters.add("default", adapter)
    return model


def randomize(model, scale=0.5):
    rng = np.random.default_rng(0)
    for variable in model.adapters.variables("default").values():
        variable.assign(rng.normal(0, scale, variable.shape))


def greedy(model, sources, steps, ends):
    """The most probable tokens, by whole forward passes."""
    inputs = model.text.encode(sources)
    ids = np.asarray([model.text.decoder_opening] * len(sources), "int32")
    begin = ids.shape[1]
    for _ in range(steps):
        inputs |= {"decoder_token_ids": ids, "decoder_padding_mask": np.ones_like(ids)}
        best = np.asarray(model(inputs))[:, -1].argmax(-1)
        ids = np.concatenate([ids, best[:, None].astype("int32")], axis=1)
    texts = []
    for row in ids[:, begin:].tolist():
        stop = next((place for place, token in enumerate(row) if token in ends), len(row))
        texts.append(model.text.tokenizer.decode(row[:stop]))
    return texts


@pytest.mark.parametrize(
    ("family", "opening", "end", "source"),
    [("t5", [0], 1, ["a", "b", 1]), ("bart", [2, 0], 2, [0, "a", "b", 2])],
)
def test_the_decoder_is_one_token_behind_the_target(family, opening, end, source):
    """T5: <pad> x -> x </s>; BART: </s> <s> x -> <s> x </s>. So do HF and KerasHub."""
    model = make_generator(family)
    to_ids = [letter_id(token) if isinstance(token, str) else token for token in source]
    c, d = letter_id("c"), letter_id("d")
    (batch,) = model.prepare(["ab", ""], ["cd", "c"], [2.0, 0.5], few_shapes=False)
    inputs, labels, weights = keras.tree.map_structure(np.asarray, batch)
    assert inputs["encoder_token_ids"][0].tolist() == to_ids
    bare = [token for token in source if not isinstance(token, str)]
    assert inputs["encoder_padding_mask"].sum(-1).tolist() == [len(source), len(bare)]
    pad = model.text.pad_id
    assert inputs["decoder_token_ids"].tolist() == [[*opening, c, d], [*opening, c, pad]]
    ones = [1] * (len(opening) + 1)
    assert inputs["decoder_padding_mask"].tolist() == [[*ones, 1], [*ones, 0]]
    assert labels.tolist() == [[*opening[1:], c, d, end], [*opening[1:], c, end, 0]]
    np.testing.assert_array_equal(weights, [[2.0] * len(ones) + [2.0], [0.5] * len(ones) + [0.0]])


def test_long_targets_lose_their_end():
    model = make_generator()
    rows = seq2seq_rows(model.text, [("a" * 50, "b" * 50), ("a", "b")], model.end)
    assert rows.encoded.lengths.tolist() == [16, 2]
    assert rows.targets.lengths.tolist() == [16, 2]
    assert (rows.encoded.truncated, rows.targets.truncated) == (1, 1)
    assert rows.labels.tolist() == [letter_id("b")] * 16 + [letter_id("b"), model.end]


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("t5", {}),
        ("t5", {"tie_embedding_weights": False, "use_gated_activation": True}),
        ("bart", {}),
    ],
)
def test_logits_are_those_of_the_task(family, changes):
    model = make_generator(family, adapter="lora[r=2]", **changes)
    randomize(model)
    rows = seq2seq_rows(model.text, PAIRS, model.end)
    every = np.arange(3)
    inputs = model.text.pad(rows.encoded, every, 12)
    inputs |= model.text.pad_decoder(rows.targets, every, 7)
    task = getattr(keras_hub.models, model.task_name)(model.backbone, preprocessor=None)
    found = np.asarray(model(inputs))
    assert (found.shape, found.dtype) == ((3, 7, SIZE), np.float32)
    np.testing.assert_allclose(found, np.asarray(task(inputs)), atol=1e-6)


def test_fit_learns_targets_and_generate_writes_what_is_learned(tmp_path):
    model = make_generator(
        adapter="lora[r=8,alpha=16,targets=[query,value,cross_value,ffn_intermediate,ffn_output]]"
    )
    trunk = [np.asarray(v) for v in model.trunk.trunk_variables]
    model.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    before = model.evaluate(PAIRS, verbose=0, return_dict=True)
    # The mean over the tokens of targets and their ends; padding does not count.
    terms = []
    for source, target in PAIRS:
        ids = [letter_id(letter) for letter in target]
        row = np.asarray([[0, *ids]], "int32")
        inputs = model.text.encode([source])
        inputs |= {"decoder_token_ids": row, "decoder_padding_mask": np.ones_like(row)}
        chances = np.asarray(keras.ops.log_softmax(model(inputs)))[0]
        terms += [-chances[place, token] for place, token in enumerate([*ids, model.end])]
    np.testing.assert_allclose(before["loss"], np.mean(terms), rtol=1e-4)
    np.testing.assert_allclose(before["perplexity"], np.exp(before["loss"]), rtol=1e-3)
    targets = [target for _, target in PAIRS]
    history = model.fit(SOURCES, targets, epochs=30, batch_size=3, verbose=0).history
    assert history["loss"][-1] < 0.3 * before["loss"]
    assert history["accuracy"][-1] > before["accuracy"]
    now = model.trunk.trunk_variables
    same = [(np.asarray(v) == t).all() for v, t in zip(now, trunk, strict=True)]
    assert all(same)
    found = model.generate(SOURCES, max_new_tokens=5)
    assert found == greedy(model, SOURCES, 5, [model.end])
    assert len(set(found) & set(targets)) > 0
    model.save(tmp_path / "model.keras")
    again = kzoo.load(tmp_path / "model.keras")
    assert type(again) is Seq2SeqGenerator
    inputs = model.text.encode(SOURCES)
    np.testing.assert_array_equal(np.asarray(again(inputs)), np.asarray(model(inputs)))
    model.adapters.save("default", tmp_path / "adapter")
    other = make_generator()
    other.adapters.load(tmp_path / "adapter")
    assert other.generate(SOURCES, max_new_tokens=5) == found


@pytest.mark.parametrize(
    ("family", "adapter"),
    [
        ("t5", "houlsby[reduction_factor=4,cross_attention=true]"),
        ("bart", "houlsby[reduction_factor=4,cross_attention=true]"),
        ("bart", "lora[r=2,targets=[query,cross_query,cross_key,cross_value,ffn_output]]"),
        ("t5", "prompt[num_virtual_tokens=3]|prefix[num_virtual_tokens=2]"),
    ],
)
def test_decoding_with_a_cache_is_decoding_by_whole_passes(family, adapter):
    model = make_generator(family, adapter)
    randomize(model, scale=1.0)
    table = model.backbone.token_embedding.embeddings
    table.assign(np.asarray(table) * (np.arange(SIZE) > 2)[:, None])  # letters are most probable
    # One stop is the padding of the decoder, in T5 its start too: neither ends a target.
    ends = [model.end, model.text.pad_id]
    found = model.generate(SOURCES, max_new_tokens=5, stop="<pad>")
    assert found == greedy(model, SOURCES, 5, ends)
    assert any(found)

    # The logits of any target, token by token.
    inputs = model.text.encode(SOURCES)
    ids = np.random.default_rng(1).integers(3, SIZE, (3, 5)).astype("int32")
    inputs |= {"decoder_token_ids": ids, "decoder_padding_mask": np.ones_like(ids)}
    whole = np.asarray(model(inputs))
    task, mask = model.decoding().task, inputs["encoder_padding_mask"]
    _, states, own, cross = task._build_cache(inputs["encoder_token_ids"], mask, ids * 0)
    steps = []
    for place in range(5):
        token = ids[:, place : place + 1]
        logits, _, own, _ = task.call_decoder_with_cache(
            states, mask, token, own, place, cross, None
        )
        steps.append(np.asarray(logits))
    np.testing.assert_allclose(np.concatenate(steps, 1), whole, atol=1e-4)
    model.adapters.deactivate()
    assert np.abs(whole - np.asarray(model(inputs))).max() > 0.1


def test_prompts_stand_before_the_source_only():
    model = make_generator(adapter="prompt[num_virtual_tokens=3]")
    (batch,) = model.prepare(PAIRS)
    ids = {name: np.asarray(batch[0][name]) for name in ("encoder_token_ids", "decoder_token_ids")}
    assert (ids["encoder_token_ids"][:, :3] == [30, 31, 32]).all()
    assert ids["decoder_token_ids"].max() < SIZE
    assert np.asarray(batch[1]).max() < SIZE
    model.compile(keras.optimizers.Adam(5e-2), jit_compile=False)
    losses = model.fit(PAIRS, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    model.adapters.add("other", "lora[r=2]")
    model.adapters.activate(kzoo.PerRow("default", "other"))
    (batch,) = model.prepare(PAIRS, adapter_names=["other", "default", "__base__"])
    opened = np.asarray(batch[0]["encoder_token_ids"])[:, 0] == SIZE
    assert opened.tolist() == [False, True, False]
    with pytest.raises(InputError, match="must name the adapter of each row"):
        model.generate(SOURCES)


def test_errors():
    model = make_generator()
    with pytest.raises(InputError, match="`sources` must be a list"):
        model.generate("one")
    with pytest.raises(InputError, match="16 new tokens and the 1 in front of them"):
        model.generate(["one"], max_new_tokens=16)
    with pytest.raises(InputError, match="at least 1"):
        model.generate(["one"], max_new_tokens=0)
    with pytest.raises(InputError, match="`stop` must be texts"):
        model.generate(["one"], max_new_tokens=2, stop="")
    with pytest.raises(InputError, match=r"must be \(source, target\) pairs"):
        model.fit(["one", "two"])
    with pytest.raises(InputError, match="is empty"):
        model.fit([])
    with pytest.raises(InputError, match="no raw texts"):
        model.predict(PAIRS)
    with pytest.raises(WeightsError, match="as a Seq2SeqGenerator"):
        make_generator("gpt2")
