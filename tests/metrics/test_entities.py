"""Entities of tags against a grammar, conlleval's rule, and published cases."""

import itertools
import re

import numpy as np
import pytest

from kzoo.metrics.entities import entities, entity_scores, parse_tag

BIO = ["O", "B-X", "I-X", "B-Y", "I-Y"]
IOBES = ["O"] + [f"{letter}-{kind}" for kind in "XY" for letter in "BIES"]


def by_grammar(tags, scheme):
    """Strict entities: every stretch that the scheme's grammar accepts and that cannot go on."""
    grammar = {"bio": r"B I*", "iobes": r"S|B I* E", "plain": r"T+"}[scheme].replace(" ", "")
    found = []
    for first, end in itertools.combinations(range(len(tags) + 1), 2):
        stretch = tags[first:end]
        if "O" in stretch:
            continue
        split = [("T", tag) if scheme == "plain" else tag.split("-") for tag in stretch]
        letters, kinds = "".join(s[0] for s in split), {s[1] for s in split}
        if len(kinds) > 1 or not re.fullmatch(grammar, letters):
            continue
        kind = kinds.pop()
        longer = {"bio": [f"I-{kind}"], "iobes": [], "plain": [kind]}[scheme]
        before = tags[first - 1] if first else "O"
        after = tags[end] if end < len(tags) else "O"
        if after in longer or (scheme == "plain" and before == kind):
            continue
        found.append((kind, first, end))
    return sorted(found, key=lambda entity: entity[1])


def conlleval(true, predicted):
    """The shared task's counts, from its definition: two streams of chunks, compared as they go."""
    correct = found = gold = 0
    for tags, guesses in zip(true, predicted, strict=True):
        inside, before = False, [("O", ""), ("O", "")]
        for pair in [*zip(tags, guesses, strict=True), ("O", "O")]:
            now = [(tag[0], tag[2:]) for tag in pair]
            ends, starts = [], []
            for (letter_before, kind_before), (letter, kind) in zip(before, now, strict=True):
                changed = kind_before != kind
                ends.append(letter_before in "BI" and (letter in "BO" or changed))
                starts.append(letter != "O" and (letter == "B" or letter_before == "O" or changed))
            if inside and any(ends):
                correct += all(ends) and before[0][1] == before[1][1]
                inside = False
            if all(starts) and now[0][1] == now[1][1]:
                inside = True
            gold, found = gold + starts[0], found + starts[1]
            before = now
    return correct, found, gold


@pytest.mark.parametrize(("scheme", "tags"), [("bio", BIO), ("iobes", IOBES), ("plain", "OXY")])
def test_strict_is_the_scheme_s_grammar(scheme, tags):
    for length in range(5 if scheme == "iobes" else 6):
        for sentence in itertools.product(tags, repeat=length):
            assert entities(sentence, scheme) == by_grammar(list(sentence), scheme), sentence


def test_lenient_is_conlleval_on_any_tags():
    rng = np.random.default_rng(0)
    for _ in range(300):
        lengths = rng.integers(1, 8, 3)
        true, predicted = ([rng.choice(BIO, n).tolist() for n in lengths] for _ in range(2))
        micro = entity_scores(true, predicted, mode="lenient").micro
        assert (micro.correct, micro.predicted, micro.true) == conlleval(true, predicted)


def test_both_modes_are_conlleval_on_well_formed_tags():
    sentences = [
        list(tags)
        for tags in itertools.product(BIO, repeat=4)
        if sum(end - first for _, first, end in by_grammar(list(tags), "bio"))
        == sum(tag != "O" for tag in tags)
    ]
    assert len(sentences) == 153
    rng = np.random.default_rng(1)
    predicted = [sentences[i] for i in rng.integers(0, len(sentences), len(sentences))]
    strict, lenient = (entity_scores(sentences, predicted, mode=m) for m in ("strict", "lenient"))
    assert strict == lenient and 0 < strict.micro.f1 < 1
    assert strict.micro[3:] == conlleval(sentences, predicted)


