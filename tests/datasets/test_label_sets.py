"""Label sets in files: lists, JSON lists in strings, names with separators; and in splits."""

import json

import numpy as np
import pytest

from kzoo.datasets import DatasetError, DatasetWarning, Split, load

ROWS = [["b", "a"], [], ["c"], ["a"]]
MATRIX = [[1, 1, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0]]


def jsonl(path, values):
    rows = [{"text": f"t{i}", "labels": value} for i, value in enumerate(values)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def csv(path, values):
    quoted = ('"' + value.replace('"', '""') + '"' for value in values)
    path.write_text("text,labels\n" + "".join(f"t{i},{v}\n" for i, v in enumerate(quoted)))
    return path


def check(dataset):
    train = dataset["train"]
    assert dataset.label_names == train.label_names == ["a", "b", "c"]
    assert train.labels.tolist() == MATRIX and train.labels.dtype == np.int8
    assert train.has_label_sets and not train.is_regression


def test_lists_are_seen(tmp_path):
    check(load(jsonl(tmp_path / "x.jsonl", ROWS)))


@pytest.mark.parametrize(
    ("values", "options"),
    [
        (["b|a", "", "c", " a "], {}),
        (["b; a", "", "c", "a"], {"label_separator": ";"}),
        (['["b", "a"]', "[]", '["c"]', '["a"]'], {}),
    ],
)
def test_strings_are_sets_where_the_task_says_so(tmp_path, values, options):
    check(load(csv(tmp_path / "x.csv", values), task="multilabel", **options))
    check(load(jsonl(tmp_path / "x.jsonl", values), task="multilabel", **options))


def test_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"text": ["t"] * 4, "labels": ROWS}), tmp_path / "x.parquet")
    check(load(tmp_path / "x.parquet"))


def test_ids_keep_their_order(tmp_path):
    dataset = load(jsonl(tmp_path / "x.jsonl", [[10, 2], [2], [9]]))
    assert dataset.label_names == ["2", "9", "10"]
    assert dataset["train"].labels.tolist() == [[1, 0, 1], [1, 0, 0], [0, 1, 0]]


def test_rows_without_labels_are_left_out_and_counted(tmp_path):
    path = jsonl(tmp_path / "x.jsonl", [*ROWS, None, [None], [["a"]]])
    with pytest.warns(DatasetWarning, match="3 rows left out"):
        dataset = load(path)
    check(dataset)
    reasons = {item.reason: item.count for item in dataset.card.skipped}
    assert reasons == {"no label in 'labels'": 1, "label in 'labels' is no list of strings": 2}


def test_refusals(tmp_path):
    with pytest.raises(DatasetError, match=r"\[1, 0, 1\] names a label twice"):
        load(jsonl(tmp_path / "x.jsonl", [[1, 0, 1]]))
    with pytest.raises(DatasetError, match=r"is a list.*give `task='multilabel'`"):
        load(jsonl(tmp_path / "x.jsonl", ROWS), task="classification")
    with pytest.raises(DatasetError, match="every set of labels is empty"):
        load(jsonl(tmp_path / "x.jsonl", [[], []]))
    with pytest.raises(DatasetError, match="`label_separator`"):
        load(tmp_path / "x.jsonl", label_separator="")
    jsonl(tmp_path / "train.jsonl", ROWS)
    jsonl(tmp_path / "test.jsonl", [["a", "d"]])
    (tmp_path / "x.jsonl").unlink()
    with pytest.raises(DatasetError, match=r"split 'test' that never occur in 'train': 'd'"):
        load(tmp_path)
    assert load(tmp_path, allow_unseen_labels=True)["test"].labels.tolist() == [[1, 0, 0, 1]]


def test_split():
    split = Split(["p", "q", "r"], labels=[[1, 1], [0, -1], [0, 1]], label_names=["x", "y"])
    assert split[0] == {"text": "p", "label": ["x", "y"]} and split[1]["label"] == []
    assert split.class_counts == {"x": 1, "y": 2}
    assert split[[0, 2]].labels.tolist() == [[1, 1], [0, 1]]
    assert len(split.take(2)) == 2
    assert repr(split) == "Split(3 rows, sets of 2 labels)"
    assert Split(["p"], labels=[[True, False]])[0]["label"] == [0]
    with pytest.raises(DatasetError, match="one label a row"):
        _ = split.label_strings
    with pytest.raises(DatasetError, match="needs class labels"):
        split.take(1, per_class=True)
    with pytest.raises(DatasetError, match="2 columns and `label_names` has 1"):
        Split(["p"], labels=[[1, 0]], label_names=["x"])
    with pytest.raises(DatasetError, match="must hold 0, 1"):
        Split(["p"], labels=[[1, 2]])
