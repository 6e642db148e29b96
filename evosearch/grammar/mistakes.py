"""Every mistake that a grammar file can hold, as one table: it makes the messages, and drives their test.

For each name there is a file `tests/grammar_mistakes/<name>.lark` that makes the mistake, and beside it the message
that must come. A message says what is wrong and what to write instead; file, line, column and caret come from the
place.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from evosearch.errors import GrammarError

if TYPE_CHECKING:
    from collections.abc import Iterable

MISTAKES: dict[str, str] = {
    # the file
    "missing-file": "no such grammar; give the path of a .lark file, or a name: {offer}",
    "unreadable-file": "cannot read the file ({reason}); give the path of a .lark file that can be read",
    "not-text": "not a text file ({reason}); a grammar is UTF-8 text",
    "too-large": "{size:,} bytes is over the limit of {limit:,}; split the grammar and %import its parts",
    "import-missing": "no grammar {path} to import from{hint}",
    "import-loop": "the imports run in a circle: {circle}; move what they share to a file of its own",
    "import-nothing": "this import names no rule or terminal; write %import {path}.NAME",
    "import-unknown": "{path} has no rule or terminal {name!r}{near}",
    "import-twice": (
        "{name!r} is imported, but there is another {name!r}; import it under another name: %import {path} -> {other}"
    ),
    "too-many-imports": "over {limit} grammar files are imported; import each file in fewer places",
    # the notation
    "syntax": "{found} does not belong here; {advice}",
    "bad-name": "{found!r} is no name; rules are lower case (conv_block), terminals upper case (WIDTH), without mixing",
    "blank": "over {limit:,} characters of white space in a row; remove them",
    "too-deep": "groups are nested over {limit} deep; name some of them as rules",
    "bad-text": '{text} cannot be read as text ({reason}); write a backslash as \\\\ and a quote as \\"',
    "bad-regex": "the regular expression {text} is wrong ({reason})",
    "hard-regex": "the regular expression {text} cannot be analysed ({reason}); list its texts, or write a simpler one",
    "bad-char-range": (
        '{text} is not a range of characters; write two single letters or digits in order, as in "a".."f"'
    ),
    "bad-count": (
        "~{low}..{high} is no range of counts; write the smaller number first, none negative and none over {limit}"
    ),
    "defined-twice": "{name!r} is defined here and at line {line}; rename one, or join their alternatives with |",
    "reserved-name": "{name!r} starts with two underscores, which Lark keeps for itself; drop one",
    "no-start": "there is no rule 'start', from which every sentence is derived; add `start: {first}`",
    "priority": (
        "rule {name!r} has a priority, but an architecture text must have only one reading; leave .{priority} out"
    ),
    "declare": '%declare leaves {name!r} without a definition, so it cannot be drawn; define it: {name}: "..."',
    "override-unknown": "{statement} needs a {name!r} that was defined or imported above{near}",
    "inlined-alias": (
        "rule {name!r} starts with _, so it disappears in the rule that uses it and takes no alias; drop the _ or "
        "the alias"
    ),
    "inlined-modifier": "rule {name!r} starts with _ and disappears anyway; drop the ?",
    "group-alias": (
        "an alias (-> {alias}) stands at the end of an alternative, not inside a group; name the group as a rule"
    ),
    "terminal-alias": "a terminal takes no alias (-> {alias}); give it to the alternative of the rule that uses it",
    "ignore-nothing": '%ignore has nothing behind it here; write the text or the terminal to ignore, as in %ignore " "',
    "ignore-rule": (
        "%ignore takes terminals, and {name!r} is a rule; write it in upper case, or as a regular expression"
    ),
    # names
    "unknown-symbol": "{kind} {name!r} is used but not defined{near}",
    "unreached-rule": "rule {name!r} is never reached from start; use it in another rule, or remove it",
    "unused-terminal": "terminal {name!r} is not used; use it in a rule, or remove it",
    "template-arguments": "template {name!r} takes {expected} argument{s}, not {count}; write {name}{{{params}}}",
    "not-a-template": "rule {name!r} takes no arguments; write {name} without braces, or give it parameters",
    "template-parameter": "parameter {name!r} of template {template!r} is also {clash}; give it another name",
    "template-endless": "template {name!r} calls itself with ever new arguments; let it call itself with the same ones",
    "rule-in-terminal": "terminal {terminal!r} uses rule {name!r}; terminals are made of texts and terminals only",
    "terminal-recursion": "terminal {name!r} contains itself; recursion is for rules only",
    # weights and other settings
    "bad-weight": "{text!r} is no weight; write a number from 0 to 1, as in p=0.25",
    "weight-sum": "weights of {name!r} sum to {total}; {advice}",
    "weight-left": (
        "weights of {name!r} sum to {total} and leave nothing for this alternative; lower them, or write p=0 here"
    ),
    "mistyped-setting": "the comment looks like a setting but is none; write {advice}",
    "setting-twice": "{name}= is given twice for one alternative; leave one out",
    "setting-shared": (
        "{count} alternatives end on this line, so its setting could mean either; put each on a line of its own"
    ),
    "setting-homeless": (
        "no alternative ends on this line, so its setting belongs to none; put it behind the last word of an "
        "alternative (groups take no weights: make the group a rule)"
    ),
    "bad-more": "{text!r} is no chance of going on; write a number from 0 up to, not including, 1, as in more=0.7",
    "more-misplaced": (
        "more= needs an alternative with exactly one * or +, and this one has {count}; name the repetition as a rule"
    ),
    "bad-range": "{text!r} is no range ({reason}); write range=1..9 int, range=0..0.5, or range=1e-4..1e-1 log",
    "range-misplaced": (
        "range= belongs to a terminal with one alternative, and {name!r} {why}; write NUMBER: /[0-9.e-]+/ // range=..."
    ),
    "range-mismatch": (
        "{name!r} does not match {text!r}, which its range draws; widen the regular expression or change the range"
    ),
    "bad-input": "{text!r} is no input; write // input: image (C H W), column (S D), vector (D), or none",
    "input-twice": "the input is stated here and at line {line}; leave one out",
    # what the rules generate
    "empty-alternative": (
        "this alternative of {name!r} is empty and renders to nothing; remove the |, or make what it leaves out "
        "optional with ?"
    ),
    "empty-terminal": "terminal {name!r} can be empty; move the ? or * to the rules that use it",
    "too-many-alternatives": (
        "{name!r} expands to over {limit:,} alternatives; name some of its groups, options or counts as rules of "
        "their own"
    ),
    "grammar-too-large": "the grammar expands to over {limit:,} {what}; use fewer options and counts",
    "terminal-too-large": "terminal {name!r} is too large ({reason}); use a range or a shorter list",
    "never-ends": (
        "rule {name!r} can never end: each of its alternatives leads back to it; add an alternative that does not "
        "contain {name!r}"
    ),
    "left-recursion": (
        "rule {name!r} begins with itself and can never end; add an alternative that does not begin with {name!r}"
    ),
    "drawing-never-ends": (
        "rule {name!r} can end only through alternatives with p=0, so drawing it would never end; give one of them a "
        "weight"
    ),
    "derives-itself": (
        "rule {name!r} can turn into itself alone ({circle}), so a text would have endlessly many readings; remove "
        "that way"
    ),
    "conflict": (
        "{first} (line {first_line}) and {second} (line {second_line}) cannot be told apart when {token} comes next; "
        "begin or end one of them with a word of its own"
    ),
    "conflict-self": (
        "{first} can be read in two ways when {token} comes next; let it begin with a word of its own, or contain "
        "itself only at one end"
    ),
    "same-text": (
        "{text!r} can be read as {first} or as {second} in the same place; give them different texts, or make them "
        "one terminal"
    ),
    "glued-texts": (
        "{first!r} and {second!r} run together when written side by side, and a space would not part them; {advice}"
    ),
    "unsampled-regex": (
        "the regular expression {text} cannot be drawn from; list its texts, or state a range of numbers: // "
        "range=1..9 int"
    ),
    "same-layers": (
        "{first} (line {first_line}) and {second} (line {second_line}) are written alike but stand for different "
        "layers; give one of them a word of its own"
    ),
    "lark": "stock Lark refuses the grammar: {reason}",
}


@dataclass(frozen=True)
class Source:
    """A grammar file's name, as the user knows it, and its text with plain newlines."""

    name: str
    text: str = field(repr=False)

    @cached_property
    def lines(self) -> list[str]:
        return self.text.split("\n")


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in a file: line and column, both counted from 1; 0 where it has none."""

    source: Source
    line: int = 0
    column: int = 0


def mistake(row: str, place: Place, /, **fields: object) -> GrammarError:
    """The error for one row of the table, at a place."""
    lines = place.source.lines
    source_line = lines[place.line - 1] if 0 < place.line <= len(lines) else ""
    return GrammarError(
        MISTAKES[row].format(**fields),
        file=place.source.name,
        line=place.line,
        column=place.column,
        source_line=source_line,
    )


def near(name: str, names: Iterable[str]) -> str:
    """'; did you mean ...?' with up to three names like the given one, or nothing."""
    found = difflib.get_close_matches(name, sorted(set(names)), n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(repr(word) for word in found)}?" if found else ""
