"""Tag: labels at first tokens, windows, entities as slices of the text."""

import keras
import numpy as np
import pytest
from tiny import make_model, make_tiny_trunk

import kzoo
from kzoo.errors import InputError
from kzoo.heads.tag_labels import spans_to_tags
from kzoo.metrics.entities import entity_scores

COLOURS, ANIMALS = ("red", "green", "blue"), ("cat", "dog")
WORDS = ["the", "good", "bad", "movie", *COLOURS, *ANIMALS]


def make(max_tokens=32, **head):
    head = {"kind": "tag", "dropout": 0.0, **head}
    model = make_model(kzoo.Model, make_tiny_trunk(), max_tokens=max_tokens, head=head)
    model.adapters.add("a", "lora[r=4]")
    return model


def rows(count=40, seed=0, longest=7):
    """Sentences of which colours and runs of animals are entities."""
    rng = np.random.default_rng(seed)
    words = [list(rng.choice(WORDS, rng.integers(2, longest))) for _ in range(count)]
    tags = []
    for row in words:
        own, before = [], ""
        for word in row:
            kind = "col" if word in COLOURS else "ani" if word in ANIMALS else ""
            begins = "I" if kind == before == "ani" else "B"
            own.append(f"{begins}-{kind}" if kind else "O")
            before = kind
        tags.append(own)
    return words, tags


@pytest.fixture(scope="module")
def fitted():
    model = make()
    model.compile(learning_rate=0.05)
    words, tags = rows(120)
    history = model.fit(words, tags, epochs=12, batch_size=16, verbose=0).history
    return model, history


def test_it_learns_and_scores_as_the_metrics_say(fitted):
    model, history = fitted
    assert history["loss"][-1] < 0.1 and history["entity_f1"][-1] > 0.9
    words, tags = rows(60, seed=1)
    scores = model.evaluate(words, tags, verbose=0, return_dict=True)
    values = model.predict_values(words, verbose=0)
    assert [value.words for value in values] == [[str(w) for w in row] for row in words]
    right = np.concatenate([v.tags for v in values]) == np.concatenate(tags)
    assert scores["accuracy"] == pytest.approx(right.mean(), abs=1e-6)
    true = entity_scores(tags, [value.tags for value in values]).micro
    assert scores["entity_f1"] == pytest.approx(true.f1)
    assert scores["entity_recall"] == pytest.approx(true.recall)
    assert scores["entity_precision"] == pytest.approx(true.precision)
    # In the graph, batch by batch, the same.
    in_graph = model.evaluate(words, tags, verbose=0)
    assert in_graph[2] == pytest.approx(true.f1, abs=1e-5)


def test_the_loss_is_the_mean_over_words(fitted):
    model, _ = fitted
    words, tags = rows(9, seed=2)
    found = model.evaluate(words, tags, batch_size=9, verbose=0, return_dict=True)["loss"]
    logits = model.predict(words, verbose=0)
    losses = []
    for number, (row, own) in enumerate(zip(words, tags, strict=True)):
        place = 1  # behind [CLS]
        for word, tag in zip(row, own, strict=True):
            scores = logits[number, place].astype("float64")
            losses.append(np.log(np.exp(scores).sum()) - scores[model.head.labels.index(tag)])
            place += len(model.text.token_ids(str(word)))
    assert found == pytest.approx(np.mean(losses), rel=1e-5)


def test_texts_and_character_spans(fitted):
    model, _ = fitted
    text = "The  good cat dog, a RED film."
    value = model.predict_values([text], verbose=0)[0]
    assert value.words == ["The", "good", "cat", "dog", ",", "a", "RED", "film", "."]
    found = {(e.text, e.label) for e in value.entities}
    assert ("RED", "col") in found and any("cat" in text for text, _ in found)
    for entity in value.entities:
        assert text[entity.start : entity.end] == entity.text
        assert " ".join(value.words[slice(*entity.words)]).split() == entity.text.split()
    spans = [{"start": 10, "end": 17, "label": "ani"}, (21, 24, "col")]
    scores = model.evaluate([text], [spans], verbose=0, return_dict=True)
    true = {("cat dog", "ani"), ("RED", "col")}
    assert scores["entity_recall"] == len(found & true) / 2
    fresh = make()
    fresh.fit([text, "a cat"], [spans, [(2, 5, "ani")]], epochs=1, verbose=0)
    assert fresh.head.labels == ["B-ani", "B-col", "I-ani", "I-col", "O"]


