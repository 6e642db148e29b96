"""How commands print: plain text, or JSON where it is asked for."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from evosearch.report.text import clean

if TYPE_CHECKING:
    from rich.console import Console


_json: TextIO | None = None  # where JSON goes while stdout is kept for it


def check_target(flag: str, path: Path, *, suffix: str = "", new_folder: bool = False) -> None:
    """Raise UsageError where a file asked for cannot be written: said before the work, not after.

    suffix: of what is written; a file that is there and has another one is something else, and stays. new_folder:
    whoever writes it makes its folder.
    """
    from evosearch.errors import UsageError

    if path.is_dir():
        raise UsageError(f"{flag} {path}: a folder; name the file in it, as in {flag} {path / 'NAME'}")
    if path.is_file() and not path.name.endswith(suffix):
        raise UsageError(f"{flag} {path}: is there, and is no {suffix} file; choose another name")
    above = next(parent for parent in path.absolute().parents if parent.exists())
    if not above.is_dir():
        raise UsageError(f"{flag} {path}: {above.name} is a file; choose another place")
    if not new_folder and not path.parent.is_dir():
        raise UsageError(f"{flag} {path}: there is no folder {path.parent}; make it, or choose another place")


@contextlib.contextmanager
def for_json_alone() -> Iterator[None]:
    """Stdout is for what `as_json` prints; everything else, of a person's own code too, goes to stderr inside."""
    global _json  # noqa: PLW0603 - like sys.stdout, which it stands for
    real, errors = sys.stdout, sys.stderr
    number = kept = -1
    if (real, errors) == (sys.__stdout__, sys.__stderr__):  # for what writes to the descriptor: C, a child process
        real.flush()
        number = real.fileno()
        kept = os.dup(number)
        os.dup2(errors.fileno(), number)
        real = os.fdopen(os.dup(kept), "w", encoding=real.encoding, errors=real.errors)
    _json = real
    try:
        with contextlib.redirect_stdout(errors):
            yield
    finally:
        _json = None
        if kept >= 0:
            with contextlib.suppress(BrokenPipeError):
                real.close()
            os.dup2(kept, number)
            os.close(kept)


def target() -> TextIO:
    """Where a command's answer goes."""
    return _json or sys.stdout


def console() -> Console:
    """A console on stdout that takes text as it is, without guessing at markup. Respects NO_COLOR."""
    from rich.console import Console

    return Console(markup=False, highlight=False, emoji=False)


def is_terminal() -> bool:
    return sys.stdout.isatty()


def say(text: str = "") -> None:
    """One line or more on stdout."""
    print(clean(text), flush=True)


def warn(text: str) -> None:
    """One line on stderr, as a command's last word or beside what it prints."""
    print(f"evolve: {clean(' '.join(text.split()))}", file=sys.stderr, flush=True)


def fitted(text: str, indent: int) -> str:
    """Lines broken at blanks where a terminal would break them anywhere, and gone on with after an indent.

    A word longer than a line is not broken, and without a terminal nothing is: what is copied or piped is whole.
    """
    if not is_terminal():
        return text
    width = max(shutil.get_terminal_size().columns, indent + 20)
    fold = textwrap.TextWrapper(width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join(fold.fill(line) for line in text.split("\n"))


def as_json(data: Any) -> None:
    """Plain data as JSON on stdout; escaped where stdout cannot say every letter."""
    out = target()
    text = json.dumps(data, indent=2, ensure_ascii=False, default=_plain, allow_nan=False)
    try:
        text.encode(out.encoding or "ascii")
    except UnicodeEncodeError:
        text = json.dumps(data, indent=2, default=_plain, allow_nan=False)
    print(text, file=out, flush=True)


def json_line(data: Mapping[str, Any]) -> None:
    """Plain data as one line of JSON in ASCII; a number that is none is null."""
    from evosearch.logs.rows import finite

    print(json.dumps(finite(data), allow_nan=False), file=target(), flush=True)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    return str(value)


def facts(pairs: Iterable[tuple[str, str]]) -> None:
    """Names and what they are, one on a line, aligned; a fact without text is left out."""
    rows = [(name, text) for name, text in pairs if text]
    width = max((len(name) for name, _ in rows), default=0)
    for name, text in rows:
        line = f"{name:<{width}}  {text}"
        say(fitted(line, width + 2) if " " in text else line)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Columns as wide as their longest entry; `right` holds the columns that align right."""
    lines = [list(header), *([clean(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        cells = [
            text.rjust(width) if column in right else text.ljust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        say("  ".join(cells).rstrip())
