"""MaskedLM: which tokens are hidden and as what, anew in each epoch; what is learned of them."""

import itertools

import keras
import numpy as np
import pytest
from tiny import NEGATIVE, POSITIVE, WORDS, make_model, make_tiny_trunk

import kzoo
from kzoo.backbones.text import EncodedTexts
from kzoo.datasets import Split
from kzoo.errors import InputError
from kzoo.reads.masked import choose_tokens, mask_token
from kzoo.reads.read import ITSELF, read_of
from kzoo.runs.goals import goal_of_kind

TEXTS = (POSITIVE + NEGATIVE) * 2


def make(**options):
    head = {"kind": "masked_lm", **options}
    training = {"learning_rate": 0.02}
    return make_model(
        kzoo.MaskFiller, make_tiny_trunk(), max_tokens=64, head=head, training=training
    )


def test_a_share_of_each_row_and_one_at_least():
    rng = np.random.default_rng(0)
    lengths = np.asarray([40, 1, 7, 0, 100])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    encoded = EncodedTexts(np.zeros(148, "int32"), np.zeros(148, "int32"), offsets)
    among = rng.random(148) < 0.8
    seen = np.zeros(148)
    for _ in range(300):
        chosen = choose_tokens(encoded, among, 0.15, rng)
        assert not (chosen & ~among).any()
        seen += chosen
        for start, end in itertools.pairwise(offsets):
            count = among[start:end].sum()
            assert chosen[start:end].sum() == min(count, max(1, np.rint(0.15 * count)))
    # Every token of a row is as likely as the others.
    own = seen[48:][among[48:]] / 300
    assert abs(own.mean() - 0.15) < 0.01 and own.min() > 0.05 and own.max() < 0.27


def test_four_fifths_are_hidden_a_tenth_is_another_token_a_tenth_stays():
    model = make(share=0.5)
    trunk, rng = model.trunk, np.random.default_rng(1)
    texts = [" ".join(rng.choice(WORDS, 40)) for _ in range(200)]
    read = read_of(model.inputs[0])
    part = read.encode_learned(texts)[0]
    rows, length = np.arange(200), int(part.lengths.max())
    labels, weights = part.targets[ITSELF](rows, length)
    before = read.encode(texts)[0].pad(rows, length)["token_ids"]
    after = part.pad(rows, length)["token_ids"]
    learned = weights == 1
    np.testing.assert_array_equal(labels[learned], before[learned])
    assert (labels[~learned] == 0).all() and (after[~learned] == before[~learned]).all()
    assert learned.sum() == 200 * 20 and not learned[:, [0, -1]].any()  # no [CLS], no [SEP]
    hidden = after[learned] == mask_token(trunk.text)
    same = after[learned] == before[learned]
    assert abs(hidden.mean() - 0.8) < 0.02 and abs(same.mean() - 0.1) < 0.02
    others = after[learned][~hidden & ~same]
    assert abs(len(others) / learned.sum() - 0.1) < 0.02
    assert len(np.unique(others)) > 0.8 * trunk.vocabulary_size  # from the whole vocabulary


def passes(dataset, count):
    """Of each pass over a dataset the rows, sorted by what they were before."""
    found = []
    for _ in range(count):
        rows = []
        for inputs, labels, weights in dataset:
            ids, hidden = inputs["token_ids"].numpy(), weights.numpy() > 0
            for own, label, where in zip(ids, labels.numpy(), hidden, strict=True):
                whole = np.where(where, label, own)
                rows.append((whole[whole > 0].tolist(), own[whole > 0].tolist()))
        found.append(sorted(rows))
    return found


def test_drawn_anew_in_each_epoch_and_the_same_from_one_seed():
    texts = [
        f"{a} {b} and the {c} is not"
        for a, b, c in zip(WORDS[:-9], WORDS[5:-4], WORDS[9:], strict=True)
    ]
    model = make()
    first, second = passes(model.prepare(texts, shuffle=True, batch_size=4), 2)
    assert [whole for whole, _ in first] == [whole for whole, _ in second]
    assert np.mean([a[1] != b[1] for a, b in zip(first, second, strict=True)]) > 0.7
    # Another model of the seed, another batch size: the same; also where a training goes on.
    assert passes(make().prepare(texts, shuffle=True, batch_size=7), 2) == [first, second]
    later = model.prepare(texts, shuffle=True, batch_size=4, first_epoch=1)
    assert passes(later, 1) == [second]
    # Validation is always the same.
    one, two = passes(model.prepare(texts, batch_size=4), 2)
    assert one == two


