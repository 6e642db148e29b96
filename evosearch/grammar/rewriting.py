"""A grammar's file with other weights: the same text, with a comment on each line that changed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evosearch.grammar.mistakes import Source
from evosearch.grammar.notation import Span, spans

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evosearch.grammar.learning import Learned

_COMMENT = re.compile(r"[ \t]*(?://|#)[ \t]*(.*)")
_SETTING = re.compile(r"(?:p|more|range)=\S+")


@dataclass(frozen=True)
class Stated:
    """What one alternative's comment is to say. weight, more: None to leave them. why: for a reader."""

    weight: float | None = None
    more: float | None = None
    why: str = ""


def rewritten(learned: Learned, heading: Sequence[str] = ()) -> str:
    """The main file of a grammar with the weights that were learned. heading: lines of comment to begin with.

    All else stays as it is: rules, layers, other comments. Alternatives that share a line get a line each where their
    weights changed, since a weight is the comment behind its alternative.
    """
    text = learned.choices.grammar.source[learned.choices.main]
    edits: list[tuple[int, int, str]] = []
    places = spans(Source(learned.choices.main, text))
    for name, stated in _statements(learned).items():
        edits += _edits(text, places[name], stated)
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return "".join(f"// {line}\n".replace(" \n", "\n") for line in heading) + text


def _statements(learned: Learned) -> Mapping[str, dict[int, Stated]]:
    """What is to stand behind the alternatives of each definition, by their places in it."""
    found: dict[str, dict[int, Stated]] = {}
    choices = learned.choices.all
    for index in learned.changed():
        choice, after = choices[index], learned.probabilities[index]
        seen = [learned.counts.get((index, option), 0) for option in range(len(after))]
        for option, before in enumerate(choice.prior):
            what = f"{seen[option]:,} of {sum(seen):,}"
            if choice.at:
                continue
            pruned = "; pruned" if (index, option) in learned.pruned else ""
            why = f"learned: was {before:.4g}, chosen {what}{pruned}"
            found.setdefault(choice.name, {})[option] = Stated(after[option], None, why)
    for index in learned.changed():
        choice, after = choices[index], learned.probabilities[index]
        for name, place in choice.at:
            seen = [learned.counts.get((index, option), 0) for option in range(2)]
            why = f"learned: more was {choice.prior[0]:.4g}, went on {seen[0]:,} of {sum(seen):,}"
            was = found.setdefault(name, {}).get(place, Stated())
            found[name][place] = Stated(was.weight, after[0], "; ".join(filter(None, (was.why, why))))
    return found


def _edits(text: str, places: Sequence[Span], stated: Mapping[int, Stated]) -> list[tuple[int, int, str]]:
    """(start, end, what to put there) for one definition."""
    colon = places[0].start - (text.rfind("\n", 0, places[0].start) + 1)
    codes: list[str] = []
    for at, span in enumerate(places):
        first = text.rfind("\n", 0, span.end) + 1
        broken = at > 0 and span.start >= first and at - 1 in stated
        codes.append(" " * colon + text[span.start : span.end] if broken else text[first : span.end])
    width = max(len(codes[at]) for at in stated)
    edits = []
    for at, one in stated.items():
        end = places[at].end
        stop = text.find("\n", end)
        stop = len(text) if stop < 0 else stop
        following = places[at + 1].start if at + 1 < len(places) else stop
        comment = text[end:stop] if following >= stop else ""
        new = " " * (width - len(codes[at]) + 1) + _comment(one, comment)
        edits.append((end, stop, new) if following >= stop else (end, following, f"{new}\n{' ' * colon}"))
    return edits


def _comment(stated: Stated, old: str) -> str:
    """The comment behind an alternative: the settings, why they are what they are, and what stood there before."""
    found = _COMMENT.fullmatch(old.rstrip())
    body = found[1] if found else ""
    settings: dict[str, str] = {}
    words = body.split()
    while words and _SETTING.fullmatch(words[0]):
        name, _, value = words.pop(0).partition("=")
        settings[name] = value
    if stated.weight is not None:
        settings["p"] = f"{stated.weight:.4g}"
    if stated.more is not None:
        settings["more"] = f"{stated.more:.4g}"
    said = " ".join(f"{name}={settings[name]}" for name in ("p", "more") if name in settings)
    rest = " ".join(words).lstrip("/# ")
    return f"// {said} // {stated.why}" + (f"; {rest}" if rest else "")
