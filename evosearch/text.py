"""Text from outside: made so that a file, a page or a terminal can hold it, and told whose it is.

File names of any bytes, what a candidate's code raises and prints, and names of a person's own come in as Python has
them, with lone surrogates where bytes were no text. `framing.encode` lets nothing into a journal that is not escaped,
the configuration escapes what it writes, `clean` stands before the terminal and the page.
"""

from __future__ import annotations

import codecs
import re
import traceback
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
LONGEST = 1000  # letters of an error that are kept
# Direction overrides are printable and can make a line read as what it does not say.
OVERRIDES = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# What a text begins with that is not UTF-8, and says so; the longer one first.
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
ESCAPE = re.compile(r"\\u(d[89a-f][0-9a-f]{2}|005c)")  # a surrogate, or a backslash that was one


def marked_encoding(data: bytes) -> str:
    """What a file's byte-order mark says its text is, else UTF-8; the codec takes the mark off."""
    return next((name for mark, name in MARKS if data.startswith(mark)), "utf-8-sig")


def decoded(data: bytes) -> str:
    """The text in a file of a person's, by its byte-order mark. Raises UnicodeDecodeError."""
    return data.decode(marked_encoding(data))


def escaped(text: str) -> str:
    """The text with each lone surrogate as six characters, `\\udce9`: what UTF-8 can say."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def kept(text: str) -> str:
    """As `escaped`, and so that `restored` gives the very text again, whatever stood in it: for paths."""
    return escaped(re.sub(ESCAPE, r"\\u005cu\1", text))


def restored(text: str) -> str:
    """The text that `kept` was given."""
    return re.sub(ESCAPE, lambda match: chr(int(match[1], 16)), text)


def clean(text: str) -> str:
    """The text without control characters and direction overrides, and as `escaped`; newline and tab stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c for c in escaped(text) if c in "\n\t" or (c.isprintable() and c not in OVERRIDES))


def said(error: BaseException, limit: int = LONGEST) -> str:
    """An exception's type and words in one line, whatever it is: a person's own may have no words, or megabytes."""
    name = type(error).__name__
    try:
        words = " ".join(str(error)[: 10 * limit].split())
    except Exception as worse:  # noqa: BLE001 - its own __str__ is a person's code too
        words = f"(its text cannot be had: {type(worse).__name__})"
    text = f"{name}: {words}" if words else name
    return text if len(text) <= limit else text[: limit - 3] + "..."


def blamed(error: BaseException) -> str:
    """What went wrong in code that is not evosearch's, in one line: the error, and its file, line and function."""
    what = said(error)
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not Path(frame.filename).is_relative_to(PACKAGE)] or frames
    # What a library raises was asked of it by the person's code above it.
    own = [frame for frame in theirs if not re.search(r"/(site|dist)-packages/|/lib/python[0-9.]+/|^<", frame.filename)]
    at = next(iter((own or theirs)[-1:]), None)
    return clean(what if at is None else f"{what} ({at.filename}:{at.lineno}, in {at.name})")