def test_a_text_longer_than_a_window_has_a_tag_for_each_word():
    model = make(max_tokens=12)
    words, tags = rows(30, seed=3, longest=30)
    model.compile(learning_rate=0.05)
    model.fit(words, tags, epochs=12, batch_size=16, verbose=0)
    long = [str(word) for row in words for word in row]
    (value,) = model.predict_values([long], verbose=0)
    assert len(value.tags) == len(long) > 100
    expected = ["col" if w in COLOURS else "ani" if w in ANIMALS else "O" for w in long]
    assert np.mean([t[2:] or "O" for t in value.tags] == np.array(expected)) > 0.9


def test_each_word_is_learned_once_where_most_surrounds_it():
    """Against a search over all windows, written out."""
    trunk = kzoo.Trunk(make_tiny_trunk(), max_tokens=12, name="trunk")
    inputs = kzoo.WordsInput(trunk, stride=3)
    read = kzoo.Model(inputs, trunk(inputs)["tokens"]).reads["text"]
    rng = np.random.default_rng(0)
    texts = [list(rng.choice(["movie", "zebra", "x", "tree", "cat"], n)) for n in (2, 25, 9)]
    (part,) = read.encode(texts)
    windows = part.windows
    assert windows.places.rows.tolist() == sorted(windows.places.rows.tolist())
    assert len(windows.places.rows) > 3
    found = {(t, w): p for t, w, p in zip(*(a.tolist() for a in windows.firsts), strict=True)}
    assert len(found) == sum(map(len, texts))
    tokenizer = read.text.tokenizer
    for (text, word), place in found.items():
        firsts = [0]
        for own in texts[text]:
            firsts.append(firsts[-1] + len(read.text.token_ids(str(own))))
        assert (
            windows.encoded.ids[place]
            == tokenizer.encode(str(texts[text][word]), add_special_tokens=False).ids[0]
        )
        best = []  # (margin, earliest) over the windows that hold the word's first token
        for window in np.flatnonzero(windows.places.rows == text):
            own = windows.tokens(window)
            begins = windows.places.starts[own][1]
            joined = " ".join(map(str, texts[text]))
            before = len(tokenizer.encode(joined[:begins], add_special_tokens=False).ids)
            inner = own.stop - own.start - 2
            offset = firsts[word] - before
            if 0 <= offset < inner:
                best.append((min(offset, inner - 1 - offset), -window, own.start + 1 + offset))
        assert place == max(best)[2]


def test_it_is_saved(fitted, tmp_path):
    model, _ = fitted
    words, _ = rows(5, seed=4)
    expected = model.predict(words, verbose=0)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(loaded.predict(words, verbose=0), expected, atol=1e-5)
    read = [m.predict_values(words, verbose=0) for m in (loaded, model)]
    assert [value.tags for value in read[0]] == [value.tags for value in read[1]]
    model.adapters.save("a", tmp_path / "a")
    other = make()
    other.adapters.load(tmp_path / "a", "b")
    assert other.head.labels == model.head.labels
    np.testing.assert_allclose(other.predict(words, verbose=0), expected, atol=1e-5)


