"""From bytes to text, with the place of a byte that does not fit."""

from __future__ import annotations

import codecs
from dataclasses import dataclass, replace

from retrieval_index.errors import ArgumentError

ERRORS = ("strict", "replace", "ignore", "backslashreplace")
# Longest first: the mark of UTF-16-LE is the beginning of that of UTF-32-LE.
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Without a mark, the byte order of nearly every file of these kinds.
UNMARKED = {"utf-8-sig": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}
WIDTHS = {"utf-16-le": 2, "utf-16-be": 2, "utf-32-le": 4, "utf-32-be": 4}


class UndecodableError(Exception):
    """A byte that does not fit the encoding; `reason` and `detail` are for the problem log."""

    def __init__(self, decoding: Decoding, error: UnicodeError, data: bytes, offset: int) -> None:
        # A few codecs raise a bare UnicodeError, which tells no place.
        start = error.start if isinstance(error, UnicodeDecodeError) else 0
        self.offset = offset + start
        self.column = start
        self.byte = f"0x{data[start]:02x}" if start < len(data) else "(none)"
        self.name = decoding.encoding.upper()
        self.reason = "not_utf8" if decoding.encoding == "utf-8" else "not_decodable"
        self.detail = f"byte {self.byte} at {self.offset} is not {self.name}"
        super().__init__(self.detail)

    @property
    def detail_in_line(self) -> str:
        """The same for one line of a file: place in the line and in the file."""
        return (
            f"byte {self.byte} at {self.column} of the line (byte {self.offset} of the file) is "
            f"not {self.name}"
        )


@dataclass(frozen=True, slots=True)
class Decoding:
    """How the bytes of text files become characters.

    A byte order mark at the beginning of a file wins over `encoding`, and is no part of the text.

    Args:
        encoding: Name of a codec, as `codecs.lookup` knows it. Default UTF-8.
        errors: What becomes of bytes that do not fit: "strict" (the entry is a counted problem),
            "replace" (by U+FFFD), "ignore" or "backslashreplace".

    Raises:
        ArgumentError: If there is no such text encoding or rule.
    """

    encoding: str = "utf-8"
    errors: str = "strict"

    def __post_init__(self) -> None:
        if self.errors not in ERRORS:
            known = ", ".join(map(repr, ERRORS))
            raise ArgumentError(
                f"`encoding_errors` must be one of {known}; received: {self.errors!r}."
            )
        name = text_codec(self.encoding)
        if name is None:
            raise ArgumentError(
                f"`encoding` must name a text encoding, such as 'utf-8' or 'cp1252'; "
                f"received: {self.encoding!r}."
            )
        object.__setattr__(self, "encoding", UNMARKED.get(name, name))

    @property
    def width(self) -> int:
        """Bytes of a line feed: 2 or 4 in UTF-16 and UTF-32, else 1."""
        return WIDTHS.get(self.encoding, 1)

    def check_lines(self) -> None:
        """Makes sure that lines can be told apart before they are decoded.

        Raises:
            ArgumentError: If a line feed is no 0x0A in this encoding (EBCDIC).
        """
        if self.width == 1 and 'a"\n'.encode(self.encoding, "replace") != b'a"\n':
            raise ArgumentError(
                f"`encoding` {self.encoding!r} cannot be read by lines: it must agree with ASCII "
                "or be UTF-16 or UTF-32. Convert the file first."
            )

    def for_file(self, head: bytes) -> tuple[Decoding, int]:
        """Returns the decoding of a file that begins with `head`, and the length of its mark."""
        for mark, name in BYTE_ORDER_MARKS:
            if head.startswith(mark):
                return replace(self, encoding=name), len(mark)
        return self, 0

    def decode(self, data: bytes, offset: int = 0) -> str:
        """Returns the text of `data`, which begins at byte `offset` of its file.

        Raises:
            UndecodableError: If a byte does not fit and `errors` is "strict".
        """
        try:
            return data.decode(self.encoding, self.errors)
        except UnicodeError as error:
            raise UndecodableError(self, error, data, offset) from error

    def decode_file(self, data: bytes) -> str:
        """Returns the text of a whole file, without its mark and with `\\n` for every line end.

        Raises:
            UndecodableError: If a byte does not fit and `errors` is "strict".
        """
        decoding, skip = self.for_file(data[:4])
        text = decoding.decode(data[skip:], skip)
        return text.replace("\r\n", "\n").replace("\r", "\n")


def text_codec(name: object) -> str | None:
    """Returns the proper name of a text encoding, or None if there is none of this name."""
    if not isinstance(name, str):
        return None
    try:
        b" ".decode(name, "ignore")  # refuses codecs from bytes to bytes, such as "hex" and "zip"
        return codecs.lookup(name).name
    except (LookupError, ValueError):
        return None