@pytest.fixture(scope="module")
def fitted():
    model = make()
    model.adapters.add("a", "lora[r=4]")
    model.fit(TEXTS, epochs=40, batch_size=5, verbose=0)
    return model


def test_learns_and_scores(fitted, tmp_path):
    found = fitted.evaluate(TEXTS, batch_size=3, verbose=0, return_dict=True)
    before = make().evaluate(TEXTS, verbose=0, return_dict=True)
    assert found["loss"] < 0.6 * before["loss"]
    values, right, count = 0.0, 0, 0
    for inputs, labels, weights in fitted.prepare(TEXTS, batch_size=20):
        logits = fitted(inputs).numpy().astype("float64")
        log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        own = np.take_along_axis(log_p, labels.numpy()[..., None], -1)[..., 0]
        learned = weights.numpy() > 0
        values -= own[learned].sum()
        right += (logits.argmax(-1) == labels.numpy())[learned].sum()
        count += learned.sum()
    assert found["accuracy"] == pytest.approx(right / count)
    # Batches differ in their numbers of learned tokens, over which Keras takes a mean of means.
    assert found["perplexity"] == pytest.approx(np.exp(values / count), rel=0.02)
    fitted.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    again = loaded.evaluate(TEXTS, batch_size=3, verbose=0, return_dict=True)
    assert again == pytest.approx(found, rel=1e-5)


def test_goes_with_the_adapter(fitted, tmp_path):
    fitted.adapters.save("a", tmp_path / "a")
    other = make()
    other.adapters.load(tmp_path / "a")
    found = other.evaluate(TEXTS, verbose=0, return_dict=True)
    assert found == pytest.approx(fitted.evaluate(TEXTS, verbose=0, return_dict=True), rel=1e-4)


def test_fills_masks(fitted):
    texts = ["the [MASK] dog", "a good film", "[MASK] and the [MASK] cat is [MASK]"]
    with pytest.raises(InputError, match=r"row 1 has no \[MASK\]"):
        fitted.fill(texts)
    with pytest.raises(InputError, match="hold 0 of them"):
        fitted.fill(["the " * 80 + "[MASK]"])
    texts.pop(1)
    found = fitted.fill(texts, k=3, batch_size=1)
    assert [len(masks) for masks in found] == [1, 3]
    vocabulary = fitted.text.tokenizer
    for text, masks in zip(texts, found, strict=True):
        ids = vocabulary.encode(text).ids
        logits = fitted.predict([text], verbose=0)[0]
        places = [i for i, token in enumerate(ids) if token == vocabulary.token_to_id("[MASK]")]
        for number, (place, fillings) in enumerate(zip(places, masks, strict=True)):
            chances = np.exp(logits[place] - logits[place].max())
            chances /= chances.sum()
            best = np.argsort(-chances)[:3]
            assert [f.token for f in fillings] == [vocabulary.id_to_token(i) for i in best]
            assert [f.probability for f in fillings] == pytest.approx(chances[best], rel=1e-4)
            parts = text.split("[MASK]")
            said = parts[0]
            for i, part in enumerate(parts[1:]):
                said += (fillings[0].token if i == number else "[MASK]") + part
            assert fillings[0].text == said


def test_a_run_scores_it(fitted):
    goal = goal_of_kind("masked_lm")
    found = goal.score(fitted, Split(TEXTS)).summary()
    expected = fitted.evaluate(TEXTS, verbose=0, return_dict=True)
    assert found == pytest.approx({"rows": len(TEXTS), **expected})


def test_what_is_refused():
    with pytest.raises(InputError, match="`share` must be between 0 and 1"):
        make(share=1.0)
    with pytest.raises(InputError, match="`hidden` of a head masked_lm must be left out"):
        kzoo.heads.MaskedLM(hidden="tanh")
    model = make()
    with pytest.raises(InputError, match="no text"):
        model.predict_values(TEXTS, verbose=0)
    model.adapters.add("a", "lora[r=2]")
    model.adapters.add("b", "lora[r=2]")
    model.adapters.activate(kzoo.PerRow("a", "b"))
    with pytest.raises(InputError, match="no answers of single rows' adapters"):
        model.predict(TEXTS[:2], adapter_names=["a", "b"], verbose=0)
    with pytest.raises(InputError, match="needs the embedding matrix of one encoder"):
        kzoo.heads.MaskedLM()({"tokens": keras.Input((4, 8))})