def test_rows_with_adapters_of_their_own(fitted, tmp_path):
    model, _ = fitted
    model.adapters.save("a", tmp_path / "a")
    both = make()
    both.adapters.delete("a")
    both.adapters.load(tmp_path / "a", "a")
    both.adapters.add("b", "lora[r=2]")
    words, _ = rows(4, seed=5)
    both.fit(words, [["X", *["Y"] * (len(row) - 1)] for row in words], epochs=1, verbose=0)
    alone = {}
    for name in "ab":
        both.adapters.activate(name)
        alone[name] = both.predict(words, verbose=0)
    both.adapters.activate(kzoo.PerRow("a", "b"))
    mixed = both.predict(words, adapter_names=["a", "b", "b", "a"], verbose=0)
    lengths = [len(row) for row in words]
    for row, name in enumerate("abba"):
        own = alone[name][row, : lengths[row]]
        np.testing.assert_allclose(mixed[row, : lengths[row], : own.shape[-1]], own, atol=2e-5)


def test_iob1_is_read_as_iob2():
    model = make(scheme="iob1")
    model.fit(
        [["a", "cat", "dog"], ["cat", "cat"]],
        [["O", "I-a", "I-a"], ["I-a", "B-a"]],
        epochs=1,
        verbose=0,
    )
    assert model.head.labels == ["B-a", "I-a", "O"]
    dataset = model.prepare([["a", "cat", "cat"]], [["O", "I-a", "B-a"]])
    ((_, labels, weights),) = dataset.as_numpy_iterator()
    assert labels[0, :5].tolist() == [-1, 2, 0, 0, -1] and set(labels[0, 5:].tolist()) <= {-1}
    np.testing.assert_array_equal(weights, labels >= 0)


def test_generators_and_datasets(fitted):
    model, _ = fitted
    words, tags = rows(32, seed=6)

    def batches():
        for start in range(0, 32, 8):
            yield words[start : start + 8], tags[start : start + 8]

    whole = model.evaluate(words, tags, verbose=0, return_dict=True)
    flowing = model.evaluate(batches(), steps=4, verbose=0, return_dict=True)
    assert flowing["accuracy"] == pytest.approx(whole["accuracy"])


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        ([["a", "cat"]], [["O"]], "row 0 has 1 tags for 2 words"),
        ([["a", "cat"]], [["O", "B-zzz"]], "'B-zzz', a tag never seen"),
        (["a cat"], [["O", "B-ani"]], "tags for words, but `x` has texts"),
        ([["a", "cat"]], [["O", "I-ani"]], "'I-ani' begins an entity"),
        (["a cat"], [[(2, 9, "ani")]], "no word in the text of 5 characters"),
        (["a cat dog"], [[(2, 9, "ani"), (6, 9, "ani")]], "overlaps another"),
        (["a cat"], [[(2, "ani")]], "An entity must be"),
        ([["a", "cat"]], ["O O"], "must be a list of tags"),
        ([["a", 3]], [["O", "O"]], "row 0 must be a list of words"),
    ],
)
def test_bad_rows_are_named(fitted, x, y, said):
    model, _ = fitted
    with pytest.raises(InputError, match=said.replace("(", r"\(")):
        model.evaluate(x, y, verbose=0)


def test_an_entity_within_a_word_is_counted(fitted):
    model, _ = fitted
    with pytest.warns(UserWarning, match="1 entities begin or end within a word"):
        model.prepare(["a cat"], [[(2, 4, "ani")]])
    words = np.array([[0, 1], [2, 5]])
    assert spans_to_tags([(2, 5, "x")], words, "a cat", 0) == (["O", "B-x"], 0)
    assert spans_to_tags([(1, 5, "x")], words, "a cat", 0) == (["O", "B-x"], 0)


def test_it_needs_an_input_that_keeps_places():
    trunk = kzoo.Trunk(make_tiny_trunk(), name="trunk")
    text = kzoo.TextInput(trunk)
    with pytest.raises(InputError, match=r"kzoo\.WordsInput"):
        kzoo.Model(text, kzoo.heads.Tag()(trunk(text)))


