"""Runs a page of docs/ from top to bottom, as a reader would, and compares what it shows with what comes.

A page's blocks run in order in one empty folder:

- a block with a title is written to that file;
- ```console holds lines of `$ command`, each with the output it shows; `^C` in it is Ctrl-C;
- ```python is executed; what it prints stands in the ```text block after it, or in comments beside each print;
- ```toml without a title is a config without a mistake.

In an output, `...` stands for whatever is there: a line of its own for any lines, in a line for any text. A key in a
command is the one that came where the page shows it. A command fails if, and only if, its output holds a line of
`evolve: what went wrong`.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evosearch import config
from evosearch.cli import DONE, INTERRUPTED, main
from tests.conftest import ROOT

FENCE = re.compile(r'^```(\S+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
SHELL = re.compile(r"[|<>&;*]")  # what needs a shell
OPERATORS = "|".join(sorted(path.stem for path in (ROOT / "operators").glob("*/*.py")))

KEY = re.compile(r"\b(?=[a-f]*\d)[0-9a-f]{8}(?:[0-9a-f]{24})?\b")

# What differs from machine to machine, or from one version's weights to the next, and is no change of form.
FORMS = (
    (r"^[│ ]*[├└]─ .*", "A LAYER"),
    (r"\S*\b[a-z]\w*\([^\s)]*[),;]\S*", "SENTENCE"),
    (KEY.pattern, "KEY"),
    (rf"\b(?:{OPERATORS}|sample)\b", "OPERATOR"),
    (r"\b\d+(?:x\d+)+\b", "SHAPE"),
    (r"[\d.]+/(?:s|min)\b", "RATE"),
    (r"\b\d+ (?:d|h|min)(?: \d+ (?:h|min|s))?\b|\b[\d.]+ (?:s|ms|us)\b", "TIME"),
    (r"[▁▂▃▄▅▆▇█]+", "#"),
    (r"(?<![\w.])[+-]?(?:\d[\d,]*(?:\.\d+)?(?:e-?\d+)?|nan|inf)(?: ?[kMGTP])?\b", "#"),
    (r"#(?: +#)+", "#"),
    (r" +", " "),
)


@dataclass(frozen=True)
class Block:
    """One fenced block: where it stands, what it is, the file it is written to."""

    line: int
    language: str
    title: str
    body: str


def blocks(page: Path) -> list[Block]:
    """The blocks of a page; one of a form that nobody runs is an error."""
    text = page.read_text(encoding="utf-8")
    found = [
        Block(text[: match.start()].count("\n") + 1, match[1], match[2] or "", match[3])
        for match in FENCE.finditer(text)
    ]
    assert len(found) * 2 == len(re.findall(r"^ *```", text, re.MULTILINE)), f"{page.name}: a block that is not run"
    return found


def form(text: str) -> str:
    """An output without its figures, keys and times; lines of one form that follow each other count once."""
    lines: list[str] = []
    for line in text.strip().splitlines():
        for pattern, name in FORMS:
            line = re.sub(pattern, name, line)
        if not lines or line.strip() != lines[-1]:
            lines.append(line.strip())
    return "\n".join(lines)


def exact(text: str) -> str:
    """An output to the letter, but for spaces at the ends of lines."""
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def matches(shown: str, came: str) -> bool:
    """Whether an output is the one shown, where `...` is anything."""
    lines = [
        r"(?:.*\n)*?" if line.strip() == "..." else ".*".join(map(re.escape, line.split("..."))) + "\n"
        for line in shown.splitlines()
    ]
    return re.fullmatch("".join(lines), came + "\n" if came else "") is not None


@dataclass
class Reader:
    """Someone who follows a page. `quick` evaluates in this process, which changes nothing but the time it takes.

    settings: of the runs of a quick reader, beside those that the page has.
    """

    page: Path
    folder: Path
    alike: Callable[[str], str] = form
    quick: bool = True
    settings: tuple[str, ...] = ()
    names: dict[str, Any] = field(default_factory=lambda: {"__name__": "__main__"})
    keys: dict[str, str] = field(default_factory=dict)  # of candidates: as the page shows them -> as they came

    def read(self) -> None:
        """Do what the page says, in `folder`, and leave this process as it was."""
        begin, path, modules = Path.cwd(), list(sys.path), set(sys.modules)
        os.chdir(self.folder)
        try:
            found = blocks(self.page)
            for block, after in zip(found, [*found[1:], None], strict=True):
                self._do(block, after)
        finally:
            os.chdir(begin)
            sys.path[:] = path
            for name in set(sys.modules) - modules:
                if str(getattr(sys.modules[name], "__file__", "")).startswith(str(self.folder)):
                    del sys.modules[name]

    def _do(self, block: Block, after: Block | None) -> None:
        if block.title:
            file = Path(block.title)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.body, encoding="utf-8")
        elif block.language == "console":
            for command, shown in commands(block.body):
                self._compare(block, shown, self._run(command, shown))
        elif block.language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as output:
                exec(compile("\n" * block.line + block.body, str(self.page), "exec"), self.names)
            prints = [line for line in block.body.splitlines() if re.search(r"\bprint\(", line)]
            beside = "\n".join(line.partition("  # ")[2] for line in prints)
            shown = after.body if after and after.language == "text" else beside
            self._compare(block, shown, output.getvalue())
        elif block.language == "toml":
            config.loads(block.body)
        else:
            assert block.language == "text", f"{self.page.name}:{block.line}: nobody runs {block.language}"

    def _compare(self, block: Block, shown: str, came: str) -> None:
        where = f"{self.page.name}:{block.line}"
        assert matches(self.alike(shown), self.alike(came)), f"{where} shows\n{shown}\nand this came:\n{came}"
        known, _, _ = f"\n{shown}".partition("\n...\n")
        pairs = zip(KEY.findall(known), KEY.findall(came), strict=False)
        self.keys.update((theirs[:8], ours[:8]) for theirs, ours in pairs)

    def _run(self, command: str, shown: str) -> str:
        """The output of one command, after its exit code was what the output says."""
        command = KEY.sub(lambda found: self.keys.get(found[0][:8], found[0]), command)
        words = shlex.split(command)
        interrupted = "^C" in shown.splitlines()
        if words[0] == "cd":
            os.chdir(words[1])
            return ""
        if self.quick and words[0] == "evolve" and not SHELL.search(command) and not interrupted:
            if words[1] == "run" and "--dry-run" not in words:
                words += [word for one in ("workers.pool=inline", *self.settings) for word in ("--set", one)]
            with contextlib.redirect_stdout(io.StringIO()) as output, contextlib.redirect_stderr(output):
                code = main(words[1:])
            came = output.getvalue()
        else:
            code, came = in_shell(command, stop_at=shown.partition("^C")[0] if interrupted else "")
        fails = any(line.startswith("evolve: ") for line in shown.splitlines())
        expected = (code == INTERRUPTED) if interrupted else (code != DONE) if fails else (code == DONE)
        assert expected, f"{self.page.name}: $ {command}\n{came}\nexit code {code}"
        return came


def commands(body: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with the output that it shows."""
    first, *rest = re.split(r"^\$ ", body, flags=re.MULTILINE)
    assert not first, body
    for part in rest:
        command, _, shown = part.replace("\\\n", " ").partition("\n")
        yield command, shown


def in_shell(command: str, stop_at: str = "") -> tuple[int, str]:
    """Exit code and output in a shell with `evolve` in it; Ctrl-C once the last line of `stop_at` has come."""
    there = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    lines: list[str] = []
    with subprocess.Popen(
        ["bash", "-c", command],
        env=there,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        wanted = form(stop_at).splitlines()[-1:]
        for line in process.stdout:
            lines.append(line)
            if wanted and form(line) == wanted[0]:
                os.killpg(process.pid, signal.SIGINT)
                lines.append("^C\n")
                wanted = []
    return process.returncode, "".join(lines)
