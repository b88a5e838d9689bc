"""Words whose full stop ends no sentence."""

from __future__ import annotations

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
