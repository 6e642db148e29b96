"""Every mistake of the table is made by a file, and answered by the message that stands beside it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from evosearch.errors import GrammarError, LayerError
from evosearch.grammar import load, loads
from evosearch.grammar.files import MAX_BYTES, MAX_IMPORTS
from evosearch.grammar.mistakes import MISTAKES
from evosearch.layers import vocabulary
from tests.mistakes import many_imports

FOLDER = Path(__file__).parent / "grammar_mistakes"
# words that no layer answers to are found by the layers' vocabulary, which writes these messages
LAYERS = sorted(path.stem for path in FOLDER.glob("layer-*.lark"))
FILES = sorted({path.stem for path in FOLDER.glob("*.lark")} - set(LAYERS))
# these need files that no repository wants to hold
MADE_BY_TESTS = {"missing-file", "unreadable-file", "too-large", "too-many-imports"}


def row(name: str) -> str:
    """The table's row that a file is about: syntax-3.lark makes another `syntax` mistake."""
    return re.sub(r"-\d+$", "", name)


def pattern(name: str) -> re.Pattern[str]:
    """A row's message with anything in its fields."""
    fixed = re.split(r"\{[^{}]+\}", MISTAKES[name].replace("{{", "\1").replace("}}", "\2"))
    return re.compile(".*".join(re.escape(text.replace("\1", "{").replace("\2", "}")) for text in fixed), re.DOTALL)


def made(path: str, monkeypatch: pytest.MonkeyPatch) -> GrammarError:
    monkeypatch.chdir(FOLDER)
    with pytest.raises(GrammarError) as caught:
        load(path)
    return caught.value


@pytest.mark.parametrize("name", FILES)
def test_each_mistake_is_told_with_place_caret_and_cure(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    error = made(f"{name}.lark", monkeypatch)
    assert pattern(row(name)).fullmatch(error.message)
    expected = (FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    assert f"{error}\n{error.caret}".strip() + "\n" == expected


@pytest.mark.parametrize("name", FILES)
def test_each_message_is_one_line_and_its_caret_points_into_the_line(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = made(f"{name}.lark", monkeypatch)
    assert "\n" not in str(error)
    if error.line:
        line = (FOLDER / error.file).read_text(encoding="utf-8").split("\n")[error.line - 1]
        assert error.source_line == line
        assert 1 <= error.column <= len(line) + 1
        assert error.caret == f"{line}\n{' ' * (error.column - 1)}^"


@pytest.mark.parametrize("name", LAYERS)
def test_a_word_without_its_layer_is_told_with_place_caret_and_cure(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    with pytest.raises(LayerError) as caught:
        vocabulary(load(f"{name}.lark"))
    expected = (FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    assert f"{caught.value}\n{caught.value.caret}".strip() + "\n" == expected


def test_no_row_of_the_table_is_without_a_file() -> None:
    assert {row(name) for name in FILES} | MADE_BY_TESTS == set(MISTAKES)


def test_a_missing_file_is_named_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(GrammarError, match=pattern("missing-file")) as caught:
        load("einspcae")
    assert "einspcae" in str(caught.value)
    assert "did you mean einspace" in str(caught.value)
    with pytest.raises(GrammarError, match=pattern("missing-file")):
        load(tmp_path)  # a folder is no grammar


def test_an_unreadable_file_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.lark"
    path.write_text('start: "a"\n')

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)  # root may read everything, so no mode keeps it out
    with pytest.raises(GrammarError, match="Permission denied"):
        load(path)


def test_a_file_over_a_megabyte_is_refused_and_one_below_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large.lark"
    path.write_text('start: "a"\n' + "#" * (MAX_BYTES - 10))
    with pytest.raises(GrammarError, match=pattern("too-large")):
        load(path)
    path.write_text('start: "a"\n' + "#" * (MAX_BYTES - 12) + "\n")
    assert load(path).start == "start"


def test_too_many_imports_are_refused(tmp_path: Path) -> None:
    """2 + 4 + ... + 128 readings."""
    many_imports(tmp_path)
    with pytest.raises(GrammarError, match=pattern("too-many-imports")) as caught:
        load(tmp_path / "many.lark")
    assert str(MAX_IMPORTS) in str(caught.value)


def test_a_text_without_a_folder_imports_from_larks_library_only() -> None:
    assert loads('start: "a"\n%import common.WS\n%ignore WS\n').name == "<text>"
    with pytest.raises(GrammarError, match="has no folder"):
        loads("start: block\n%import .blocks.block\n")


def test_a_mistake_in_an_imported_file_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "parts.lark").write_text('block: "a"\n     | other\n')
    (tmp_path / "main.lark").write_text("start: block\n%import .parts.block\n")
    with pytest.raises(GrammarError) as caught:
        load(tmp_path / "main.lark")
    assert str(caught.value).startswith(f"{tmp_path / 'parts.lark'}:2:8: rule 'other' is used but not defined")
