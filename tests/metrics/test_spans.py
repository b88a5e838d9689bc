"""Answer scores against SQuAD's rules row by row, and the best thresholds against all of them."""

import math
import re
import string

import numpy as np
import pytest

from kzoo.metrics import answer_f1, answer_scores, normalize_answer

WORDS = ["the", "a", "Cat", "cat", "sat", "on", "mat.", "1990", "U.S.", "An", "-", ""]


def squad(predicted, true, version="2.0"):
    """Exact match and F1 of one question, as the papers describe them."""

    def words(text):
        kept = "".join(c for c in text.lower() if c not in string.punctuation)
        return [w for w in re.split(r"\s+", re.sub(r"\b(a|an|the)\b", " ", kept)) if w]

    def overlap(one, other):
        rest, shared = list(other), 0
        for word in one:
            if word in rest:
                rest.remove(word)
                shared += 1
        if not one or not other:
            return float(one == other and version == "2.0")
        if not shared:
            return 0.0
        precision, recall = shared / len(one), shared / len(other)
        return 2 * precision * recall / (precision + recall)

    answers = [words(text) for text in true]
    if version == "2.0":
        answers = [answer for answer in answers if answer] or [[]]
    guess = words(predicted)
    return float(guess in answers), max(overlap(guess, answer) for answer in answers)


def draw(rng, n, unanswerable=0.4):
    def text():
        return " ".join(rng.choice(WORDS, rng.integers(0, 4)))

    predicted = [text() for _ in range(n)]
    true = [
        [] if rng.random() < unanswerable else [text() for _ in range(rng.integers(1, 4))]
        for _ in range(n)
    ]
    return predicted, true


def test_published_normalisation():
    assert normalize_answer("  The U.S.  Army's\nan-swer ") == "us armys answer"
    assert normalize_answer("Theatre, a band") == "theatre band"
    assert normalize_answer("“An” É") == "“ ” é"  # only ASCII punctuation is left out
    assert answer_f1("the black cat", "a cat!") == pytest.approx(2 / 3)
    assert answer_f1("cat cat", "cat") == pytest.approx(2 / 3)
    assert answer_f1("dog", "cat") == 0 == answer_f1("", "cat")


@pytest.mark.parametrize("version", ["1.1", "2.0"])
def test_scores_equal_the_rules_row_by_row(version):
    rng = np.random.default_rng(0)
    predicted, true = draw(rng, 400, 0.4 if version == "2.0" else 0.0)
    rows = np.array([squad(p, t, version) for p, t in zip(predicted, true, strict=True)])
    has = np.array([bool(t) for t in true])
    found = answer_scores(predicted, true, version=version)
    expected = {"exact": rows[:, 0].mean(), "f1": rows[:, 1].mean(), "total": 400}
    for prefix, part in (("HasAns_", has), ("NoAns_", ~has)):
        if part.any():
            expected |= {f"{prefix}exact": rows[part, 0].mean(), f"{prefix}total": part.sum()}
            expected |= {f"{prefix}f1": rows[part, 1].mean()}
    assert found == pytest.approx(expected, abs=1e-12)
    assert ("NoAns_f1" in found) == (version == "2.0")


def test_where_the_versions_differ():
    # "A" is an article: 2.0 has no answer left, 1.1 an F1 of nothing over nothing.
    assert answer_scores(["a"], [["A", "B"]], version="1.1") == pytest.approx(
        {"exact": 1, "f1": 0, "total": 1, "HasAns_exact": 1, "HasAns_f1": 0, "HasAns_total": 1}
    )
    assert answer_scores(["a"], [["A", "B"]])["exact"] == 0
    assert answer_scores(["a", ""], [["A"], ["A"]])["f1"] == 1


