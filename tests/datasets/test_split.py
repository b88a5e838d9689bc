"""Columns, slicing and sampling."""

import numpy as np
import pytest

from kzoo.datasets import Card, Dataset, DatasetError, Split

LABELS = [0] * 50 + [1] * 30 + [2] * 20


@pytest.fixture
def split():
    return Split(
        texts=[f"t{i}" for i in range(100)],
        text_pairs=[f"p{i}" for i in range(100)],
        labels=LABELS,
        ids=[f"id{i}" for i in range(100)],
        label_names=["a", "b", "c"],
    )


def test_columns_stay_together(split):
    assert split.labels.dtype == np.int32
    assert split[3] == {"text": "t3", "pair": "p3", "label": 0, "id": "id3"}
    part = split[[81, 2]]
    assert part.inputs == [("t81", "p81"), ("t2", "p2")]
    assert (part.label_strings, part.ids) == (["c", "a"], ["id81", "id2"])
    assert [row["text"] for row in split[98:]] == ["t98", "t99"]
    mask = np.zeros(100, bool)
    mask[40] = True
    assert split[mask].texts == ["t40"]
    assert split.class_counts == {"a": 50, "b": 30, "c": 20}
    assert repr(split) == "Split(100 rows, pairs, 3 classes)"


def test_inputs_without_pairs_are_strings():
    assert Split(["x", "y"]).inputs == ["x", "y"]
    assert Split(["x"], labels=[0.5]).labels.dtype == np.float32


def test_take_per_class_is_balanced_and_seeded(split):
    few = split.take(7, per_class=True, seed=1)
    assert few.class_counts == {"a": 7, "b": 7, "c": 7}
    assert len(set(few.texts)) == 21
    assert few.texts == split.take(7, per_class=True, seed=1).texts
    assert few.texts != split.take(7, per_class=True, seed=2).texts
    assert all(LABELS[int(row["text"][1:])] == row["label"] for row in few)


def test_take_keeps_the_proportions(split):
    assert split.take(10).class_counts == {"a": 5, "b": 3, "c": 2}
    # 3.5, 2.1 and 1.4: the largest remainder gets the row that is left.
    assert split.take(7).class_counts == {"a": 4, "b": 2, "c": 1}
    assert len(Split([str(i) for i in range(9)]).take(4).texts) == 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.take(21, per_class=True), "`n` = 21.*'c' has 20"),
        (lambda s: s.take(101), "`n` = 101.*has 100"),
        (lambda s: s.take(0), "`n` must be at least 1, received 0"),
        (lambda s: Split(["x"]).take(1, per_class=True), "`per_class=True`"),
        (lambda s: Split(["x"]).label_strings, "`label_strings`"),
        (lambda s: Split(["x", "y"], labels=[1]), "`labels` has 1 rows and `texts` has 2"),
        (lambda s: Split(["x"], labels=[2], label_names=["a", "b"]), "`labels` range from 2 to 2"),
        (lambda s: Split(["x"], labels=[-1], label_names=["a"]), "from -1"),
        (lambda s: Split(["x"], labels=["a"]), "`labels` must be one integer"),
        (lambda s: Split(["x"], labels=[0.5], label_names=["a"]), "`label_names`"),
    ],
)
def test_bad_arguments(split, call, message):
    with pytest.raises(DatasetError, match=message):
        call(split)


@pytest.fixture
def dataset(split):
    return Dataset("d", {"train": split, "test": split[:10]}, ["a", "b", "c"], Card("words"))


def test_dataset_is_used_like_a_dict(dataset):
    assert (list(dataset), len(dataset), dataset.num_classes) == (["train", "test"], 2, 3)
    assert "test" in dataset and "dev" not in dataset
    assert dataset["training"] is dataset["train"]
    assert dataset.summary()["splits"]["test"]["classes"] == {"a": 10, "b": 0, "c": 0}
    assert repr(dataset) == "Dataset('d', train=100, test=10, 3 classes)"
    with pytest.raises(DatasetError, match=r"`split` 'dev'.*'train', 'test'"):
        dataset["dev"]


def test_with_validation_moves_rows_and_loses_none(dataset):
    cut = dataset.with_validation(0.2, seed=4)
    assert list(cut) == ["train", "validation", "test"]
    assert cut["val"].class_counts == {"a": 10, "b": 6, "c": 4}
    assert sorted(cut["train"].texts + cut["dev"].texts) == sorted(dataset["train"].texts)
    assert cut.card.counts == {"train": 80, "validation": 20, "test": 10}
    with pytest.raises(DatasetError, match="`validation` split already"):
        cut.with_validation(0.2)
    with pytest.raises(DatasetError, match=r"`fraction` 1.5"):
        dataset.with_validation(1.5)


def test_an_empty_dataset_is_refused():
    with pytest.raises(DatasetError, match="'nothing' is empty"):
        Dataset("nothing", {"train": Split([])}, None, Card("none"))
