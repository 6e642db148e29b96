"""What readers of text files share: the text behind a suffix, the files beside a file, a task's name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from evosearch.errors import TaskError
from evosearch.tasks.encode import NUMBER
from evosearch.text import marked_encoding

if TYPE_CHECKING:
    from collections.abc import Sequence

# What files look like that are not what their name says, and what to do with them.
NO_TEXT = {
    rb"\x1f\x8b": "gzip data; let its name end with .gz",
    rb"\xfd7zXZ": "xz data; let its name end with .xz",
    rb"BZh.1AY&SY": "bzip2 data; let its name end with .bz2",
    rb"PK\x03\x04": "a zip archive, as Excel's files are; unpack it, or save the sheet as CSV",
    rb"PAR1.*PAR1\Z": "a Parquet file; save it as CSV, or give a DataFrame to evosearch.Study",
    rb"\xd0\xcf\x11\xe0": "an Excel file; save the sheet as CSV",
    b"SQLite format 3": "an SQLite database; save the table as CSV",
    b"version https://git-lfs": "a pointer to a file that Git LFS keeps; `git lfs pull` gets the file",
}


def opened(path: Path, encoding: str = "") -> str:
    """The text of a file, plain or compressed as its suffix says: UTF-8, or what a byte-order mark or `encoding` says.

    Raises TaskError where it is torn or not text.
    """
    import bz2
    import gzip
    import lzma
    import zlib

    unpack = {".xz": lzma.decompress, ".gz": gzip.decompress, ".bz2": bz2.decompress}.get(path.suffix.lower(), bytes)
    try:
        data = unpack(path.read_bytes())
    except (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error) as error:
        raise TaskError(f"{path}: cannot be read, torn perhaps: {error}") from None
    if what := next((what for pattern, what in NO_TEXT.items() if re.match(pattern, data, re.DOTALL)), ""):
        raise TaskError(f"{path}: {what}")
    marked = marked_encoding(data)
    try:
        text = data.decode(encoding or marked)
    except LookupError:
        raise TaskError(f"{path}: no encoding is called '{encoding}'; leave data.encoding empty for UTF-8") from None
    except UnicodeDecodeError as error:
        name = {"utf-8-sig": "UTF-8"}.get(encoding or marked, encoding or marked)
        raise TaskError(
            f"{path}: byte {error.start} is not {name} text; save the file as UTF-8, or say data.encoding"
        ) from None
    if "\0" in text:
        raise TaskError(f"{path}: a zero byte at character {text.index(chr(0))}; save the file as UTF-8 text")
    return text


def hidden(name: str) -> bool:
    """Whether what is called so is no data: hidden, as notebooks' checkpoints are, or left by an archiver."""
    return name.startswith(".") or name == "__MACOSX"


def typed(labels: Sequence[str]) -> tuple[str | int | float, ...]:
    """Labels in the type that they write: whole numbers, numbers, or words, whichever all of them are."""
    if not all(NUMBER.fullmatch(label) for label in labels) or any(re.match(r"[+-]?0[0-9]", label) for label in labels):
        return tuple(labels)
    return tuple(int(label) if re.fullmatch(r"[+-]?[0-9]+", label) else float(label) for label in labels)


def sibling(path: Path, title: str) -> Path | None:
    """The file beside one whose name says `train` that says `test` (or another title) there, in the same case."""
    for word, other in (("train", title), ("TRAIN", title.upper()), ("Train", title.title())):
        head, found, tail = path.name.rpartition(word)
        if found and (path.parent / f"{head}{other}{tail}").is_file():
            return path.parent / f"{head}{other}{tail}"
    return None


def stem(path: Path) -> str:
    """A task's name from its file's: without suffixes, and without the word train."""
    name = Path(re.sub(r"\.(xz|gz|bz2)$", "", path.name)).stem
    return re.sub(r"[-_.]?train$", "", name, flags=re.IGNORECASE) or path.parent.name
