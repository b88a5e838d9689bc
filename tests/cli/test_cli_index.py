"""`kzoo index`: an index through its life, on the command line."""

import inspect
import io
import json
import sys

import pytest
from index_toys import documents, write_corpus, write_judgements

import retrieval_index
from kzoo.cli import index as commands


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(tmp_path / "corpus.jsonl")


@pytest.fixture
def built(kzoo, corpus, tmp_path):
    """An index of 60 documents with inverted lists, so that there is something to tune."""
    out = tmp_path / "index"
    answer = kzoo("index", "build", corpus, out, "--encoder", "hashing", "--index", "IVF4,SQ8")
    assert answer.code == 0, answer.err
    return out


def as_json(answer):
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


@pytest.mark.parametrize(
    ("command", "function", "elsewhere"),
    [
        (commands.build, retrieval_index.build, {"progress"}),
        (commands.add, retrieval_index.add, {"progress"}),
        (commands.update, retrieval_index.update, {"progress"}),
        (commands.delete, retrieval_index.delete, set()),
        (commands.compact, retrieval_index.compact, {"progress"}),
        (commands.merge, retrieval_index.merge, {"progress"}),
        (commands.search, retrieval_index.Index.search, {"self"}),
        (commands.search, retrieval_index.open, {"checksums"}),
        (commands.tune, retrieval_index.tune, set()),
        (commands.evaluate, retrieval_index.evaluate, {"index", "progress", "search_options"}),
        (commands.evaluate, retrieval_index.tune_fusion, set()),
        (commands.export, retrieval_index.export, set()),
        (commands.snapshot, retrieval_index.snapshot, set()),
    ],
)
def test_every_argument_of_the_library_is_an_option(command, function, elsewhere):
    """`progress` is --quiet, `checksums` --no-checksums, `index` and `search_options` PATH ..."""
    wanted = set(inspect.signature(function).parameters) - elsewhere
    assert wanted <= set(inspect.signature(command).parameters)


def test_build_tells_what_was_chosen_and_measured(kzoo, corpus, tmp_path):
    corpus.write_text(corpus.read_text() + '{"_id": "d0", "text": "again"}\n{"_id": "x"}\n')
    out = tmp_path / "index"
    answer = kzoo("index", "build", corpus, out, "--encoder", "hashing", "--index", "IVF4,SQ8")
    assert answer.code == 0
    entry = retrieval_index.open(out).info()["segments"][0]["vectors"]
    assert entry["factory"] == "IVF4,SQ8"
    for words in (
        "IVF4,SQ8 was asked for",
        f"{entry['measured']['recall']:.3f} of the 10 that exact search finds",
        f"{entry['measured']['milliseconds']:.2f} ms a query",
        f"nprobe {entry['parameters']['nprobe']}",
        "1 duplicate id",
        f"kzoo index search {out}",
    ):
        assert words in answer.out
    assert "warning: CORPUS: 2 entries passed over" in answer.err


def test_build_options(kzoo, tmp_path):
    rows = [
        {
            "doi": f"x{n}",
            "head": "H",
            "abstract": "one two",
            "body": f"three four n{n}",
            "y": str(n),
        }
        for n in range(30)
    ]
    rows.append(rows[0] | {"doi": "copy"})
    path = tmp_path / "papers.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = as_json(
        kzoo(
            *("index", "build", path, tmp_path / "index", "--encoder", "hashing:32", "--json"),
            *("--field", "id=doi", "--field", "title=head", "--field", "text=abstract,body"),
            *("--field", "metadata=y:int", "--duplicates", "skip", "--require-ids"),
            *("--chunking", "sentences", "--chunk-size", 20, "--overlap", 2),
            *("--language", "de", "--k1", 1.2, "--b", 0.7, "--memory", "500MB", "--latency", 5),
            *("--recall", 0.9, "--deletes", "--seed", 3, "--batch-size", 8, "--shard-size", 16),
            *("--encoding", "latin-1", "--no-normalize", "--no-reproducible", "--quiet"),
        )
    )
    index, report = found["index"], found["report"]
    assert index["chunker"]["method"] == "sentences"
    assert (index["chunker"]["size"], index["chunker"]["overlap"]) == (20, 2)
    assert index["lexical"]["analyzer"]["language"] == "de"
    assert (index["lexical"]["k1"], index["lexical"]["b"]) == (1.2, 0.7)
    options = index["options"]
    assert (options["memory"], options["latency"], options["recall"]) == (500_000_000, 5.0, 0.9)
    assert options["deletes"] and not options["reproducible"] and options["seed"] == 3
    assert not index["encoder"]["normalize"] and index["encoder"]["dimension"] == 32
    assert report["documents"] == 30 and sum(report["skipped"].values()) == 1
    with retrieval_index.open(tmp_path / "index") as opened:
        document = opened.document("x7")
        assert document.text == "one two\n\nthree four n7" and document.metadata == {"y": 7}


