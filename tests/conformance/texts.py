"""Texts that tokenizers disagree about; written for this test."""

TEXTS = [
    "",
    " ",
    "\t\n\r",
    "hello world",
    "Hello, World! It's 3.14 (approx.) -- isn't it?",
    "café naïve Zürich ÅNGSTRÖM crème brûlée",
    "cafe\u0301 nai\u0308ve Zu\u0308rich",  # combining marks instead of composed letters
    "İstanbul ıssız ẞ ß ﬁ ﬂ Ǆ",
    "e\u0301\u0302\u0303\u0304 a\u0300\u0316",
    "机器学习很有趣。我喜欢它！",
    "日本語のテキスト と カタカナ",
    "한국어 문장입니다",
    "Ελληνικά και Кириллица العربية עברית हिन्दी ไทย",
    "emoji 😀 👍🏽 👩‍👩‍👧‍👦 🇩🇪 ❤️ ☺",
    "zero\u200bwidth non\u200cjoin\u200djoiner \ufeffbom soft\u00adhyphen",
    "control\x00chars\x01\x07\x1b[31m\x7f\x85 end",
    "rtl \u202eoverride\u202c and \u2028line\u2029para",
    "nbsp\u00a0and\u2003em\u3000ideographic spaces",
    "surro\ufffdgate replacement and private \ue000 use",
    "[CLS] [SEP] [MASK] [PAD] [UNK] written out",
    "a##b ##c # # hash",
    "under_score camelCase kebab-case snake.case/path\\win",
    "email@example.com https://example.org/a?b=c&d=e#f",
    'def f(x: int) -> str:\n    return f"{x!r}"',
    "€ £ ¥ ₹ © ® ™ ± ∑ √ ∞ ≠ ≤ 𝒜 𝔘",
    "“quotes” ‘single’ «guillemets» … – —",
    "1234567890 1,234,567.89 0x1F 1e-10 ½ ² ₃ Ⅷ ٣",
    "x" * 99,
    "y" * 100,
    "z" * 101,  # more characters than WordPiece takes in a word
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "word " * 700,
    "机" * 600,
    "é" * 600,
    "mixed 中文 and English, naïve café 😀 " * 40,
]

PAIRS = [(a, b) for a, b in zip(TEXTS, TEXTS[::-1], strict=True)] + [
    ("word " * 300, "other " * 10),
    ("short", "long " * 400),
    ("one " * 300, "two " * 301),
    ("", "only the second"),
    ("only the first", ""),
]