def test_a_crf_learns_chains_and_gives_none_that_cannot_be(tmp_path):
    """The tag of a word depends on the tag before it alone, which no emission knows."""
    rng = np.random.default_rng(0)
    words = [list(rng.choice(["cat", "dog"], rng.integers(1, 9))) for _ in range(96)]
    tags = [["B-a" if i % 2 == 0 else "I-a" for i in range(len(row))] for row in words]
    model = make(crf=True)
    model.compile(learning_rate=0.1)
    history = model.fit(words, tags, epochs=20, verbose=0).history
    assert history["loss"][-1] < 0.1 and history["entity_f1"][-1] > 0.95
    scores = model.evaluate(words, tags, verbose=0, return_dict=True)
    values = model.predict_values(words, verbose=0)
    expected = entity_scores(tags, [value.tags for value in values]).micro.f1
    assert scores["entity_f1"] == pytest.approx(expected) and expected > 0.95
    assert scores["accuracy"] == pytest.approx(
        np.mean(np.concatenate([v.tags for v in values]) == np.concatenate(tags)), abs=1e-6
    )
    assert all(value.entities[0].score is None for value in values)
    # The loss in numpy, by all chains of a short row.
    row, own = ["cat", "dog"], ["B-a", "I-a"]
    labels = model.head.labels
    answer = model.head.acting()[0]
    logits = model.predict([row], verbose=0)[0, len(labels) + 2 :][1:3]
    allowed = {(i, j) for i in "BI" for j in "BI"}
    assert len(labels) == 2 and len(allowed) == 4

    def score(chain):
        i, j = (labels.index(tag) for tag in chain)
        ends = float(answer.start[i]) + float(answer.end[j])
        return logits[0, i] + logits[1, j] + float(answer.transitions[i, j]) + ends

    every = [score(f"{i}-a {j}-a".split()) for i, j in allowed]
    expected = np.log(np.exp(every).sum()) - score(own)
    found = model.evaluate([row], [own], verbose=0)[0]
    assert found == pytest.approx(expected / 2, rel=1e-4)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert loaded.predict_values(words, verbose=0) == values
    long = [str(word) for row in words for word in row]
    tiny_windows = make(crf=True, max_tokens=12)
    model.adapters.save("a", tmp_path / "a")
    tiny_windows.adapters.delete("a")
    tiny_windows.adapters.load(tmp_path / "a", "a")
    (value,) = tiny_windows.predict_values([long], verbose=0)
    assert len(value.tags) == len(long)
    assert value.tags[0] == "B-a"  # no chain begins with I
    model.adapters.add("b", "lora[r=2]")
    model.fit(words, tags, epochs=1, verbose=0)
    with pytest.raises(kzoo.errors.AdapterError, match="one adapter at a time"):
        model.adapters.activate(kzoo.PerRow("a", "b"))
        model.predict(words[:2], adapter_names=["a", "b"], verbose=0)


def test_a_head_of_rows_beside_tags_answers_each_text_once():
    trunk = kzoo.Trunk(make_tiny_trunk(), max_tokens=12, name="trunk")
    text = kzoo.WordsInput(trunk, name="text")
    states = trunk(text)
    heads = [kzoo.heads.Regress(name="size"), kzoo.heads.Tag(name="tags", labels=["O", "B-a"])]
    model = kzoo.Model(text, [head(states) for head in heads])
    words = {"text": [["cat"] * 30, ["dog", "cat"]]}
    labels = {"size": [1.0, 2.0], "tags": [["O"] * 30, ["O", "B-a"]]}
    model.fit(words, labels, epochs=1, verbose=0)
    outputs = model.predict(words, verbose=0)[0][:, 0]
    sizes, tags = model.predict_values(words, verbose=0)
    assert len(outputs) > 3 and len(sizes) == len(tags) == 2
    np.testing.assert_allclose(sizes, [outputs[:-1].mean(), outputs[-1]], rtol=1e-5)
    with pytest.raises(InputError, match="no labels for the output `tags`"):
        model.evaluate(words, {"size": [1.0, 2.0]}, verbose=0)