def test_no_lexical_and_several_files(kzoo, tmp_path):
    for name in ("a.txt", "b.md"):
        (tmp_path / name).write_text(f"The text of {name}.")
    words = ("index", "build", tmp_path / "a.txt", tmp_path / "b.md", tmp_path / "index")
    found = as_json(kzoo(*words, "--encoder", "hashing", "--no-lexical", "--json"))
    assert found["index"]["lexical"] is None and found["report"]["documents"] == 2
    answer = kzoo("index", "search", tmp_path / "index", "text", "--mode", "lexical")
    assert answer.code == 2 and answer.err.startswith("error: --mode: this index has no lexical")
    assert "--mode dense" in answer.err


def test_add_update_delete_compact(kzoo, built, tmp_path, monkeypatch):
    more = tmp_path / "more.jsonl"
    changed = documents(1)[0] | {"text": "entirely other words"}
    more.write_text(json.dumps(changed) + '\n{"_id": "new", "text": "something new"}\n')
    answer = kzoo("index", "add", built, more)
    assert answer.code == 0 and "1 existing id" in answer.out
    assert "Version 2: 61 documents, 61 passages in 2 segments." in answer.out
    found = as_json(kzoo("index", "update", built, more, "--json"))
    assert (found["documents"], found["replaced"], found["unchanged"]) == (1, 1, 1)
    answer = kzoo("index", "update", built, more)
    assert "Nothing new: the index is as it was." in answer.out

    assert as_json(kzoo("index", "delete", built, "new", "--json")) == {"deleted": 1}
    answer = kzoo("index", "delete", built, "d1", "nope")
    assert answer.code == 2 and "has no document nope" in answer.err
    assert "--missing ignore" in answer.err
    answer = kzoo("index", "delete", built, "d1", "nope", "--missing", "ignore")
    assert answer.out.startswith("1 document deleted. Version 5: 59 documents")
    (tmp_path / "ids.txt").write_text("d2\n\nd3\n")
    answer = kzoo("index", "delete", built, "--ids-from", tmp_path / "ids.txt")
    assert "2 documents deleted" in answer.out and f"kzoo index compact {built}" in answer.out
    count = as_json(kzoo("index", "delete", built, "--where", "year=2005", "--json"))["deleted"]
    assert count == sum(d["year"] == 2005 for d in documents())
    assert "0 documents deleted. The index is as it was." in (
        kzoo("index", "delete", built, "--where", "year=2005").out
    )
    shown = kzoo("index", "info", built).out
    assert "s000001" in shown and "s000003" in shown and "(see compact)" in shown
    answer = kzoo("index", "compact", built)
    assert "51 documents, 51 passages in 1 segment." in answer.out
    assert "Nothing to do" in kzoo("index", "compact", built).out
    assert as_json(kzoo("index", "verify", built, "--json"))["documents"] == 51
    answer = kzoo("index", "verify", built)
    assert "all is well" in " ".join(answer.out.split())  # a long path wraps the title


