"""Soft prompts as virtual tokens: where they stand, how they start, and how they mix."""

import keras
import numpy as np
import pytest
from tiny import tiny_vocabulary

from kzoo.adapters import parse_adapter
from kzoo.adapters.acting.composition import Average, Parallel, PerRow
from kzoo.backbones.virtual_tokens import VirtualTokens, strip_virtual
from kzoo.errors import AdapterError, InputError
from kzoo.heads.pooling import pool

TEXTS = ["good film", "a bad film", "the cat"]
V = len(tiny_vocabulary())
IDS = {token: number for number, token in enumerate(tiny_vocabulary())}
CLS, SEP, GOOD, FILM, BAD = (IDS[token] for token in ("[CLS]", "[SEP]", "good", "film", "bad"))


def outputs(model, texts=TEXTS, **more):
    return model.predict(texts, verbose=0, **more)


def disturb(variables, seed=0):
    for variable in variables.values():
        variable.assign(np.random.default_rng(seed).normal(0, 1, variable.shape))


def test_where_virtual_tokens_stand(tiny_classifier):
    model = tiny_classifier(num_classes=2)
    for position, row in {
        "auto": [CLS, V, V + 1, GOOD, FILM, SEP, BAD, SEP],
        "after_cls": [CLS, V, V + 1, GOOD, FILM, SEP, BAD, SEP],
        "start": [V, V + 1, CLS, GOOD, FILM, SEP, BAD, SEP],
    }.items():
        model.adapters.add("a", f"prompt[num_virtual_tokens=2,position={position}]")
        inputs = model.text.encode([("good film", "bad")])
        assert inputs["token_ids"].tolist() == [row]
        assert inputs["segment_ids"].tolist() == [[0] * 6 + [1] * 2]
        assert inputs["padding_mask"].tolist() == [[1] * 8]
        model.adapters.delete("a")
    assert model.text.encode(["good"])["token_ids"].tolist() == [[CLS, GOOD, SEP]]


def test_decoders_have_prompts_in_front():
    from kzoo.backbones.virtual_tokens import framed

    prompts = [VirtualTokens(60, 2), VirtualTokens(70, 1, "after_cls"), VirtualTokens(80, 1)]
    start, behind = framed(prompts, opening=True, encoder=False)
    assert (start.tolist(), behind.tolist()) == ([60, 61, 80], [70])
    start, behind = framed(prompts, opening=False, encoder=True)  # T5 opens with nothing
    assert (start.tolist(), behind.tolist()) == ([60, 61, 70, 80], [])


def test_prompts_count_towards_the_longest_input(tiny_classifier):
    model = tiny_classifier(num_classes=2, max_tokens=12)
    before = model.text.fingerprint
    model.adapters.add("a", "prompt[num_virtual_tokens=6]")
    assert model.text.fingerprint != before
    row = model.text.encode(["good " * 30])["token_ids"][0].tolist()
    assert row == [CLS, *range(V, V + 6), *[GOOD] * 4, SEP]
    assert model.text.token_offsets(["good good"]) == [[(0, 4), (5, 9)]]
    assert len(model.text.encode(["good " * 30])["token_ids"][0]) == 12
    with pytest.raises(InputError, match="special tokens of a pair and the prompt's 10"):
        model.adapters.add("b", "prompt[num_virtual_tokens=10]")
    assert list(model.adapters) == ["a"] and model.adapters.active == ("a",)
    assert model.text.encode(["good"])["token_ids"].shape == (1, 9)
    model.adapters.delete("a")
    assert model.text.fingerprint == before


def test_rows_start_as_asked(tiny_classifier):
    model = tiny_classifier(num_classes=2)
    table = np.asarray(model.backbone.token_embedding.embeddings)

    def start(options):
        model.adapters.add("a", f"prompt[num_virtual_tokens=5,{options}]", activate=False)
        (value,) = map(np.asarray, model.adapters.variables("a").values())
        model.adapters.delete("a")
        return value

    good, film, bad = table[GOOD], table[FILM], table[BAD]
    np.testing.assert_array_equal(
        start("init=text,init_text=good film"), [good, film, good, film, good]
    )
    np.testing.assert_array_equal(
        start("init=text,init_text=bad bad bad bad good film"), [bad, bad, bad, bad, good]
    )
    labels = start("init=labels,init_labels=[good film, bad]")
    np.testing.assert_allclose(labels[:2], [(good + film) / 2, bad], rtol=1e-6)
    for row in (*labels[2:], *start("init=vocabulary")):
        assert (table == row).all(axis=1).any()
    random = start("init=random")
    assert 0.01 < random.std() < 0.04
    np.testing.assert_array_equal(random, start("init=random"))  # one seed, one prompt
    with pytest.raises(AdapterError, match="has no tokens"):
        start("init=labels,init_labels=[good, '']")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("prompt[init=text]", "`init_text` and `init=text` belong together"),
        ("prompt[init_text=good]", "`init_text` and `init=text` belong together"),
        ("prompt[init=labels]", "`init_labels`"),
        ("prompt[init=labels,init_labels=[a,b],num_virtual_tokens=1]", "`num_virtual_tokens`"),
        ("prompt[num_virtual_tokens=0]", "`num_virtual_tokens`"),
        ("prompt[position=end]", "`position`"),
        ("ptuning[encoder=gru]", "`encoder`"),
        ("mpt[task=1]", "`task` must be less than `num_tasks`, 1"),
        ("tokens[indices=[]]", "`indices`"),
        ("tokens[indices=[3,3]]", "each once"),
        ("tokens[indices=[-1]]", "each once"),
        ("tokens", "`indices` is missing"),
    ],
)
def test_errors_name_the_key(spec, said):
    with pytest.raises(AdapterError) as error:
        parse_adapter(spec)
    assert said in str(error.value)


