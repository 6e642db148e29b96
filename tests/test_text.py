"""Text from outside: file names of any bytes, errors with lone surrogates, line separators; it never ends a run."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evosearch.store import framing
from evosearch.text import clean, escaped, kept, restored

ANY = st.text(st.characters(exclude_categories=())) | st.text(
    st.sampled_from(list("\\ud8ceu05c9é\udce9\ud83d\udcff\u2028\x85\x0c\x00\x1b\u202e"))
)


@given(ANY)
def test_whatever_is_kept_is_restored(text: str) -> None:
    """A path of any bytes stands in a configuration, which is UTF-8, and means the same path when it is read."""
    assert restored(kept(text)) == text
    kept(text).encode("utf-8")


@given(ANY)
def test_a_journal_takes_any_text(text: str) -> None:
    """What is written can be read, and says the same wherever the text was one."""
    record = framing.decode(framing.encode({"error": text, text: [text]}))
    assert record["error"] == escaped(text)
    assert framing.encode(record) == framing.encode({"error": text, text: [text]})
    if not any("\ud800" <= character <= "\udfff" for character in text):
        assert record["error"] == text


@given(ANY)
def test_a_terminal_gets_letters_alone(text: str) -> None:
    """Nothing that moves a cursor, turns the direction, ends a line, or cannot be written at all."""
    shown = clean(text)
    shown.encode("utf-8")
    assert all(character in "\n\t" or character.isprintable() for character in shown)