def at(threshold, predicted, true, doubt):
    """Sums of exact match and F1 with silence where the doubt is greater."""
    pairs = zip(predicted, true, doubt, strict=True)
    rows = [squad(p, t) if d <= threshold else (float(not t),) * 2 for p, t, d in pairs]
    return np.sum(rows, axis=0)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_best_thresholds_equal_brute_force(ties, shift):
    rng = np.random.default_rng(1)
    for _ in range(30):
        predicted, true = draw(rng, 12)
        doubt = rng.integers(1, 6, 12) / 8 if ties else rng.uniform(0.01, 1, 12)
        doubt = doubt - shift
        found = answer_scores(predicted, true, doubt)
        below = np.nextafter(doubt.min(), -np.inf)
        candidates = [0.0 if doubt.min() > 0 else below, *sorted(set(doubt))]
        sums = [at(threshold, predicted, true, doubt) for threshold in candidates]
        for i, name in enumerate(("exact", "f1")):
            values = [value[i] for value in sums]
            assert found[f"best_{name}"] == pytest.approx(max(values) / 12, abs=1e-12)
            threshold = found[f"best_{name}_thresh"]
            first = next(j for j, value in enumerate(values) if value > max(values) - 1e-9)
            assert threshold == candidates[first]
            # The threshold is one to be used: it gives the score.
            again = answer_scores(predicted, true, doubt, threshold)
            assert again[name] == pytest.approx(found[f"best_{name}"], abs=1e-12)
            assert again[f"best_{name}"] == found[f"best_{name}"]


def test_answers_as_hf_has_them():
    true = [{"text": ["cat", "dog"], "answer_start": [0, 4]}, {"text": [], "answer_start": []}]
    found = answer_scores(["dog", "text"], true)
    assert (found["HasAns_f1"], found["NoAns_f1"]) == (1.0, 0.0)


def test_a_threshold_silences_what_is_above_it():
    found = answer_scores(["cat", "dog", "cow"], [["cat"], [], []], [0.5, 0.6, 0.4], 0.5)
    assert (found["HasAns_exact"], found["NoAns_exact"]) == (1.0, 0.5)


def longest(one, other):
    stretches = {tuple(one[i:j]) for i in range(len(one)) for j in range(i + 1, len(one) + 1)}
    return max(
        (len(s) for s in stretches for i in range(len(other)) if tuple(other[i : i + len(s)]) == s),
        default=0,
    )


def test_cmrc_counts_characters_that_stand_together():
    one, other = "1990年，北京大学", "《北京大学》在1990年"
    assert normalize_answer(one, "cmrc2018") == "1990年北京大学"
    # 北京大学 of 6 and of 7 tokens; 1990 is one.
    assert answer_f1(one, other, "cmrc2018") == pytest.approx(2 * 4 / (6 + 7))
    assert answer_f1("NBA总决赛", "nba 总决赛", "cmrc2018") == 1.0
    assert answer_f1("3.5%的人", "3.5 的人", "cmrc2018") == pytest.approx(2 * 2 / (4 + 3))
    rng = np.random.default_rng(2)
    for _ in range(200):
        a, b = ("".join(rng.choice(list("北京大学在"), rng.integers(1, 8))) for _ in range(2))
        assert answer_f1(a, b, "cmrc2018") == pytest.approx(2 * longest(a, b) / (len(a) + len(b)))
    # SQuAD's own rule sees one word without spaces: all or nothing.
    found = answer_scores(["北京大学"], [["在北京大学"]])
    assert found["f1"] == 0.0
    assert answer_scores(["北京大学"], [["在北京大学"]], style="cmrc2018")["f1"] == 8 / 9


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: answer_scores(["a"], []), "equally long and not empty. Received: 1 and 0"),
        (lambda: answer_scores(["a"] * 2, [["a"], []], version="1.1"), "`true` row 1 has no"),
        (lambda: answer_scores(["a"], ["a"]), "`true` row 0 must be a list.*'a'"),
        (lambda: answer_scores(["a"], [["a"]], [math.nan]), r"`no_answer` must be 1 finite.*1 oth"),
        (lambda: answer_scores(["a"], [["a"]], [1, 2]), r"`no_answer` must be 1.*\(2,\)"),
        (lambda: answer_scores(["a"], [["a"]], threshold=0), "`threshold` is for `no_answer`"),
        (lambda: answer_scores(["a"], [["a"]], style="zh"), "`style` must be squad or cmrc2018"),
        (lambda: answer_scores(["a"], [["a"]], version="2"), "`version` must be 1.1 or 2.0"),
        (lambda: normalize_answer("a", "zh"), "`style`.*'zh'"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
