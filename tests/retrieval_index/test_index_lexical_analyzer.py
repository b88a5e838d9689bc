"""From text to terms: English as bm25s, other languages and scripts."""

import json
import pickle
import random
import string
import unicodedata

import pytest

from retrieval_index.errors import ArgumentError
from retrieval_index.lexical.analyzer import Analyzer
from retrieval_index.lexical.languages import LANGUAGES

bm25s = pytest.importorskip("bm25s")
Stemmer = pytest.importorskip("Stemmer")

ENGLISH = [
    "The quick brown foxes were jumping over 13 lazy dogs, weren't they?",
    "HTTP_STATUS = 404; see RFC-2616 (section 10.4.5) or e-mail admin@example.org.",
    "Relational databases; generalisations and generalizations of the generals' universities.",
    "It is not for them to be or not to be a I x 7 of such",
    "“Curly quotes” – dashes — and ellipses… don’t harm Java™ or 1½ cups.",
    "",
    " \n\t ",
    "a b c . , !",
]


def as_bm25s(texts, stopwords="en", stemmer="english"):
    return bm25s.tokenize(
        texts,
        stopwords=stopwords,
        stemmer=stemmer and Stemmer.Stemmer(stemmer),
        return_ids=False,
        show_progress=False,
    )


def test_english_terms_are_those_of_bm25s():
    analyzer = Analyzer()
    expected = as_bm25s(ENGLISH)
    assert sum(map(len, expected)) > 30
    assert [analyzer.tokens(text) for text in ENGLISH] == expected


def test_any_ascii_text_gives_the_terms_of_bm25s():
    rng = random.Random(0)
    signs = string.ascii_letters + string.digits + string.punctuation + " \n\t" * 20
    texts = ["".join(rng.choices(signs, k=200)) for _ in range(200)]
    assert [Analyzer().tokens(text) for text in texts] == as_bm25s(texts)


def test_stopwords_and_stemmer_can_be_left_out_and_replaced():
    text = "The running of the bulls"
    assert Analyzer().tokens(text) == ["run", "bull"]
    assert Analyzer(stopwords=False).tokens(text) == ["the", "run", "of", "the", "bull"]
    assert Analyzer(stemmer=False).tokens(text) == ["running", "bulls"]
    assert Analyzer(stopwords=["bulls"]).tokens(text) == ["the", "run", "of", "the"]
    assert Analyzer("none").tokens(text) == ["the", "running", "of", "the", "bulls"]


@pytest.mark.parametrize("code", sorted(LANGUAGES))
def test_every_language_has_the_parts_that_the_table_names(code):
    found = LANGUAGES[code]
    analyzer = Analyzer(code)
    if found.stopwords:
        words = getattr(bm25s.stopwords, found.stopwords)
        assert analyzer.stopwords == set(words)
        long = [w for w in words if len(w) > 1 and w.isalpha() and w.isascii()]
        assert analyzer.tokens(" ".join(long)) == []
    else:
        assert analyzer.stopwords == frozenset()
    if found.stemmer:
        word = "organisation"
        assert analyzer.tokens(word) == Stemmer.Stemmer(found.stemmer).stemWords([word])


def test_the_table_names_all_that_the_two_libraries_have():
    lists = {name for name in dir(bm25s.stopwords) if name.startswith("STOPWORDS_")}
    assert {found.stopwords for found in LANGUAGES.values()} - {None} == lists - {
        "STOPWORDS_EN_PLUS"
    }
    algorithms = set(Stemmer.algorithms()) - {"porter", "dutch_porter"}  # older ones of a language
    assert algorithms <= {found.stemmer for found in LANGUAGES.values()}


def test_german_french_and_russian_are_stemmed_by_their_own_rules():
    assert Analyzer("de").tokens("die Häuser der Städte") == ["haus", "stadt"]
    assert Analyzer("fr").tokens("l'école et les écoles") == ["écol", "écol"]
    assert Analyzer("ru").tokens("книги и книга") == ["книг", "книг"]


def test_accents_are_folded_only_where_the_language_has_none():
    assert Analyzer().tokens("Café naïve Müller Øre Straße") == Analyzer().tokens(
        "cafe naive muller ore strasse"
    )
    assert Analyzer("es", stemmer=False).tokens("año ano") == ["año", "ano"]
    assert Analyzer("none").tokens("café") == ["café"]


def test_composed_and_decomposed_letters_are_one():
    for code in ("en", "fr", "de", "none"):
        text = "résumé Straße über"
        decomposed = unicodedata.normalize("NFD", text)
        assert decomposed != text
        assert Analyzer(code).tokens(decomposed) == Analyzer(code).tokens(text)


