"""Files and folders: columns, labels, and everything that can be wrong with them."""

import csv
import gzip
import json
import warnings

import numpy as np
import pytest

from kzoo.datasets import DatasetError, DatasetWarning, load


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def jsonl(path, *rows):
    return write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


@pytest.fixture(autouse=True)
def no_warning_goes_unnoticed():
    with warnings.catch_warnings():
        warnings.simplefilter("error", DatasetWarning)
        yield


def test_one_jsonl_file_is_the_training_split(tmp_path):
    path = jsonl(
        tmp_path / "x.jsonl",
        {"text": "b\u2028é", "intent": "on", "id": 7},
        {"text": "a", "intent": "off", "id": 8},
    )
    data = load(str(path))
    assert data["train"].texts == ["b\u2028é", "a"]
    assert data.label_names == ["off", "on"]
    assert data["train"].labels.tolist() == [1, 0]
    assert data["train"].ids == ["7", "8"]
    assert data.card.columns == {"text": "text", "label": "intent", "ids": "id"}
    assert load(path, split="train").label_strings == ["on", "off"]


def test_csv_quotes_and_integer_labels_in_their_order(tmp_path):
    path = write(tmp_path / "x.csv", '\ufefftext,label\r\n"a, ""b""\nc",10\r\nd,9\r\n\r\ne,10\r\n')
    data = load(path)
    assert data["train"].texts == ['a, "b"\nc', "d", "e"]
    assert data.label_names == ["9", "10"]
    assert data["train"].labels.tolist() == [1, 0, 1]


def test_tsv_keeps_quotation_marks_and_can_have_no_header(tmp_path):
    path = write(tmp_path / "x.tsv", 'say "hi\t1\n"quoted"\t0\n')
    assert load(path, columns=["text", "label"])["train"].texts == ['say "hi', '"quoted"']
    quoted = write(tmp_path / "q.tsv", 'text\tlabel\n"a\tb"\t1\n')
    assert load(quoted, quoting=True)["train"].texts == ["a\tb"]


def test_folder_with_aliases_gz_and_pairs(tmp_path):
    (tmp_path / "train.csv.gz").write_bytes(
        gzip.compress(b"premise,hypothesis,label\na,b,x\nc,d,y\n")
    )
    write(tmp_path / "dev.csv", "hypothesis,premise,label\nf,e,y\n")
    write(tmp_path / "test.tsv", "premise\thypothesis\ng\th\n")
    write(tmp_path / "README.md", "not a split")
    data = load(tmp_path)
    assert list(data) == ["train", "validation", "test"]
    assert data["train"].inputs == [("a", "b"), ("c", "d")]
    assert data["validation"].inputs == [("e", "f")]
    assert data["validation"].label_strings == ["y"]
    assert data["test"].labels is None
    assert data.card.notes == ("split 'test' has no column 'label', so it is unlabelled",)


def test_scores_are_regression(tmp_path):
    rows = [{"sentence1": "a", "sentence2": "b", "score": s} for s in (5, 0, 2.5)]
    data = load(jsonl(tmp_path / "x.jsonl", *rows))
    assert data.label_names is None and data["train"].labels.dtype == np.float32
    assert data["train"].labels.tolist() == [5.0, 0.0, 2.5]
    stars = write(tmp_path / "s.csv", "text,label\na,5\nb,1\n")
    assert load(stars).num_classes == 2
    assert load(stars, task="regression")["train"].labels.tolist() == [5.0, 1.0]


def test_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    table = pa.table({"content": ["a", None, "c"], "category": ["x", "y", "x"]})
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.warns(DatasetWarning, match=r"1 x no text in 'content' \(x.parquet:2\)"):
        data = load(tmp_path / "x.parquet")
    assert data["train"].texts == ["a", "c"] and data.label_names == ["x"]
    write(tmp_path / "broken.parquet", "PAR1 no")
    with pytest.raises(DatasetError, match="not a readable Parquet file"):
        load(tmp_path / "broken.parquet")


def test_parquet_without_pyarrow_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(DatasetError, match=r'pip install "kzoo\[parquet\]"'):
        load(write(tmp_path / "x.parquet", ""))


BAD = (
    '{"text": "good", "label": "a"}\n'
    '{"text": "cut off", "la\n'
    "\n"
    '["a", "list"]\n'
    '{"label": "a"}\n'
    '{"text": 5, "label": "a"}\n'
    '{"text": " ", "label": "a"}\n'
    '{"text": "no label"}\n'
    '{"text": "nan", "label": NaN}\n'
    '{"text": "good too", "label": "b"}\n'
)


