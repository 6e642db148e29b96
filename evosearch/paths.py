"""Where grammars, seeds and operators are found.

One search path for all of them: the folders named on the command line or in the config, then the user's project (the
nearest folder upwards that holds a pyproject.toml or an evosearch.toml), then those that come with evosearch: the
checkout's own folders in an editable install, `evosearch/_bundled/` in a wheel.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from evosearch.errors import UsageError
from evosearch.text import decoded

PACKAGE = Path(__file__).resolve().parent
PROJECT_FILES = ("evosearch.toml", "pyproject.toml")
NAME = re.compile(r"[\w.~/-]+")  # what a run or a file may be called; most texts hold more than that
LONGEST_SHOWN = 80  # characters of a name that is none, such as a pasted architecture
RUN_FILE = "journal.msgpack"  # marks a run's folder, as in evosearch.store.run
TRAINED_FILES = ("config.toml", "metrics.json", "weights.safetensors")  # mark what `evolve train` writes


def bundled() -> Path:
    """The folder whose `grammars/`, `operators/` and `estimators/` come with evosearch."""
    checkout = PACKAGE.parent
    if (checkout / "grammars").is_dir() and (checkout / "pyproject.toml").is_file():
        return checkout
    return PACKAGE / "_bundled"


def project(start: Path | None = None) -> Path | None:
    """The user's project: the nearest folder upwards from `start` (default: here) that holds a project file.

    A run's folder is never one, nor is a folder in it: whoever made the run decides what lies there.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if any((folder / name).is_file() for name in PROJECT_FILES) and run_around(folder) is None:
            return folder
    return None


def run_around(path: Path | str) -> Path | None:
    """The folder of a run, or of a network that `evolve train` wrote, which `path` is or lies in; None outside.

    Links count where they lie and where they lead to.
    """
    at = Path(os.path.abspath(path))  # noqa: PTH100 - resolve follows links, and absolute leaves `..` in place
    for folder in (at, *at.parents, *at.resolve().parents):
        if (folder / RUN_FILE).is_file() or all((folder / name).is_file() for name in TRAINED_FILES):
            return folder
    return None


def folders(kind: str, named: Iterable[Path | str] = ()) -> tuple[Path, ...]:
    """The existing folders to search for `kind` ("grammars", "operators/mutate", ...), first come first served.

    A named folder counts itself, and the folder `kind` in it. Raises UsageError where a named one is not there.
    """
    named = tuple(named)
    for name in named:
        if not Path(name).is_dir():
            kinds = kind.partition("/")[0]
            raise UsageError(f"{name}: no such folder of {kinds}; name one that is there, or leave it out")
    roots = [folder for folder in (project(), bundled()) if folder is not None]
    candidates = [at for name in named for at in (Path(name), Path(name) / kind)]
    candidates += [root / kind for root in roots]
    return tuple(dict.fromkeys(path.resolve() for path in candidates if path.is_dir()))


def find(kind: str, name: str, suffix: str, named: Iterable[Path | str] = ()) -> Path:
    """The file that `name` means: a path as it stands, else a file of that name on the search path.

    Raises UsageError where there is none, with the names that there are.
    """
    direct = expanded(name)
    if is_file(direct):
        return direct
    searched = folders(kind, named)
    if len(direct.parts) == 1:
        for folder in searched:
            for candidate in (folder / name, folder / f"{name}{suffix}"):
                if is_file(candidate):
                    return candidate
    what = kind.rpartition("/")[2].rstrip("s")
    if len(name) > LONGEST_SHOWN:
        raise UsageError(f"no {what} named {name[:LONGEST_SHOWN]!r}...; {offer('', names(kind, suffix, named))}")
    if direct.suffix == suffix or len(direct.parts) > 1:
        raise UsageError(f"{name}: no such {what} file; {offer(name, names(kind, suffix, named))}")
    raise UsageError(f"no {what} named {name!r}; {offer(name, names(kind, suffix, named))}")


def expanded(text: str) -> Path:
    """The path that a person writes, `~/` as their home folder where they have one."""
    if text.startswith("~/"):
        with contextlib.suppress(RuntimeError):  # a user who is in no table of users, and has no HOME
            return Path(text).expanduser()
    return Path(text)


def is_file(path: Path) -> bool:
    """Whether a file is there; False too of what no file can be called, such as a pasted architecture."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Whether a folder is there; False as of `is_file`."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def read_arch(path: Path) -> str:
    """The text of an .arch file, without the newline that ends it. Raises UsageError where it is none or no text."""
    try:
        text = decoded(path.read_bytes())
        return text.removesuffix("\r\n") if text.endswith("\r\n") else text.removesuffix("\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 text at byte {error.start}; an .arch file holds one sentence") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}; look at the file and its permissions") from None


def seed_name(text: str) -> str:
    """What a run calls a seed that was given as a sentence, not as a file."""
    return f"text-{hashlib.blake2b(text.encode(errors='surrogatepass'), digest_size=4).hexdigest()}"


def kept_seed(folder: Path, seed: str) -> Path:
    """The file in a run's folder of seeds that holds one of its configuration's."""
    file = folder / f"{Path(seed).stem}.arch"
    return file if is_file(file) else folder / f"{seed_name(seed)}.arch"


def names(kind: str, suffix: str, named: Iterable[Path | str] = ()) -> tuple[str, ...]:
    """The names of all files of a kind on the search path, sorted."""
    found = {path.stem for folder in folders(kind, named) for path in folder.glob(f"*{suffix}")}
    return tuple(sorted(name for name in found if not name.startswith("_")))


def own_code(
    kind: str, recorded: Sequence[str], given: Sequence[Path | str], *, run: Path | None = None
) -> tuple[str, ...]:
    """A run's own code files: those given now, else those it recorded where they lie in the user's project.

    run: the folder that recorded them. A folder of a run, this or another, alone never decides what code runs: what
    lies in one is refused unless it is given. Raises UsageError where one lies there, or outside the project.
    """
    if given:
        return tuple(str(Path(path).resolve()) for path in given)
    around = None if run is None else run.resolve()
    root = project()
    for path in recorded:
        at = Path(path).resolve()
        inside = run_around(path) or (around if around is not None and at.is_relative_to(around) else None)
        if inside is not None:
            raise UsageError(
                f"{path}: the run's {kind} lie in the folder of a run, {inside}, and no code is taken from there; "
                f"where you trust it, say so: --{kind} {path}"
            )
        if root is None or not at.is_relative_to(root):
            raise UsageError(f"the run uses {kind} of its own; say where they are: --{kind} {path}")
    return tuple(recorded)


def offer(wrong: str, known: Sequence[str], otherwise: str = "") -> str:
    """The end of an error's line: the names that are near a wrong one, else `otherwise`, or all there are."""
    near = difflib.get_close_matches(Path(wrong).stem, known, n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(near)}?"
    if otherwise:
        return otherwise
    return f"there are: {', '.join(known)}" if known else "none were found on the search path"