def test_shapes_of_letters_are_unified_and_unseen_characters_dropped():
    plain = Analyzer("none").tokens("finding ABC 15μm information")
    assert plain == ["finding", "abc", "15μm", "information"]
    assert Analyzer("none").tokens("ﬁnding ＡＢＣ 15µm infor\u00admation") == plain


def test_turkish_lowers_its_two_letters_i():
    assert Analyzer("tr", stemmer=False).tokens("ISPARTA İZMİR") == ["ısparta", "izmir"]
    assert Analyzer("none").tokens("ISPARTA") == ["isparta"]
    assert Analyzer().tokens("İZMİR") == Analyzer().tokens("izmir")


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("数据库索引", ["数据", "据库", "库索", "索引"]),
        ("データの検索", ["デー", "ータ", "タの", "の検", "検索"]),
        ("데이터베이스 검색", ["데이", "이터", "터베", "베이", "이스", "검색"]),
        ("ภาษา", ["ภา", "าษ", "ษา"]),
        ("水", ["水"]),
        ("使用Python3编程", ["使用", "python3", "编程"]),
        ("ﾃﾞｰﾀ", ["デー", "ータ"]),
        ("𠀀𠀁𠀂", ["𠀀𠀁", "𠀁𠀂"]),
    ],
)
@pytest.mark.parametrize("code", ["none", "de", "ru"])
def test_scripts_without_spaces_become_bigrams_in_every_language(text, terms, code):
    assert Analyzer(code, stemmer=False).tokens(text) == terms


def test_chinese_stopwords_are_dropped_as_bigrams():
    assert "我们" in Analyzer("zh").stopwords
    assert Analyzer("zh").tokens("我们搜索") == ["们搜", "搜索"]


def test_combining_marks_do_not_cut_words():
    assert Analyzer("none").tokens("हिन्दी में खोज") == ["हिन्दी", "में", "खोज"]
    assert Analyzer("none").tokens("كِتَابٌ جديد") == ["كِتَابٌ", "جديد"]


def test_broken_text_has_terms_that_can_be_stored():
    terms = Analyzer().tokens("\ud800abc \udfff 😀 def\ufe0f \x00ghi")
    assert [term.encode("utf-8") for term in terms] == [b"abc", b"def", b"ghi"]


def test_settings_give_the_analyzer_again():
    for analyzer in (
        Analyzer(),
        Analyzer("de", stopwords=False),
        Analyzer("zh", stopwords=["我们", "他们"], stemmer=False),
    ):
        again = Analyzer.from_settings(json.loads(json.dumps(analyzer.settings())))
        assert again == analyzer and hash(again) == hash(analyzer)
        assert again.tokens("The Häuser 我们搜索") == analyzer.tokens("The Häuser 我们搜索")
        assert pickle.loads(pickle.dumps(analyzer)) == analyzer  # Ray sends it so
    assert Analyzer() != Analyzer("de")
    assert Analyzer() != Analyzer(stopwords=False)


def test_terms_stay_the_same_when_the_memory_for_words_is_full(monkeypatch):
    from retrieval_index.lexical import analyzer as module

    texts = [f"running word{i} the runners word{i % 7}" for i in range(50)]
    expected = [Analyzer().tokens(text) for text in texts]
    monkeypatch.setattr(module, "MAX_REMEMBERED", 3)
    small = Analyzer()
    assert [small.tokens(text) for text in texts] == expected
    assert len(small._terms) < 10


def test_an_analyzer_serves_many_threads(monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    from retrieval_index.lexical import analyzer as module

    texts = [f"organisations word{i} nationalised word{i * i % 91}ings" for i in range(400)]
    expected = [Analyzer().tokens(text) for text in texts]
    monkeypatch.setattr(module, "MAX_REMEMBERED", 20)
    shared = Analyzer()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(shared.tokens, texts)) == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"language": "xx"}, ["`language`", "'xx'", "en", "zh", "none"]),
        ({"language": None}, ["`language`", "None"]),
        ({"stopwords": "the"}, ["`stopwords`", "'the'"]),
        ({"stopwords": ["the", 3]}, ["`stopwords`", "3"]),
        ({"stemmer": "english"}, ["`stemmer`", "'english'"]),
    ],
)
def test_wrong_arguments_are_named(arguments, words):
    with pytest.raises(ArgumentError) as caught:
        Analyzer(**arguments)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(
    "settings",
    [None, {}, {"language": "en"}, {**Analyzer().settings(), "more": 1}, {"language": "xx"}],
)
def test_foreign_settings_are_refused(settings):
    with pytest.raises(ArgumentError):
        Analyzer.from_settings(settings)


def test_a_text_that_is_no_string_is_refused():
    with pytest.raises(ArgumentError, match="`text`"):
        Analyzer().tokens(b"bytes")
