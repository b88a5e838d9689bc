"""Wrong command lines of `kzoo index`: one line, exit code 2, in words of the shell."""

import pytest
from index_toys import write_corpus, write_judgements

from kzoo.cli.main import main


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mistaken")
    corpus = write_corpus(folder / "corpus.jsonl", 9)
    write_judgements(folder)
    assert main(["index", "build", str(corpus), str(folder / "index"), "--encoder", "hashing"]) == 0
    return folder


@pytest.fixture
def mistake(kzoo, place, tmp_path):
    """Runs `kzoo index ...` in words with INDEX, CORPUS, OUT for paths; returns the one line."""

    def call(line, *more):
        paths = {"INDEX": place / "index", "CORPUS": place / "corpus.jsonl", "OUT": tmp_path / "o"}
        words = [paths.get(word, word) for word in line.split()]
        answer = kzoo("index", *words, *more)
        assert answer.code == 2, answer
        assert answer.err.count("\n") == 1 and answer.err.startswith("error: "), answer.err
        assert not (tmp_path / "o").exists()
        return answer.err

    return call


BUILD = "build CORPUS OUT --encoder hashing "


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--chunking windows", "--chunking must be one of 'tokens'"),
        ("--chunk-size 0", "--chunk-size must"),
        ("--index IDMap2,Flat", "--index 'IDMap2,Flat' is refused"),
        ("--index Fancy", "--index 'Fancy'"),
        ("--memory lots", "--memory must be bytes or a size such as '500MB'"),
        ("--latency 0", "--latency must be milliseconds above 0"),
        ("--recall 2", "--recall must lie in (0, 1]"),
        ("--duplicates drop", "--duplicates must be one of keep, skip"),
        ("--language xx", "language"),
        ("--k1 -1", "--k1 must lie in"),
        ("--field text", "--field must be FIELD=COLUMN"),
        ("--field tekst=body", "--field has the key 'tekst'"),
        ("--field text=body", "'body'"),
        ("--field id=a,b", "--field id takes one column"),
        ("--field metadata=year:int,lang", "'lang' has none"),
        ("--field metadata=year:date", "--field may convert metadata to str, int"),
        ("--encoding latin-42", "--encoding"),
        ("--shard-id 1", "--shard-id needs --shard-num"),
        ("--shard-num 2", "--shard-num needs --shard-id, or --workers"),
        ("--shard-id 1 --shard-num 2 --workers 2", "--shard-id excludes --workers"),
        ("--address auto", "--address needs --workers"),
        ("--shard-id 2 --shard-num 2", "--shard-id must"),
        ("--no-lexical --language en", "--no-lexical excludes --language"),
    ],
)
def test_build(mistake, line, said):
    assert said in mistake(BUILD + line)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("search INDEX x --mode fuzzy", "--mode must be one of dense, lexical, hybrid"),
        ("search INDEX x --weights 1 2", "add --mode hybrid"),
        ("search INDEX x --fusion rrf --mode lexical", "add --mode hybrid"),
        ("search INDEX x --depth 10", "--depth is about hybrid search and --rerank"),
        ("search INDEX x --mode hybrid --fusion best", "--fusion must be one of rrf"),
        ("search INDEX x --mode hybrid --weights 0 0", "--weights must be two numbers"),
        ("search INDEX x --where lang", "--where must be KEY=VALUE"),
        ("search INDEX x --where year>=2000", "--where must be KEY=VALUE"),
        ("search INDEX x --where {lang:en}", "is not JSON"),
        ('search INDEX x --where {"a":{"$near":1}}', "`where.a.$near` is no operator"),
        ("search INDEX x -k 0", "-k"),
        ("search INDEX x --snapshot none", "--snapshot must be one of those"),
        ("search INDEX x --encoder hashing:8", "--encoder must be the one that built"),
        ("search OUT x", "error: PATH must be the folder of an index"),
        ("info INDEX --verify --snapshot a", "leave out --snapshot"),
        ("add INDEX nowhere.jsonl", "nowhere.jsonl"),
        ("delete INDEX", "give ids (or --ids-from), or --where"),
        ("delete INDEX d1 --where lang=en", "and not both"),
        ("delete INDEX --where lang=en --missing ignore", "--missing is about ids"),
        ("delete INDEX --ids-from nowhere.txt", "No such file"),
        ("merge INDEX", "Missing option '--out'"),
        ("snapshot INDEX a/b", "must be up to 100 letters"),
        ("restore INDEX nothing", "must be a snapshot of"),
        ("tune INDEX --recall 7", "--recall must lie in"),
        ("tune INDEX --queries nowhere.txt", "No such file"),
        ("evaluate INDEX --queries q.tsv", "Missing option '--qrels'"),
        ("evaluate INDEX --queries q.tsv --qrels r.tsv", "--queries q.tsv cannot be read"),
        ("evaluate INDEX --queries q --qrels r --test t", "--test is about --compare"),
        ("evaluate INDEX --queries q --qrels r --seed 1", "--seed is about --compare"),
    ],
)
def test_other_commands(mistake, line, said):
    assert said in mistake(line)


def test_a_corpus_whose_text_has_another_name(mistake, tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("id,body\n1,words\n")
    line = mistake("build", path, tmp_path / "o", "--encoder", "hashing")
    assert "its columns: " in line and "--field text=NAME" in line


def test_blank_query(mistake):
    assert "QUERY must not be blank" in mistake("search INDEX", "  ")


def test_metrics(mistake, place):
    files = ("--queries", place / "queries.tsv", "--qrels", place / "qrels.tsv")
    line = mistake("evaluate INDEX", *files, "--metrics", "nDCG@10,Recal@5")
    assert "--metrics" in line and "Recal@5" in line


def test_words_of_other_commands_are_left_alone():
    from kzoo.cli.failures import in_words_of_the_shell

    message = "`test` of 'more.jsonl' has labels that the model does not know"
    assert in_words_of_the_shell(message) == message
    assert in_words_of_the_shell("`test` must be t.", of_index=True) == "--test must be t."
    assert in_words_of_the_shell("Use `mode='dense'`.", of_index=True) == "Use --mode dense."