def test_deleting_asks_in_a_terminal(kzoo, built, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    def count():
        with retrieval_index.open(built, checksums=False) as opened:
            return opened.info()["documents"]

    def answering(text, *words):
        asked = []
        monkeypatch.setattr(sys, "stdin", Terminal(""))
        monkeypatch.setattr("typer.confirm", lambda line, **_: asked.append(line) or text == "y")
        answer = kzoo("index", "delete", built, *words)
        assert answer.code == 0, answer.err
        return asked, answer

    asked, answer = answering("n", "--where", '{"year": {"$gte": 2008}}')
    assert asked == [f"Delete 12 documents of {built}?"] and "nothing deleted" in answer.err
    assert count() == 60
    asked, _ = answering("y", "d1", "d2", "nope", "--missing", "ignore")
    assert asked == [f"Delete 2 documents of {built}?"] and count() == 58
    asked, _ = answering("n", "d3", "--yes")
    assert asked == [] and count() == 57


def test_snapshots(kzoo, built):
    assert "has no snapshots" in kzoo("index", "snapshots", built).out
    assert "--snapshot before" in kzoo("index", "snapshot", built, "before").out
    assert kzoo("index", "delete", built, "--where", "lang=de").code == 0
    (kept,) = as_json(kzoo("index", "snapshots", built, "--json"))
    assert (kept["name"], kept["documents"]) == ("before", 60)
    assert "before" in kzoo("index", "snapshots", built).out
    assert as_json(kzoo("index", "info", built, "--json"))["documents"] == 30
    words = ("index", "info", built, "--snapshot", "before", "--json")
    assert as_json(kzoo(*words))["documents"] == 60
    words = ("index", "search", built, "number0", "--mode", "lexical", "--json")
    assert as_json(kzoo(*words))[0]["passages"] == []
    found = as_json(kzoo(*words, "--snapshot", "before"))
    assert found[0]["passages"][0]["document_id"] == "d0"
    assert kzoo("index", "restore", built, "before").code == 0
    assert as_json(kzoo("index", "info", built, "--json"))["documents"] == 60
    assert kzoo("index", "drop-snapshot", built, "before").code == 0
    answer = kzoo("index", "restore", built, "before")
    assert answer.code == 2 and "there are none" in answer.err


def test_shards_merge_to_the_whole(kzoo, corpus, built, tmp_path):
    out = tmp_path / "whole"
    words = ("index", "build", corpus, out, "--encoder", "hashing", "--shard-num", 2)
    for number in (0, 1):
        answer = kzoo(*words, "--shard-id", number)
        assert answer.code == 0 and f"kzoo index finish {out} --shard-num 2" in answer.out
    assert "there already" in kzoo(*words, "--shard-id", 0).out
    assert as_json(kzoo(*words, "--shard-id", 1, "--json"))["part"]["done_before"]
    answer = kzoo("index", "finish", out, "--shard-num", 3)
    assert answer.code == 2 and "part" in answer.err
    answer = kzoo("index", "finish", out, "--shard-num", 2, "--remove-parts")
    assert answer.code == 0 and "60" in answer.out
    with retrieval_index.open(out) as made, retrieval_index.open(built) as whole:
        assert [d.id for d in made.documents()] == [d.id for d in whole.documents()]
        assert made.search("number", 5) == whole.search("number", 5)
    assert sorted(p.name for p in tmp_path.iterdir() if "whole" in p.name) == ["whole"]


def test_merge(kzoo, corpus, built, tmp_path):
    other = tmp_path / "other"
    assert kzoo("index", "build", corpus, other, "--encoder", "hashing").code == 0
    words = ("index", "merge", built, other, "--out", tmp_path / "all")
    answer = kzoo(*words)
    assert answer.code == 0 and "60 duplicate id" in answer.out
    assert "--overwrite" in kzoo(*words).err
    assert as_json(kzoo(*words, "--overwrite", "--json"))["index"]["documents"] == 60


def test_export(kzoo, built, tmp_path):
    found = as_json(kzoo("index", "export", built, tmp_path / "out", "--json"))
    assert found["documents"] == found["passages"] == 60
    assert sorted(found["files"]) == sorted(p.name for p in (tmp_path / "out").iterdir())
    answer = kzoo("index", "export", built, tmp_path / "out")
    assert answer.code == 2 and "must be a new folder" in answer.err
    assert (
        "--format must be one of"
        in kzoo("index", "export", built, tmp_path / "other", "--format", "csv").err
    )
    assert "corpus.jsonl" in kzoo("index", "export", built, tmp_path / "third").out


def test_tune(kzoo, built, tmp_path):
    queries, _ = write_judgements(tmp_path)
    (entry,) = as_json(kzoo("index", "tune", built, "--recall", 1, "--seed", 1, "--json"))
    assert entry["target"] == 1.0 and entry["recall"] > 0.9
    pytest.importorskip("matplotlib")
    plot = tmp_path / "tune.png"
    answer = kzoo("index", "tune", built, "--queries", queries, "--plot", plot, "--latency", 100)
    assert answer.code == 0, answer.err
    assert "nprobe" in answer.out and f"Picture: {plot}" in answer.out
    assert "measured with 5 given queries" in answer.out
    assert plot.read_bytes().startswith(b"\x89PNG")
    (tmp_path / "q.txt").write_text("files\n\nlists\n")
    answer = kzoo("index", "tune", built, "--queries", tmp_path / "q.txt", "--json")
    assert as_json(answer)[0]["queries"] == 1


def test_ctrl_c(kzoo, built, corpus, tmp_path, monkeypatch):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    out = tmp_path / "other"
    words = ("index", "build", corpus, out, "--encoder", "hashing")
    with monkeypatch.context() as patch:
        patch.setattr("retrieval_index.encoders.hashing.HashingEncoder.encode", stop)
        answer = kzoo(*words)
        assert answer.code == 130
        assert answer.err == "interrupted: nothing kept; the same command starts again\n"
    with monkeypatch.context() as patch:
        patch.setattr("retrieval_index.building.builder.commit", stop)
        answer = kzoo(*words, "--shard-size", 32)
        assert "interrupted: 2 shards of encoded passages kept; the same" in answer.err
    assert "60 passages of a run" in kzoo(*words, "--shard-size", 32).out
    for words in (["delete", built, "d1"], ["tune", built], ["compact", built]):
        with monkeypatch.context() as patch:
            patch.setattr(f"retrieval_index.{words[0]}", stop)
            answer = kzoo("index", *words)
        assert (answer.code, answer.err) == (
            130,
            "interrupted: the index is as it was; the same command starts again\n",
        )
