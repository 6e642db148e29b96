"""Hypothesis strategies: grammar files, made of all that the notation has."""

from __future__ import annotations

from hypothesis import strategies as st

RULES = ("start", "one", "two", "three")
WORDS = ("a", "b", "c", "(", ")", ",", "if", "ab", "x1")
TERMINALS = {"WIDTH": '"16" | "32"', "_COMMA": '","', "DIGITS": '("0".."9")~1..2', "NAME": '("u".."w")+'}
MARKS = ("",) * 8 + ("?", "*", "+", "~2", "~0..2")


@st.composite
def _atoms(draw: st.DrawFn, depth: int) -> str:
    kind = draw(st.sampled_from(("word", "word", "rule", "terminal", "template") + ("group", "maybe") * (depth > 0)))
    if kind == "word":
        return f'"{draw(st.sampled_from(WORDS))}"'
    if kind == "rule":
        return str(draw(st.sampled_from(RULES[1:])))
    if kind == "terminal":
        return str(draw(st.sampled_from(sorted(TERMINALS))))
    if kind == "template":
        return f'list{{{draw(st.sampled_from(RULES[1:]))}, "{draw(st.sampled_from(WORDS))}"}}'
    inner = " | ".join(draw(st.lists(_sequences(depth - 1), min_size=1, max_size=2)))
    return f"({inner})" if kind == "group" else f"[{inner}]"


@st.composite
def _sequences(draw: st.DrawFn, depth: int) -> str:
    atoms = draw(st.lists(_atoms(depth), min_size=1, max_size=3))
    first = ['"@"'] if draw(st.integers(0, 9)) else []
    return " ".join([*first, *(atom + draw(st.sampled_from(MARKS)) for atom in atoms)])


@st.composite
def grammars(draw: st.DrawFn) -> str:
    """A grammar file of up to four rules, right or wrong: with conflicts, endless or unreached rules, colliding texts.

    Most sequences begin with a word of their own, or hardly any grammar would be free of conflicts.
    Each alternative of a rule may have an alias; rules may be written with ? and !.
    """
    lines = []
    for rule in RULES:
        branches = draw(st.lists(_sequences(1), min_size=1, max_size=2))
        aliased = draw(st.booleans())
        written = [branch + (f" -> {rule}_{i}" if aliased else "") for i, branch in enumerate(branches)]
        written += [f'"{rule}"'] * draw(st.booleans())  # most rules should be able to end
        lines.append(draw(st.sampled_from(("", "", "?", "!"))) + f"{rule}: " + "\n    | ".join(written))
    text = "\n".join(lines)
    lines += [f"{name}: {body}" for name, body in TERMINALS.items() if name in text]
    if "list{" in text:
        lines.append("list{item, mark}: item (mark item)*")
    parts = "\n".join([*lines, '%ignore " "', ""]).split("@")
    return "".join(part + (f"w{i}" if i < len(parts) - 1 else "") for i, part in enumerate(parts))


def without_unreached(text: str) -> str:
    """The same file without rules that nothing refers to, so that more of them are accepted."""
    lines = text.split("\n")
    names = [line.lstrip("?!").split(":")[0].split("{")[0] for line in lines]
    changed = True
    while changed:
        changed = False
        for position, name in enumerate(names):
            if not name or name.startswith((" ", "%", "start")):
                continue
            end = position + 1
            while end < len(lines) and lines[end].startswith("    |"):
                end += 1
            rest = "\n".join(lines[:position] + lines[end:])
            if not any(name in word.split("{")[0].strip("()[]*+?") or f"{{{name}," in word for word in rest.split()):
                del lines[position:end], names[position:end]
                changed = True
                break
    return "\n".join(lines)