def test_rows_of_a_batch_have_different_prompts(tiny_classifier):
    model = tiny_classifier(num_classes=2)
    model.adapters.add("gone", "prompt[num_virtual_tokens=2]")
    model.adapters.add("a", "prompt[num_virtual_tokens=3]")
    model.adapters.add("b", "prompt[num_virtual_tokens=4,position=start]|lora[r=2]")
    model.adapters.delete("gone")
    model.adapters.add("c", "ptuning[num_virtual_tokens=2]|prefix[num_virtual_tokens=2]")
    seen, alone = [], {"__base__": None}
    for number, name in enumerate("abc"):
        disturb(model.adapters.variables(name), number)
        model.adapters.activate(name)
        seen += [i for i in model.text.encode(["good"])["token_ids"][0] if i >= V]
        alone[name] = outputs(model)
    assert len(set(seen)) == len(seen) == 9  # no id belongs to two prompts
    model.adapters.deactivate()
    alone["__base__"] = outputs(model)
    model.adapters.activate(PerRow("a", "b", "c"))
    for names in (["a", "b", "c"], ["c", "__base__", "a"]):
        expected = [alone[name][row] for row, name in enumerate(names)]
        found = outputs(model, adapter_names=names)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    # One behind the other: both prompts in every row.
    model.adapters.activate("b", "a")
    row = model.text.encode(["good"])["token_ids"][0]
    assert [i >= V for i in row] == [True] * 4 + [False] + [True] * 3 + [False] * 2
    for block in (Average("a", "b"), Parallel("a", "b")):
        with pytest.raises(AdapterError, match="Use Stack, or PerRow"):
            model.adapters.activate(block)
    assert model.adapters.active == ("b", "a")  # nothing has changed
    model.adapters.add("behind", "prompt[insertion=embeddings]", activate=False)
    for block in (PerRow("a", "behind"), ("a", "behind")):
        with pytest.raises(AdapterError, match="`behind` has `insertion=embeddings`"):
            model.adapters.activate(*(block if isinstance(block, tuple) else (block,)))
            outputs(model, adapter_names=["a", "behind", "a"])


def test_adapters_of_the_embedding_see_real_tokens_only(tiny_classifier):
    model = tiny_classifier(num_classes=2)
    model.adapters.add("p", "prompt[num_virtual_tokens=2]")
    model.adapters.add("l", "lora[targets=[token_embedding]]")
    for name in "pl":
        disturb(model.adapters.variables(name))
    table = model.backbone.token_embedding
    ids = np.array([[V, GOOD, V + 1]])
    model.adapters.deactivate()
    plain = np.asarray(table(ids))
    (prompt,) = map(np.asarray, model.adapters.variables("p").values())
    np.testing.assert_array_equal(plain[0, [0, 2]], prompt)
    for order in (("p", "l"), ("l", "p")):
        model.adapters.activate(*order)
        found = np.asarray(table(ids))
        np.testing.assert_array_equal(found[0, [0, 2]], prompt)
        assert np.abs(found[0, 1] - plain[0, 1]).max() > 1e-3


