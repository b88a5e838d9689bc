"""The sentences of a text."""

from __future__ import annotations

import re
from collections.abc import Iterator

from retrieval_index.chunking.units import Span, is_border

# Inside a sentence: a name, a number or an example follows.
_INSIDE = """
mr mrs ms dr prof st mt ft rev fr sr hon gen col capt cmdr lt sgt maj adm gov sen rep pres messrs
supt vs v cf e.g i.e viz eg ie al et resp approx ca c esp incl excl fig figs eq eqs sec secs ch chap
chaps vol vols ed eds nos nr arts pt pts p pp tab ref refs app
hr frl dipl ing z.b d.h u.a s.o s.u bzw vgl evtl ggf sog abb abs aufl bd inkl zzgl bspw hrsg kap
m mm mme mlle mgr p.ex sra srta dra ej p.ej núm pág págs avv dott
dhr mevr bijv o.a nl f.eks bl.a t.ex d.v.s
г гг ул д кв стр рис т.е см им проф акад
"""
# Inside a sentence before a number, and else as likely at its end.
_BEFORE_A_NUMBER = """
no art jan feb febr mar apr jun jul aug sep sept oct okt nov dec dez
"""
# Where one of these follows initials ("in the U.S. They ..."), a sentence has begun.
_STARTERS = """
A After All Although An And As At Because Before But By Did Do Does During Each For From Here He How
However I If In Is It Its Many Most My No Not On One Our She Since So Some That The Their Then There
Therefore These They This Those Thus To Was We What When Where Which While Who Why With Yes You Your
"""
_ALWAYS = frozenset(_INSIDE.split())
_WITH_NUMBER = frozenset(_BEFORE_A_NUMBER.split())
_BEGINS = frozenset(_STARTERS.split())


def is_abbreviation(word: str, following: str) -> bool:
    """Returns whether the full stop behind a word belongs to the word.

    Args:
        word: The word without that full stop, brackets and quotes before it left out.
        following: The next word, or as much of it as is at hand.
    """
    folded = word.casefold()
    if folded in _ALWAYS and not (len(word) == 1 and word.isupper()):
        return True
    if folded in _WITH_NUMBER or folded.endswith("str"):  # Hauptstr. 5
        return following[:1].isdecimal()
    if word == "I":
        return False  # ends many an English sentence, other initials few
    # "J. Smith", "U.S. Army", "5 a.m. Central", "J.R.R. Tolkien"
    initials = all(len(part) == 1 and part.isalpha() for part in word.split("."))
    upper_or_many = len(word) > 1 or word.isupper()
    return initials and upper_or_many and following[:1].isalpha() and following not in _BEGINS


_CLOSERS = r"\"'”’»›)\]}」』）】》〉＂"
_OPENERS = "\"'“”‘’«»‹›([{¿¡*_—–-"
# Enders of scripts that write on without a space: Chinese and Japanese, Indic dandas, Ethiopic,
# Burmese, Khmer.
_WITHOUT_SPACE = "。！？｡．।॥።။។"
_SIGNS = ".!?…؟۔։‼⁇⁈⁉"
_END = re.compile(
    # From the first of several signs only, and without going back: leaders of a table of contents
    # can be long.
    rf"(?<![{_SIGNS}])(?P<plain>[{_SIGNS}]++)[{_CLOSERS}]*+(?:[ \u00a0\u202f]»)?"
    r"(?:\[\d{1,4}(?:[,–-]\s?\d{1,4})*\])*(?=\s)"
    rf"|(?P<dense>[{_WITHOUT_SPACE}]+)(?P<closed>[{_CLOSERS}]*)"
    # A blank line, and the line of a list item, whatever stands before them.
    r"|(?P<line>(?:\r\n|[\n\r])[^\S\n\r]*+(?:[\n\r]|(?=(?:[-*+•‣◦–]|\d{1,3}[.)])\s)))"
)
_NOT_SPACE = re.compile(r"\S")
_WORD = re.compile(rf"[^\W_]+|[^\s{re.escape(_OPENERS)}]")
_BULLETS = " \t\r\n" + _OPENERS
_LOOK_AROUND = 40
# 「…。」と言った: what was said is part of a sentence that goes on.
_GOES_ON = "とっなのはがをにでも"


def sentence_spans(text: str, start: int = 0, end: int | None = None) -> Iterator[Span]:
    """Yields the sentences in `text[start:end]`, in order; together they are that stretch.

    A sentence ends with one of the signs that end one in the scripts of the world, the quotes and
    brackets closed on it included. It does not end at an abbreviation, an initial or the number of
    a list item, inside a number or a name ("3.5", "example.org"), or where the next word goes on
    in lower case (unless the text has no capitals at all). Line ends within a paragraph are spaces,
    except before an item of a list.

    Args:
        text: The text, in any language.
        start: First character.
        end: Character behind the last one; None: the end of the text.
    """
    stop = len(text) if end is None else end
    cased = any(map(str.isupper, text[start : min(stop, start + 10_000)]))
    begin = looked = start  # nothing but whitespace lies between
    for match in _END.finditer(text, start, stop):
        place = match.end()
        if match["line"] is None:
            following = _NOT_SPACE.search(text, place, stop)
            if following is None or not is_border(text, place):
                continue
            if match["dense"]:
                ends = not _goes_on(text, match, following.start())
            else:
                ends = _ends(text, begin, match, following.start(), cased)
            if not ends:
                continue
        if text[looked:place].strip():
            yield begin, place
            begin = place
        looked = place
    if begin < stop:
        yield begin, stop


def _goes_on(text: str, match: re.Match[str], following: int) -> bool:
    """Whether the sentence goes on behind an ender of a script without spaces."""
    after = text[following]
    if following > match.end():
        return False
    if match["dense"][-1] == "．" and after.isdecimal():
        return True
    return bool(match["closed"]) and after in _GOES_ON


def _ends(text: str, begin: int, match: re.Match[str], following: int, cased: bool) -> bool:
    """Whether a sentence that began at `begin` ends with the signs found."""
    signs = match["plain"]
    word = _WORD.search(text, following, following + _LOOK_AROUND)
    after = word[0] if word else text[following]
    if after[0].islower() and cased:
        return False
    if signs != ".":
        return True
    place = match.start()
    before = text[max(begin, place - _LOOK_AROUND) : place]
    last = before.split()[-1].lstrip(_OPENERS) if before and not before[-1].isspace() else ""
    if last.isdecimal() and len(last) <= 3 and not text[begin : place - len(last)].strip(_BULLETS):
        return False  # "1. Introduction": the number of an item
    return not is_abbreviation(last, after)
