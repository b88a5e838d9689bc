"""HTML pages: what of them is read."""

import pytest
from corpus_samples import put, read

from retrieval_index.corpus.readers.html_page import closed


def one(path, data, **options):
    """Returns text and title of a file."""
    documents, log = read(put(path, data), **options)
    assert not log.skipped, log.summary()
    (document,) = documents
    assert document.id == path.name and document.metadata == {"path": path.name}
    return document.text, document.title


# --- HTML -----------------------------------------------------------------------------------------

PAGE = """<!DOCTYPE html><html><head><title> A
 &quot;title&quot; </title><script>var x = "<p>no</p>";</script><style>p { color: red }</style>
</head><body><nav><a href=x>Home</a></nav><!-- no -->
<h1>Head</h1><p>Some <b>bo</b>ld   text,<br>a line<p>Next &amp; more &eacute;.
<ul><li>one<li>two <i>and</i> a half</ul><table><tr><th>a<td>b</tr><tr><td>c<td>d</tr></table>
<pre>def f():
    return 1

</pre><div><div>deep</div></div><noscript>no</noscript><svg><text>no</text></svg> tail</body></html>
"""


def test_html_visible_text(tmp_path):
    text, title = one(tmp_path / "a.html", PAGE)
    assert title == 'A "title"'
    assert text == (
        "Head\n\nSome bold text,\na line\n\nNext & more é.\n\none\ntwo and a half\n\na b\nc d\n\n"
        "def f():\n    return 1\n\ndeep\n\ntail"
    )


def test_html_title_of_heading(tmp_path):
    assert one(tmp_path / "a.htm", "<title> </title><h1>The <i>head</i></h1>x")[1] == "The head"
    assert one(tmp_path / "a.htm", "<title>Open<p>Text") == ("Text", "Open")
    assert one(tmp_path / "a.htm", "no tags at all") == ("no tags at all", "")


@pytest.mark.parametrize(
    "head, encoding",
    [
        ('<meta charset="iso-8859-1">', "cp1252"),  # as browsers read it
        ('<META http-equiv=Content-Type content="text/html; charset=windows-1251">', "cp1251"),
        ('<?xml version="1.0" encoding="koi8-r"?>', "koi8-r"),
        ("<meta charset=utf-16>", "utf-8"),
        ("<meta charset=hex>", "utf-8"),
        ("<meta charset=nonsense>", "utf-8"),
        ("", "utf-8"),
        ("\ufeff<meta charset=latin-1>", "utf-16-le"),
    ],
)
def test_html_encoding(tmp_path, head, encoding):
    word = {"cp1252": "“Grüße” €"}.get(encoding, "Привет")
    assert one(tmp_path / "a.html", f"{head}<p>{word}".encode(encoding))[0] == word


def test_html_that_does_not_fit_what_it_declares(tmp_path):
    data = b"<meta charset=utf-8><p>caf\xe9"
    log = read(put(tmp_path / "a.html", data))[1]
    assert log.examples[0].detail == f"byte 0xe9 at {data.index(0xE9)} is not UTF-8"


def test_html_nested_deeper_than_python_recurses(tmp_path):
    assert one(tmp_path / "a.html", "<div>" * 20_000 + "deep")[0] == "deep"


@pytest.mark.parametrize(
    "markup, expected",
    [
        ("a < b <i>c</i> <b", "a < b <i>c</i> &lt;b"),
        ("<!-- x --> <!-- y > <!-- z", "<!-- x --> &lt;!-- y > &lt;!-- z"),
        ("<![CDATA[x]]><![CDATA[y>", "<![CDATA[x]]>&lt;![CDATA[y>"),
        ("<p>x</p>\n", "<p>x</p>\n"),
    ],
)
def test_html_constructs_without_an_end_are_text(markup, expected):
    assert closed(markup) == expected


@pytest.mark.parametrize("piece", ["<a ", "<!--", "<![CDATA[", "</", "<a href='"])
def test_html_that_html_parser_would_take_minutes_for(tmp_path, piece):
    assert one(tmp_path / "a.html", "<p>x</p>" + piece * 60_000)[0].startswith(
        f"x\n\n{piece.strip()}"
    )


def test_html_that_cannot_be_parsed_and_html_without_text(tmp_path):
    put(tmp_path / "a.html", "<![x y[")
    put(tmp_path / "b.html", "<script>only()</script>")
    assert read(tmp_path)[1].skipped.keys() <= {"not_html", "blank"}
    assert read(tmp_path / "b.html")[1].skipped == {"blank": 1}


def test_html_of_open_paragraphs_is_not_nested(tmp_path):
    text, _ = one(tmp_path / "a.html", "<p>One <b>bold</b> word." * 20_000)  # minutes, as a tree
    assert text == "\n\n".join(["One bold word."] * 20_000)


@pytest.mark.parametrize(
    "markup, text",
    [
        ("<nav><nav>x</nav>y</nav>z", "z"),
        ("a<svg><title>x</title></svg>b</nav>c", "abc"),
        ("<pre>a\n  b</pre></pre> c  d", "a\n  b\n\nc d"),
        ("<script>if (a < b) x('</p>')</script>y", "y"),
        ("x<![CDATA[ y ]]>z", "x y z"),
    ],
)
def test_html_edges(tmp_path, markup, text):
    assert one(tmp_path / "a.html", markup)[0] == text
