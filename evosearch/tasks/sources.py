"""What readers of text files share: the text behind a suffix, the files beside a file, a task's name."""

from __future__ import annotations

import re
from pathlib import Path

from evosearch.errors import TaskError


def opened(path: Path) -> str:
    """The text of a file, plain or compressed as its suffix says. Raises TaskError where it is torn or not text."""
    import bz2
    import gzip
    import lzma
    import zlib

    unpack = {".xz": lzma.decompress, ".gz": gzip.decompress, ".bz2": bz2.decompress}.get(path.suffix, bytes)
    try:
        return unpack(path.read_bytes()).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TaskError(f"{path}: byte {error.start} is not UTF-8 text; save the file as UTF-8") from None
    except (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error) as error:
        raise TaskError(f"{path}: cannot be read, torn perhaps: {error}") from None


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
