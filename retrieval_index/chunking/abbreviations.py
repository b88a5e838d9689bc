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
"""
# Inside a sentence before a number, and else as likely at its end.
_BEFORE_A_NUMBER = """
no art jan feb febr mar apr jun jul aug sep sept oct okt nov dec dez str
"""
_ALWAYS = frozenset(_INSIDE.split())
_WITH_NUMBER = frozenset(_BEFORE_A_NUMBER.split())


def is_abbreviation(word: str, after: str) -> bool:
    """Returns whether the full stop behind a word belongs to the word.

    Args:
        word: The word without that full stop, brackets and quotes before it left out.
        after: The first character of the next word.
    """
    if len(word) == 1 and word.isupper():
        # An initial: "J. Smith". "I" ends many an English sentence, and other letters few.
        return word != "I" and after.isalpha()
    folded = word.casefold()
    if folded in _ALWAYS:
        return True
    if folded in _WITH_NUMBER:
        return after.isdecimal()
    # "U.S. Army", "Ph.D. student" and "J.R.R. Tolkien" cannot be told from the end of a sentence
    # with certainty; two letters or more with stops between are taken for a name's initials.
    parts = word.split(".")
    return len(parts) > 1 and all(len(part) == 1 and part.isupper() for part in parts)
