"""Broken grammar files: whatever a slip of the hand makes of one, evosearch accepts it or says what is wrong, soon."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from evosearch.errors import EvosearchError
from evosearch.grammar import loads
from tests.spaces import GRAMMARS

FILES = sorted(GRAMMARS.glob("*.lark"))
PIECES = (
    "|", "(", ")", "[", "]", "{", "}", "?", "*", "+", "~", "~2..3", "~0..999", "->", ":", '"', "/", "//", "#", "\\",
    "%", "!", "_", ".", "..", ",", "\n", "\t", "\r", "\0", "\ufeff", "é", "\U0001f600", "p=0.5", "// p=0.5",
    "// more=0.7", "// range=1..9 int", "%ignore", "%import common.WORD", "start", "module", '"a"', '"a".."z"',
    "/[a-z]+/", "/(a|b)*/", "0", "999999999999", "WS", "-> conv", "(a | b)~1..40", '"\\x"', "$", "__x", "A: A",
    "a: a", "a{b}: b",
)  # fmt: skip


def broken(text: str, rng: np.random.Generator) -> str:
    """The text after one to four random edits of characters, words or lines."""
    for _ in range(int(rng.integers(1, 5))):
        at, end = sorted(int(i) for i in rng.integers(0, len(text) + 1, 2))
        end = min(end, at + int(rng.integers(1, 12)))
        lines = text.split("\n")
        line, other = (int(i) for i in rng.integers(0, len(lines), 2))
        edit = rng.integers(0, 8)
        if edit == 0:
            text = text[:at] + text[end:]
        elif edit in (1, 2):
            text = text[:at] + PIECES[int(rng.integers(len(PIECES)))] + text[at:]
        elif edit == 3:
            text = text[:at] + PIECES[int(rng.integers(len(PIECES)))] + text[end:]
        elif edit == 4:
            text = text[:at] + text[at:end] * int(rng.integers(2, 4)) + text[end:]
        elif edit == 5:
            text = text[:at] + chr(int(rng.integers(1, 256))) + text[at + 1 :]
        elif edit == 6:
            text = "\n".join(lines[:line] + lines[line + 1 :])
        else:
            lines[line], lines[other] = lines[other], lines[line]
            text = "\n".join(lines)
    return text


@pytest.mark.parametrize(
    ("count", "seed"), [(60, 3), *(pytest.param(1_000, seed, marks=pytest.mark.slow) for seed in range(10))]
)
def test_a_broken_grammar_is_accepted_or_refused_with_one_line_within_ten_seconds(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    texts = [path.read_text(encoding="utf-8") for path in FILES]
    refused = 0
    for number in range(count):
        text = broken(texts[number % len(texts)], rng)
        before, message = time.process_time(), ""
        try:
            loads(text)
        except EvosearchError as error:
            refused += 1
            message = str(error)
        assert "\n" not in message, text
        assert time.process_time() - before < 10, text
    assert count // 2 < refused < count


@pytest.mark.parametrize(
    "text",
    [
        "start: " + " ".join(f"x{i}?" for i in range(40)) + "\n" + "\n".join(f'x{i}: "{i}"' for i in range(40)),
        'start: ("a" | "b")~1..40',
        'start: (("a" | "b")~1..30)~1..30',
        "start: A\n" + "\n".join(f"A{i}: A{i + 1} A{i + 1}" for i in range(30)).replace("A0", "A") + '\nA30: "a"',
        "start: A0\n" + "\n".join(f"A{i}: A{i + 1}" for i in range(3000)) + '\nA3000: "a"',
        "start: r0\n" + "\n".join(f"r{i}: r{i + 1}" for i in range(3000)) + '\nr3000: "a"',
        "start: " + "(" * 5000 + '"a"' + ")" * 5000,
        'start: t{"a"}\nt{x}: x t{u{x}}\nu{x}: x x',
        "start: " + " | ".join(f'"w{i}"' for i in range(3000)),
        "start: N\nN: /(a|b)*a(a|b){200}/  // range=0..1",
        "start: N\nN: /((((((((((a*)*)*)*)*)*)*)*)*)*)/  // range=0..1",
        pytest.param("start: A A\nA: " + " | ".join(f'"{i}"' for i in range(900)), marks=pytest.mark.slow),
        'start: x~0..1000 y~0..1000 z~0..1000\nx: "x"\ny: "y"\nz: "z"',
        'start: ("a"~1..1000)~1..1000',
        pytest.param("start: " + '"a" ' * 100_000, marks=pytest.mark.slow),
        "start: " + '["a"] ' * 9,
        "\n" * 500_000 + 'start: "a"',
        "//" * 400_000,
        'start: "' + "a" * 900_000 + '"',
    ],
    ids=range(19),
)
def test_what_would_expand_without_bound_is_answered_within_ten_seconds(text: str) -> None:
    before, message = time.process_time(), ""
    try:
        loads(text)
    except EvosearchError as error:
        message = str(error)
    assert "\n" not in message
    assert len(message) < 1000
    assert time.process_time() - before < 10


def test_a_file_that_is_no_text_at_all_is_refused(tmp_path: Path) -> None:
    from evosearch.grammar import load

    rng = np.random.default_rng(0)
    path = tmp_path / "noise.lark"
    for size in (0, 1, 10, 1000, 100_000):
        path.write_bytes(rng.bytes(size))
        with pytest.raises(EvosearchError):
            load(path)