@pytest.mark.parametrize(
    "spec",
    [
        "prompt[num_virtual_tokens=4]",
        "prefix[num_virtual_tokens=4,projection=true,bottleneck=8]",
        "ptuning[num_virtual_tokens=3,bottleneck=4]|prefix[num_virtual_tokens=2]",
    ],
)
def test_fit_and_save_on_raw_strings(spec, tiny_classifier, tmp_path):
    model = tiny_classifier(spec, max_tokens=20)
    before = {k: np.asarray(v) for k, v in model.adapters.variables("default").items()}
    trunk = [np.asarray(v) for v in model.trunk.trunk_variables]
    model.compile(jit_compile="ptuning" in spec, learning_rate=0.02)
    texts = ["good film", "bad film", "great movie", "awful movie"]  # one length: one shape
    history = model.fit(texts * 4, ["pos", "neg"] * 8, epochs=4, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    for key, value in model.adapters.variables("default").items():
        assert np.abs(before[key] - np.asarray(value)).max() > 0, key
    for value, variable in zip(trunk, model.trunk.trunk_variables, strict=True):
        np.testing.assert_array_equal(value, np.asarray(variable))
    expected = outputs(model)
    model.save(tmp_path / "model.keras")
    whole = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(outputs(whole), expected, atol=1e-6)
    model.adapters.save("default", tmp_path / "adapter")
    fresh = tiny_classifier(max_tokens=20)
    fresh.adapters.load(tmp_path / "adapter")
    np.testing.assert_allclose(outputs(fresh), expected, atol=1e-6)
    assert fresh.labels == ["neg", "pos"]


def test_lstm_under_xla(tiny_classifier):
    """Outputs and gradients of the encoder, compiled and not."""
    import tensorflow as tf

    model = tiny_classifier(num_classes=2)
    model.adapters.add("p", "ptuning[num_virtual_tokens=3,encoder=lstm,bottleneck=5,lstm_layers=1]")
    ((_, layer),) = model.trunk.sites.layers("p")

    def rows_and_gradients():
        with tf.GradientTape() as tape:
            rows = layer.rows()
            loss = tf.reduce_sum(rows**2)
        return rows, tape.gradient(loss, [v.value for v in layer.trainable_variables])

    rows, gradients = rows_and_gradients()
    compiled_rows, compiled_gradients = tf.function(rows_and_gradients, jit_compile=True)()
    np.testing.assert_allclose(compiled_rows, rows, atol=1e-6)
    for one, other in zip(gradients, compiled_gradients, strict=True):
        assert np.abs(one).max() > 0
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_pooling_takes_real_tokens():
    tokens = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")
    mask = np.array([[1, 1, 1, 1], [1, 1, 1, 0]])
    ids = np.array([[9, 1, 2, 10], [1, 9, 2, 0]])
    real = {"mean": [tokens[0, 1:3].mean(0), tokens[1, [0, 2]].mean(0)]}
    real["max"] = [tokens[0, 1:3].max(0), tokens[1, [0, 2]].max(0)]
    real["cls"] = tokens[:, 0]
    for mode, expected in real.items():
        found = pool(tokens, mode, np.logical_and(mask, ids < 9))
        np.testing.assert_allclose(np.asarray(found), np.stack(expected), rtol=1e-6)


def test_a_prompt_for_each_task(tiny_classifier):
    model = tiny_classifier(num_classes=2)
    model.adapters.add("m", "mpt[num_virtual_tokens=2,num_tasks=3,num_ranks=2,task=1]")
    values = {key.rpartition(".")[2]: v for key, v in model.adapters.variables("m").items()}
    made = [np.asarray(values["task_cols"])[t] @ np.asarray(values["task_rows"])[t] for t in (0, 2)]
    assert np.abs(np.stack(made) - 1).max() < 0.3 and np.abs(made[0] - made[1]).max() > 1e-3
    disturb({"prompt": values["prompt"]})
    ((_, layer),) = model.trunk.sites.layers("m")
    ids = model.text.encode(["good"])["token_ids"][0]
    assert ids.tolist() == [CLS, V + 2, V + 3, GOOD, SEP]
    expected = np.asarray(values["prompt"]) * made[1]
    rows = model.backbone.token_embedding(layer.virtual_tokens(2).ids[None])
    np.testing.assert_allclose(np.asarray(rows)[0], expected, rtol=1e-5)
    # Rows of one batch in different tasks.
    prompts = [(layer.virtual_tokens(task),) for task in (0, 2)]
    encoded = model.text.tokenize(["good", "bad film"], prompts)
    found = np.asarray(model(model.text.pad(encoded, [0, 1], 8)))
    for row, task in enumerate((0, 2)):
        layer.task = task
        model.adapters.activate("m")
        own = outputs(model, [["good", "bad film"][row]])
        np.testing.assert_allclose(found[row], own[0], atol=1e-5)


def test_trainable_tokens(tiny_classifier):
    model = tiny_classifier(num_classes=2)
    with pytest.raises(AdapterError, match=f"below the vocabulary size, {V}. Received: {V}"):
        model.adapters.add("t", {"method": "tokens", "indices": [GOOD, V]})
    plain = outputs(model)
    model.adapters.add("t", {"method": "tokens", "indices": [GOOD, BAD]})
    np.testing.assert_array_equal(outputs(model), plain)
    (rows,) = model.adapters.variables("t").values()
    disturb({"rows": rows})
    changed = outputs(model)
    assert [bool(np.abs(a - b).max() > 1e-4) for a, b in zip(changed, plain, strict=True)] == [
        True,
        True,
        False,
    ]
    embedded = np.asarray(model.backbone.token_embedding(np.array([[BAD, FILM, GOOD]])))[0]
    np.testing.assert_array_equal(embedded[[0, 2]], np.asarray(rows)[[1, 0]])
    model.adapters.merge("t")
    np.testing.assert_allclose(outputs(model), changed, atol=1e-6)
    model.adapters.unmerge("t")
    model.adapters.deactivate()
    np.testing.assert_array_equal(outputs(model), plain)


def test_strip_virtual():
    assert strip_virtual([101, 5, 100, 7], 100) == [5, 7]
    assert strip_virtual(np.array([[100, 1], [2, 3]]), 100) == [[1], [2, 3]]
    assert strip_virtual([[], [200]], 100) == [[], []]
    assert strip_virtual([], 100) == []
