"""What is read for a path, a list, a pattern or an object."""

import gzip

import numpy as np
import pytest
from corpus_samples import put, read, samples

from retrieval_index.corpus.document import Document
from retrieval_index.corpus.formats import readable, readable_kinds
from retrieval_index.corpus.lines import MAX_ARRAY_VALUES
from retrieval_index.corpus.opening import open_corpus
from retrieval_index.errors import ArgumentError, CorpusError


def ids(corpus, **options):
    return [document.id for document in read(corpus, strict=True, **options)[0]]


# --- paths, lists, patterns -----------------------------------------------------------------------


@pytest.fixture
def notes(tmp_path, monkeypatch):
    for name in ("notes/a.txt", "notes/sub/b.md", "notes/sub/c.txt", "more/a.txt"):
        put(tmp_path / name, f"Text of {name}.")
    put(tmp_path / "notes/picture.png", "?")
    put(tmp_path / "d.jsonl", '{"id": "d", "text": "Dee."}\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_list_of_paths_has_ids_as_given(notes):
    given = ["notes", "d.jsonl", "more/a.txt"]
    expected = ["notes/a.txt", "notes/sub/b.md", "notes/sub/c.txt", "d", "more/a.txt"]
    assert ids(given) == ids(tuple(given)) == expected
    assert ids([notes / name for name in given[1:]]) == ["d", (notes / "more/a.txt").as_posix()]
    assert ids(["more/*.txt", "d.jsonl"]) == ["more/a.txt", "d"]
    assert open_corpus(given).description == "3 paths"


@pytest.mark.parametrize(
    "pattern, expected",
    [
        ("notes/**/*.txt", ["a.txt", "sub/c.txt"]),
        ("notes/*", ["a.txt"]),
        ("*/a.txt", ["more/a.txt", "notes/a.txt"]),
        ("notes/sub/[bc].*", ["b.md", "c.txt"]),
        ("?.jsonl", ["d"]),
    ],
)
def test_pattern_has_ids_below_its_fixed_part(notes, pattern, expected):
    assert ids(pattern) == expected
    assert ids(str(notes / pattern)) == expected


def test_pattern_counts_what_it_cannot_read(notes):
    assert read("notes/*")[1].ignored_files == {".png": 1}
    with pytest.raises(CorpusError, match=r"'\*\.xyz': no file matches"):
        open_corpus("*.xyz")
    with pytest.raises(CorpusError, match="none of the 1 files is readable"):
        open_corpus("notes/*.png")


def test_file_whose_name_looks_like_a_pattern(notes):
    put(notes / "a[1].txt", "x")
    assert ids("a[1].txt") == ["a[1].txt"]


def test_list_with_a_path_that_is_missing_is_no_list_of_texts(notes):
    for missing in (["d.jsonl", "typo.jsonl"], ["typo.jsonl"], [notes / "typo.jsonl"]):
        with pytest.raises(CorpusError, match=r"there is nothing at '.*typo\.jsonl'"):
            open_corpus(missing)
    with pytest.raises(CorpusError, match=r"received the file .*picture\.png"):
        open_corpus(["notes", "notes/picture.png"])


@pytest.mark.parametrize(
    "texts",
    [["notes", "but no path"], ["Read readme.txt", "x"], ["a\0.txt x", "\0"], ["x" * 5000], [""]],
)
def test_list_of_texts_stays_one(notes, texts):
    documents, _ = read(texts)
    assert [d.text for d in documents] == [text for text in texts if text]


@pytest.mark.parametrize("packed", [None, "gz", "zst"])
@pytest.mark.parametrize("beside", ["queries.jsonl", "qrels/test.tsv", None])
def test_folder_in_the_layout_of_beir(tmp_path, beside, packed):
    if packed == "zst":
        pytest.importorskip("zstandard")
    pack = {None: bytes, "gz": gzip.compress, "zst": samples.zst}[packed]
    put(
        tmp_path / f"corpus.jsonl{f'.{packed}' if packed else ''}",
        pack(b'{"_id": "1", "text": "a"}'),
    )
    put(tmp_path / "readme.txt", "About.")
    if beside:
        put(tmp_path / beside, '{"_id": "q", "text": "query?"}')
    assert ids(tmp_path) == (["1"] if beside else ["1", "readme.txt"])
    assert ids([tmp_path])[0] == "1"


def test_paths_that_are_refused(tmp_path):
    for corpus in (tmp_path / "absent.csv", "", "\0"):
        with pytest.raises(CorpusError, match=r"`corpus` must be a .*there is nothing at"):
            open_corpus(corpus)


def test_registered_kinds_are_in_the_message():
    kinds = readable_kinds()
    assert ("PDF", (".pdf",), "pypdf") in kinds
    assert [kind for kind, _, _ in kinds][:2] == ["JSON lines", "CSV"]
    for _, suffixes, _ in kinds:
        assert all(suffix in readable() for suffix in suffixes)


# --- objects --------------------------------------------------------------------------------------


class Tensor:
    """An eager tensor as TensorFlow and PyTorch have it: `numpy()` tells its value."""

    def __init__(self, value):
        self.value = np.asarray(value)

    def numpy(self):
        return self.value[()]


class Ragged:
    row_splits = ()

    def to_list(self):
        return [[b"a"], [b"b", b"c"]]


def test_tensors_and_numpy_values_become_plain():
    item = {
        "id": Tensor(7), "text": Tensor("größer".encode()), "title": np.bytes_(b"T"),
        "score": np.float32(0.5), "ok": np.bool_(True), "many": np.array([b"x", b"y"], object),
        "ragged": Ragged(), "day": np.datetime64("2020-01-02"), "word": np.str_("w"),
        "at": np.datetime64("2020-01-02T03:04:05", "ns"), "nested": {b"k": (np.int8(1), None)},
    }  # fmt: skip
    (document,) = read([item], strict=True)[0]
    assert document == Document(
        "7", "größer", "T",
        {
            "score": 0.5, "ok": True, "many": ["x", "y"], "ragged": [["a"], ["b", "c"]],
            "day": "2020-01-02", "word": "w", "at": "2020-01-02T03:04:05.000000000",
            "nested": {"k": [1, None]},
        },
    )  # fmt: skip
    assert all(
        type(value) in (str, int, float, bool, list, dict) for value in document.metadata.values()
    )
    assert read([(Tensor(1), Tensor(b"pair"))], True)[0] == [Document("1", "pair")]
    assert read([Tensor(b"alone"), b"bytes"], True)[0][0].text == "alone"


def test_values_that_are_no_metadata():
    image = {"id": "a", "text": "t", "image": np.zeros((40, 40))}
    log = read([image, {"text": b"\xff"}])[1]
    assert log.skipped == {"bad_metadata": 1, "not_utf8": 1}
    assert f"1600 values; metadata holds at most {MAX_ARRAY_VALUES}" in log.examples[0].detail
    assert read([image], True, fields={"metadata": ()})[0] == [Document("a", "t")]
    assert read([{"text": b"\xe9"}], True, encoding="latin-1")[0][0].text == "é"


def test_tensorflow_data_set():
    tf = pytest.importorskip("tensorflow")
    data = tf.data.Dataset.from_tensor_slices({"id": [1, 2], "text": ["ä", "b"], "label": [0, 1]})
    expected = [Document("1", "ä", "", {"label": 0}), Document("2", "b", "", {"label": 1})]
    assert read(data, True)[0] == expected == read(data.as_numpy_iterator(), True)[0]
    with pytest.raises(CorpusError, match="its columns: 'id', 'text', 'label'"):
        read(data, fields={"text": "body"})


class Dataset:
    """What `datasets.Dataset` shows of itself."""

    column_names = ("name", "body")

    def __iter__(self):
        return iter([{"name": "a", "body": "A."}])


class DatasetDict(dict):
    pass


def test_hugging_face_data_set():
    fields = {"id": "name", "text": "body"}
    assert read(Dataset(), True, fields=fields)[0] == [Document("a", "A.")]
    with pytest.raises(CorpusError, match=r"has no column 'text'; its columns: 'name', 'body'"):
        read(Dataset())
    with pytest.raises(CorpusError, match=r"'train', 'test'\. Of several splits, give one"):
        open_corpus(DatasetDict(train=Dataset(), test=Dataset()))


def test_data_frame_is_refused_with_the_way_out():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"id": ["a"], "text": ["A."]})
    with pytest.raises(CorpusError, match=r"to_dict\('records'\)"):
        open_corpus(frame)
    assert read(frame.to_dict("records"), True)[0] == [Document("a", "A.")]


# --- options --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, message",
    [
        ({"encoding": "utf-9"}, "`encoding` must name a text encoding"),
        ({"encoding": "hex"}, "`encoding` must name a text encoding"),
        ({"encoding": None}, "`encoding` must name"),
        ({"encoding_errors": "surrogateescape"}, "`encoding_errors` must be one of 'strict'"),
    ],
)
def test_encodings_that_are_refused(options, message):
    with pytest.raises(ArgumentError, match=message):
        open_corpus([], **options)


def test_encoding_that_has_no_lines(tmp_path):
    path = put(tmp_path / "c.csv", "id,text\n")
    with pytest.raises(ArgumentError, match="cannot be read by lines"):
        read(path, encoding="cp500")
    assert read(put(tmp_path / "a.txt", "x".encode("cp500")), encoding="cp500")[0][0].text == "x"