def test_scores_by_hand():
    true = [["B-PER", "I-PER", "O", "B-LOC"], ["B-LOC", "O"], ["B-ORG"]]
    predicted = [["B-PER", "I-PER", "O", "B-ORG"], ["B-LOC", "B-LOC"], ["O"]]
    scores = entity_scores(true, predicted)
    assert scores.types == {
        "LOC": (1 / 2, 1 / 2, 1 / 2, 1, 2, 2),
        "ORG": (0, 0, 0, 0, 1, 1),
        "PER": (1, 1, 1, 1, 1, 1),
    }
    assert scores.micro == (2 / 4, 2 / 4, 1 / 2, 2, 4, 4)
    assert scores.macro == (0.5, 0.5, 0.5, 2, 4, 4)
    # Macro-F1 is the mean of the types' F1, not the F1 of the means.
    lopsided = entity_scores([["B-A", "B-A", "B-B", "O"]], [["B-A", "O", "B-B", "B-B"]]).macro
    assert lopsided[:3] == pytest.approx((0.75, 0.75, 2 / 3), abs=1e-15)
    nothing = entity_scores([["O"]], [["O"]])
    assert nothing.micro == (0, 0, 0, 0, 0, 0) == nothing.macro and nothing.types == {}
    spans = [[entity for entity in entities(row)] for row in true], [[("PER", 0, 2)] * 2, [], []]
    assert entity_scores(*spans, scheme=None).micro == (1, 1 / 4, 0.4, 1, 1, 4)


def test_published_cases():
    # seqeval #23: an entity that begins with I is none in IOB2.
    scores = [
        entity_scores([["B-Phone", "I-Phone"]], [["I-Phone", "I-Phone"]], mode=mode).micro.f1
        for mode in ("strict", "lenient")
    ]
    assert scores == [0.0, 1.0]
    # seqeval #25: B I without an E is none in IOBES; S is one.
    true, predicted = [["B-PER", "E-PER", "S-PER"]], [["B-PER", "I-PER", "S-PER"]]
    assert entity_scores(true, predicted, "iobes").micro[:2] == (1.0, 0.5)
    # seqeval #71: another type inside an entity ends it, and begins none.
    assert entities(["B-LOC", "I-ORG", "I-ORG"]) == [("LOC", 0, 1)]
    assert entities(["B-LOC", "I-ORG"], mode="lenient") == [("LOC", 0, 1), ("ORG", 1, 2)]
    # conlleval.py #1: B after E begins a new entity.
    tags = ["B-MISC", "E-MISC", "B-MISC", "E-MISC"]
    assert entities(tags, "iobes", "lenient") == [("MISC", 0, 2), ("MISC", 2, 4)]
    # seqeval's own example, F1 0.5; sentences do not run into each other.
    true = [["O", "O", "O", "B-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    predicted = [["O", "O", "B-MISC", "I-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    assert entity_scores(true, predicted).micro.f1 == 0.5
    assert entity_scores([["B-X"], ["I-X"]], [["B-X"], ["O"]], mode="lenient").micro.true == 2


def test_letters_of_bilou_bare_letters_and_hyphens():
    assert entities(["B-X", "I-X", "L-X", "U-Y"], "iobes") == [("X", 0, 3), ("Y", 3, 4)]
    assert entities(["B", "I", "O", "B"]) == [("_", 0, 2), ("_", 3, 4)]
    assert parse_tag("B-work-of-art") == ("B", "work-of-art")
    assert entities(["NOUN", "NOUN", "O", "B-X"], "plain") == [("NOUN", 0, 2), ("B-X", 3, 4)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: entities(["PER"]), "B-TYPE, I-TYPE. Received: 'PER'"),
        (lambda: entities(["B-"]), "Received: 'B-'"),
        (lambda: entities([3]), "a string. Received: 3"),
        (lambda: entities(["S-X"], "bio"), "scheme bio is"),
        (lambda: entities(["O"], "iob3"), "`scheme` must be one of bio.*'iob3'"),
        (lambda: entities(["O"], mode="loose"), "`mode` must be.*'loose'"),
        (lambda: entities(["O"], "plain", "lenient"), "`mode` 'lenient'.*'plain'"),
        (lambda: entity_scores([], [], None, "lenient"), "`mode` 'lenient'.*None"),
        (lambda: entity_scores([["O"]], []), "`predicted` must have.* 1 rows.*Received: 0"),
        (lambda: entity_scores([["O"]] * 2, [["O"], []]), "row 1 must have 1 tags.*Received: 0"),
        (lambda: entity_scores([["O"]], [["Q"]]), "`predicted` row 0: .*'Q'"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
