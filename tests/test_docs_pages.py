"""What the pages of docs/ show is what comes: every block of them is run, in order."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.docpages import Block, Reader, blocks, exact, form, matches

DOCS = ROOT / "docs"
QUICK: dict[str, tuple[str, ...]] = {  # each with settings that take less time for the same forms
    "index": (),
    "howto/data": (),
    "howto/device": (),
    "howto/layer": ("recipe.epochs=2", "final.epochs=2"),
    "howto/recipe": (),
    "howto/watch": (),
}
CLUSTER = ("howto/cluster",)  # tests/cluster/test_page.py
SLOW = (
    "tutorial",
    "library",
    "howto/compare",
    "howto/export",
    "howto/layer",  # as it stands, too
    "howto/mutation",
    "howto/objectives",
    "howto/resume",
    "howto/serve",
    "howto/weights",
)  # they train for a minute or more


@pytest.mark.parametrize("name", ["grammars", "tasks"])
def test_what_the_guides_show_is_what_comes_to_the_letter(name: str, tmp_path: Path) -> None:
    """Nothing in them depends on a training, so outputs are equal, figures included."""
    Reader(DOCS / f"{name}.md", tmp_path, alike=exact).read()


@pytest.mark.parametrize("name", QUICK)
def test_what_a_page_shows_is_what_comes(name: str, tmp_path: Path) -> None:
    """Figures, keys and times aside."""
    Reader(DOCS / f"{name}.md", tmp_path, settings=QUICK[name]).read()


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_what_a_page_shows_is_what_comes_to_one_who_types_it(name: str, tmp_path: Path) -> None:
    """The same with real processes, a real shell, a real Ctrl-C."""
    Reader(DOCS / f"{name}.md", tmp_path, quick=False).read()


def test_every_how_to_page_is_run() -> None:
    """A page that is added is added here, too."""
    pages = {f"howto/{path.stem}" for path in DOCS.glob("howto/*.md")}
    assert pages == {name for name in (*QUICK, *SLOW, *CLUSTER) if name.startswith("howto/")}


@pytest.mark.parametrize(
    ("shown", "came"),
    [
        ("best 0.9889  (a85f6586, 53.8 k parameters)  34.5/min", "best 0.5  (7b8ebc34, 778 parameters)  1.9/s"),
        ("evaluated   40 (40 distinct), 1 min 19 s", "evaluated   8 (8 distinct), 4.3 s"),
        ("best  605dcbda  gated(32);gated(64)", "best  89e35349  linear(64);linear(64);relu"),
        ("0.9  5  redraw\n0.8  6  halve_it", "0.5  1  change_choice\n0.4  2  swap_subtrees\n0.1  7  halve_it"),
        ("a\n...\nz", "a\nb\nc\nz"),
        ("a\n...\nz", "a\nz"),
        ("wrote ... at last", "wrote it at last"),
        ("", ""),
    ],
)
def test_outputs_of_one_form(shown: str, came: str) -> None:
    assert matches(form(shown), form(came))


@pytest.mark.parametrize(
    ("shown", "came"),
    [
        ("saved  runs/first/best", "kept  runs/first/best"),
        ("saved  runs/first/best", "saved  runs/first/best\nLook closer"),
        ("saved  runs/first/best\nLook closer", "saved  runs/first/best"),
        ("evaluated  40, 1 min 19 s", "evaluated  40"),
        ("a\n...\nz", "b\nz"),
        ("", "something"),
        ("something", ""),
    ],
)
def test_outputs_of_another_form(shown: str, came: str) -> None:
    assert not matches(form(shown), form(came))


@pytest.mark.parametrize(
    ("page", "says"),
    [
        ("```console\n$ echo one\ntwo\n```\n", "page.md:1 shows\ntwo\n"),
        ("```console\n$ false\n```\n", "exit code 1"),
        ("```console\n$ evolve check nowhere.lark\n```\n", "exit code 2"),
        ("```console\n$ echo 'evolve: fine'\nevolve: fine\n```\n", "exit code 0"),
        ("```python\nprint(1 + 1)  # 3\n```\n", "page.md:1 shows\n3\n"),
        ("```python\nprint('a')\n```\n\n```text\nb\n```\n", "page.md:1 shows\nb\n"),
        ("```rust\n```\n", "nobody runs rust"),
        ("```lark file=first.lark\n```\n", "a block that is not run"),
    ],
)
def test_a_page_that_shows_what_does_not_come_is_found(page: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(page)
    with pytest.raises(AssertionError) as found:
        Reader(tmp_path / "page.md", tmp_path, alike=exact).read()
    assert says in str(found.value)


def test_a_reader_follows_a_page_and_leaves_no_trace(tmp_path: Path) -> None:
    """Files are written, commands run beside them, keys are those that came; this process is as before."""
    page = tmp_path / "page.md"
    page.write_text(
        '```python title="own/there.py"\nvalue = 7\n```\n\n```console\n$ cd own\n$ cat there.py\nvalue = 7\n'
        "$ echo 0a1b2c3d # f0e1d2c3\n0a1b2c3d\n```\n\n"
        "```python\nimport sys\nsys.path.insert(0, '.')\nimport there\nprint(there.value)  # 7\n```\n"
    )
    before = (Path.cwd(), list(sys.path))
    reader = Reader(page, tmp_path)
    assert blocks(page)[0] == Block(1, "python", "own/there.py", "value = 7\n")
    reader.read()
    assert (Path.cwd(), sys.path) == before
    assert "there" not in sys.modules
    reader.keys["f0e1d2c3"] = "12345678"
    assert reader._run("echo f0e1d2c3", "") == "12345678\n"


@pytest.mark.usefixtures("hears_signals")
def test_ctrl_c_is_pressed_where_the_page_shows_it(tmp_path: Path) -> None:
    """Once the line before `^C` has come, and the command ends as an interrupted one does."""
    script = "trap 'echo; echo stopped; exit 130' INT; echo ready; for i in $(seq 1 300); do sleep 0.1; done; echo no"
    page = tmp_path / "page.md"
    page.write_text(f"```console\n$ {script}\nready\n^C\n\nstopped\n```\n")
    Reader(page, tmp_path, alike=exact).read()


PANEL = "╭───╮\n│ a │\n╰───╯"


@pytest.mark.parametrize(
    ("screens", "wrong"),
    [
        (["", PANEL, "╭───╮\n│ a │\n│ b │\n╰───╯\ndone"], ""),
        ([f"one\ntwo\n{PANEL}", f"two\n{PANEL}"], ""),
        ([f"╭───╮\n{PANEL}"], "left behind"),
        (["╭───╮\n│ a\n  │\n╰───╯"], "wraps"),
        (["╭───╮\n│ a │\n"], "no end"),
        (["╭───╮\n│ a │\n│ b │\n╰───╯", PANEL], "shrinks"),
        ([f"two\n{PANEL}", f"one\ntwo\n{PANEL}"], "jumps"),
    ],
)
def test_no_capture_is_drawn_of_a_panel_that_flickers(screens: list[str], wrong: str) -> None:
    found = runpy.run_path(str(DOCS / "captures.py"))["unsteady"](screens)
    assert wrong in found if wrong else found == ""


def test_the_site_is_built_and_asks_no_other_host_for_anything(tmp_path: Path) -> None:
    """Built strictly: a link to nowhere is an error. Pages, pictures and styles are all of the site's own."""
    shutil.copytree(DOCS, tmp_path / "docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    done = subprocess.run(
        [Path(sys.executable).parent / "zensical", "build", "--strict"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pages = sorted((tmp_path / "site").rglob("*.html"))
    named = {path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md")}
    assert named <= {page.relative_to(tmp_path / "site") for page in pages}
    wanted = r'<(?:script|img|source|iframe)\b[^>]*\bsrc="?([^">\s]+)|<link\b[^>]*\bhref="?([^">\s]+)'
    for page in pages:
        for found in re.finditer(wanted, page.read_text(encoding="utf-8")):
            target = found[1] or found[2]
            if page.name != "404.html":  # its links begin at the server's root
                assert (page.parent / target.partition("?")[0]).exists(), f"{page.name}: {target}"
    for picture in DOCS.glob("captures/*.svg"):
        text = picture.read_text(encoding="utf-8")
        assert {*re.findall(r"https?://[^\"\s)]+", text)} <= {"http://www.w3.org/2000/svg"}, picture.name