def test_bad_rows_are_counted_with_their_lines(tmp_path):
    path = write(tmp_path / "x.jsonl", BAD)
    with pytest.warns(DatasetWarning, match="7 rows left out") as caught:
        data = load(path)
    assert len(caught) == 1
    assert data["train"].texts == ["good", "good too"]
    assert {item.reason: item.where for item in data.card.skipped} == {
        "line is not JSON": ("x.jsonl:2",),
        "line is not a JSON object": ("x.jsonl:4",),
        "no text in 'text'": ("x.jsonl:5", "x.jsonl:7"),
        "'text' is not a string": ("x.jsonl:6",),
        "no label in 'label'": ("x.jsonl:8", "x.jsonl:9"),
    }
    assert data.card.num_skipped == 7
    assert data.summary()["skipped"]["no text in 'text'"] == 2


def test_strict_refuses_the_first_bad_row(tmp_path):
    with pytest.raises(DatasetError, match=r"x\.jsonl:2: line is not JSON"):
        load(write(tmp_path / "x.jsonl", BAD), strict=True)


def test_long_documents_are_read(tmp_path):
    """Python's csv stops at 131,072 characters, and takes the rest for rows."""
    document = 'a "quoted" line, and\nmore\n' * 10_000
    rows = [["text", "label"], [document, "a"], ["short", "b"], [document, "b"]]
    with open(tmp_path / "x.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    before = csv.field_size_limit()
    split = load(tmp_path / "x.csv")["train"]
    assert split.texts == [document, "short", document]
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(
    ("written", "names"),
    [
        (["01", "1", "1_1", "11"], ["01", "1", "11", "1_1"]),
        (["1.0", "2.0", "1.0", "2.0"], ["1.0", "2.0"]),
        (["10", "9", "-1", "9"], ["-1", "9", "10"]),
    ],
)
def test_labels_are_read_as_written(tmp_path, written, names):
    lines = "".join(f"text {n},{label}\n" for n, label in enumerate(written))
    split = load(write(tmp_path / "x.csv", f"text,label\n{lines}"))["train"]
    assert split.label_names == names
    assert [names[label] for label in split.labels] == written


def test_wrong_field_counts_are_counted(tmp_path):
    path = write(tmp_path / "x.csv", 'text,label\n"two\nlines",a\nb\nc,a,d\n"e" f,a\ng,b\n')
    with pytest.warns(DatasetWarning):
        data = load(path)
    assert data["train"].texts == ["two\nlines", "g"]
    places = {item.reason: item.where for item in data.card.skipped}
    assert places["wrong number of fields (expected 2)"] == ("x.csv:4", "x.csv:5")
    assert [where for reason, where in places.items() if "malformed" in reason] == [("x.csv:6",)]
    with pytest.raises(DatasetError, match=r"x\.csv:4: wrong number of fields"):
        load(path, strict=True)


def test_a_quotation_mark_that_is_never_closed_does_not_swallow_the_rest(tmp_path):
    path = write(tmp_path / "x.csv", 'text,label\na,x\n"b,y\nc,x\nd,y\n')
    with pytest.raises(DatasetError, match=r"x\.csv:3: a quotation mark is never closed"):
        load(path)
    assert load(path, quoting=False)["train"].texts == ["a", '"b', "c", "d"]


def test_not_utf8_names_file_offset_and_the_way_out(tmp_path):
    path = write(tmp_path / "x.csv", "text,label\ncafé,a\nb,c\n", "latin-1")
    with pytest.raises(
        DatasetError, match=r"x\.csv' is not utf-8: byte 0xe9 at offset 14.*encoding="
    ):
        load(path)
    assert load(path, encoding="latin-1")["train"].texts == ["café", "b"]
    path = write(tmp_path / "y.csv", "text,label\na,b\n", "utf-16")
    with pytest.raises(DatasetError, match="encoding='utf-16'"):
        load(path)
    assert load(path, encoding="utf-16")["train"].texts == ["a"]
    with pytest.raises(DatasetError, match="`encoding` 'utf-9' is unknown"):
        load(path, encoding="utf-9")


def test_labels_that_training_does_not_have(tmp_path):
    write(tmp_path / "train.csv", "text,label\na,x\nb,y\n")
    write(tmp_path / "test.csv", "text,label\nc,x\nd,z\n")
    with pytest.raises(DatasetError, match="'test' that never occur in 'train': 'z'"):
        load(tmp_path)
    data = load(tmp_path, allow_unseen_labels=True)
    assert data.label_names == ["x", "y", "z"] and data["test"].labels.tolist() == [0, 2]


def test_one_class_only_is_visible(tmp_path):
    assert load(write(tmp_path / "x.csv", "text,label\na,x\nb,x\n")).num_classes == 1


def test_unlabelled_and_validation_fraction(tmp_path):
    path = write(tmp_path / "x.csv", "text,n\n" + "".join(f"t{i},0\n" for i in range(10)))
    data = load(path, labelled=False, validation_fraction=0.3, seed=2)
    assert data["train"].labels is None and data.label_names is None
    assert (len(data["train"]), len(data["validation"])) == (7, 3)
    assert (
        data["dev"].texts
        == load(path, labelled=False, validation_fraction=0.3, seed=2)["dev"].texts
    )


HEAD = "text,label\n"


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("x.csv", "", {}, "is empty"),
        ("x.csv", HEAD, {}, "is empty"),
        ("x.jsonl", "\n\n", {}, "is empty"),
        ("x.jsonl", "no\nno\n", {}, "2 x line is not JSON"),
        ("x.csv", HEAD + ",a\n", {}, "no usable row: 1 x no text"),
        ("x.csv", "body,label\na,b\n", {}, "`text_column`.*'body', 'label'"),
        ("x.csv", "text,kind\na,b\n", {}, "`label_column`.*'text', 'kind'"),
        ("x.csv", "text,review,label\na,b,c\n", {}, "'text' and 'review'.*`text_column`"),
        ("x.csv", "text,label,intent\na,b,c\n", {}, "'label' and 'intent'.*`label_column`"),
        ("x.csv", "sentence1,sentence2,text,label\na,b,c,d\n", {}, "'text' could be the texts"),
        ("x.csv", "text,text,label\na,b,c\n", {}, "occurs twice"),
        ("x.csv", HEAD + "a,b\n", {"text_column": "Text"}, "`text_column` 'Text' is not a column"),
        ("x.csv", HEAD + "a,b\n", {"labelled": False, "label_column": "label"}, "leave one"),
        ("x.csv", HEAD + "a,b\n", {"task": "ranking"}, "`task` must be.*'ranking'"),
        ("x.csv", HEAD + "a,b\n", {"task": "regression"}, "label 'b'.*not a finite number"),
        ("x.csv", HEAD + "a,b\n", {"data_dir": "d"}, "`data_dir` means nothing"),
        ("x.csv", HEAD + "a,b\n", {"split": "test"}, "`split` 'test'.*'train'"),
        ("x.jsonl", '{"text": "a", "label": 1}\n', {"columns": ["text"]}, "`columns`"),
        ("x.csv", '"text" x,label\na,b\n', {}, "x.csv:1: the header line is malformed"),
        ("x.txt", "a\n", {}, "no known suffix; use one of .jsonl"),
        ("x.csv.gz", "not gzip", {}, "not a complete gzip file"),
        (
            "x.jsonl",
            '{"text": "a", "label": 1}\n{"text": "b", "label": "one"}\n',
            {},
            r"mix strings \('one'\) and numbers \(1\)",
        ),
    ],
)
def test_one_clear_error(tmp_path, name, content, options, message):
    with pytest.raises(DatasetError, match=message):
        load(write(tmp_path / name, content), **options)


def test_folders_without_or_with_two_of_a_split(tmp_path):
    with pytest.raises(DatasetError, match=r"has no split.*found nothing"):
        load(tmp_path)
    write(tmp_path / "dev.csv", HEAD)
    write(tmp_path / "val.tsv", HEAD)
    with pytest.raises(DatasetError, match=r"'dev\.csv' and 'val\.tsv'.*both the 'validation'"):
        load(tmp_path)


def test_missing_file_and_missing_column_in_a_later_split(tmp_path):
    with pytest.raises(DatasetError, match=r"`name_or_path` '.*gone.csv' does not exist"):
        load(tmp_path / "gone.csv")
    write(tmp_path / "train.csv", "text,label\na,b\n")
    write(tmp_path / "test.csv", "sentence,label\na,b\n")
    with pytest.raises(DatasetError, match=r"test\.csv' lacks column 'text'.*'sentence'"):
        load(tmp_path)
