"""Draws docs/captures/: the tool in a terminal, as a new user sees it. `make captures`; needs tmux.

Each picture is what a real terminal of that size shows, colours included. While a run goes on, its panel is looked at
many times a second: where it wraps, shrinks, moves or leaves a line behind, no picture is written and this fails.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.ansi import AnsiDecoder
from rich.console import Console

CAPTURES = Path(__file__).parent / "captures"
SIZES = {(80, 24): "", (200, 50): "run resume"}  # and which pictures are kept; all where none is named
LOOK = 0.1  # seconds between looks at the screen
PATIENCE = 240.0  # seconds for one command

# name of the picture, what is typed, what its end is known by
STEPS = (
    ("init", "evolve init first && cd first\n", r"Search it:.*\n\$$"),
    ("run", "evolve run evosearch.toml\n", r" 2\d/40 "),
    ("interrupted", "\x03", r"go on with: .*\n\$$"),
    ("resume", "evolve resume runs/first\n", r"Look closer: .*\n\$$"),
    ("report", "evolve report runs/first && evolve best runs/first\n", r"saved .*\n(.*\n)*\$$"),
    ("export", "evolve export runs/first --format pt2\n", r"use .*\n\$$"),
)
SAME_SCREEN = ("interrupted",)  # steps that go on where the one before stands

# As rich draws it, but in the reader's own monospaced font: rich's asks another host for one.
SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">
<style>
.{unique_id}-matrix {{ font: {char_height}px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


class Terminal:
    """A shell in tmux, on a server of its own."""

    def __init__(self, width: int, height: int, folder: Path) -> None:
        self.width = width
        self.tmux = ("tmux", "-S", str(folder / "socket"), "-f", "/dev/null")
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        clean = {"PS1": "$ ", "PATH": path, "HISTFILE": "", "EVOSEARCH_CACHE": str(folder / "cache")}
        words = ["env", *(f"{name}={value}" for name, value in clean.items()), "bash", "--norc", "--noprofile"]
        size = ("-x", str(width), "-y", str(height), "-c", str(folder))
        self._tmux("new-session", "-d", *size, "--", *words)

    def _tmux(self, *words: str) -> str:
        return subprocess.run([*self.tmux, *words], check=True, capture_output=True, text=True).stdout

    def type(self, keys: str) -> None:
        self._tmux("send-keys", "-l", keys)

    def screen(self, *flags: str) -> str:
        """What is seen; -e with its colours, -J with wrapped lines joined."""
        return self._tmux("capture-pane", "-p", *flags).rstrip("\n") + "\n"

    def close(self) -> None:
        self._tmux("kill-server")


def watch(terminal: Terminal, until: str) -> list[str]:
    """What the screen shows, again and again, until it ends as it should."""
    screens: list[str] = []
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        screens.append(terminal.screen())
        if re.search(until, screens[-1].rstrip("\n")):
            return screens
        time.sleep(LOOK)
    raise SystemExit(f"captures: {until!r} did not come:\n{screens[-1]}")


def unsteady(screens: Sequence[str]) -> str:
    """What is wrong with a panel that was looked at several times; empty where nothing is.

    It may grow, as rows get something to say, and move up, as a screen scrolls; never shrink or move down.
    """
    height, top = 0, sys.maxsize
    for screen in screens:
        lines = screen.splitlines()
        tops = [number for number, line in enumerate(lines) if line.startswith("╭")]
        ends = [number for number, line in enumerate(lines) if line.startswith("╰")]
        if not tops:
            continue  # not there yet
        if len(tops) > 1 or len(ends) > 1:
            return f"a line is left behind:\n{screen}"
        if not ends:
            return f"it has no end:\n{screen}"
        inside = lines[tops[0] + 1 : ends[0]]
        if not all(line.startswith("│") and line.endswith("│") for line in inside):
            return f"a line wraps:\n{screen}"
        if len(inside) < height:
            return f"it shrinks:\n{screen}"
        if tops[0] > top:
            return f"it jumps:\n{screen}"
        height, top = len(inside), tops[0]
    return ""


def draw(name: str, screen: str, width: int) -> str:
    """A screen with its colours as SVG."""
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for line in AnsiDecoder().decode(screen.rstrip("\n")):  # a colour goes on from line to line
        console.print(line, no_wrap=True, overflow="crop")
    return console.export_svg(title="", code_format=SVG, unique_id=f"{name}-{width}")


def capture(width: int, height: int) -> dict[str, str]:
    """The pictures of a terminal of one size, by file name."""
    drawn: dict[str, str] = {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        terminal = Terminal(width, height, Path(folder))
        try:
            for name, keys, until in STEPS:
                if name not in SAME_SCREEN:
                    terminal.type("clear\n")
                    time.sleep(0.5)
                terminal.type(keys)
                screens = watch(terminal, until)
                wrong = unsteady(screens)
                if wrong:
                    raise SystemExit(f"captures: the panel at {width}x{height} is unsteady: {wrong}")
                long = [line for line in terminal.screen("-J").splitlines() if len(line.rstrip()) > width]
                if any(len(line.split()[-1]) < width for line in long):  # else a text that is to be copied whole
                    raise SystemExit(f"captures: at {width}x{height} lines wrap: {long}")
                drawn[f"{name}-{width}x{height}.svg"] = draw(name, terminal.screen("-e"), width)
        finally:
            terminal.close()
    return drawn


if __name__ == "__main__":
    for size, kept in SIZES.items():
        for file, picture in capture(*size).items():
            if not kept or file.partition("-")[0] in kept.split():
                (CAPTURES / file).write_text(picture, encoding="utf-8")
                print(f"wrote docs/captures/{file}")
