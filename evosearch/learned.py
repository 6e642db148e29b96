"""What a run has learned, written back as a grammar: `evolve learn RUN -o new.lark`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evosearch import grammar as language
from evosearch.errors import UsageError
from evosearch.grammar.learning import CONCENTRATION, MIX, Choices, Learned, learn
from evosearch.grammar.rewriting import rewritten
from evosearch.report import figures
from evosearch.report.reading import read_run
from evosearch.search.learning import BEST, learned_from
from evosearch.search.standing import best_first

if TYPE_CHECKING:
    from pathlib import Path

    from evosearch.report.reading import Candidates, RunReading


@dataclass(frozen=True)
class Written:
    """A grammar file that was learned. candidates: that the run scored. best: those that were learned from."""

    path: Path
    learned: Learned
    candidates: int
    best: int


def write(
    folder: Path, path: Path, *, best: float = BEST, concentration: float = CONCENTRATION, mix: float = MIX
) -> Written:
    """Write the grammar of a run with the weights that its best candidates give, and read it back.

    best: the share of the candidates, the best ones, that is learned from, above 0 and up to 1; ten at the least.
    concentration, mix: as
    in `grammar.learning.learn`. What the grammar imports is written beside it. Runs no code of the run.

    Raises UsageError where the run has no candidate yet or something else lies at a path.
    """
    run = read_run(folder)
    ranked = ranking(run)
    if not ranked:
        raise UsageError(f"{folder}: no candidate has succeeded yet, so there is nothing to learn from")
    grammar = language.load(run.grammar_file)
    if path.suffix != ".lark":
        raise UsageError(f"-o {path}: a grammar's file ends in .lark")
    files = {path.parent / name: text for name, text in list(grammar.source.items())[1:]}
    for file, text in files.items():
        if file.exists() and file.read_text(encoding="utf-8") != text:
            raise UsageError(
                f"{file}: imported by the grammar, and another file lies there; name another folder with -o"
            )
    chosen = ranked[: learned_from(len(ranked), best)]
    choices = Choices(grammar)
    counts = choices.count(language.parse(grammar, one.text) for one in chosen)
    learned = learn(choices, counts, concentration=concentration, mix=mix)
    objectives = ", ".join(map(str, figures.objectives(run)))
    heading = [
        f"Learned from {folder.name}: the best {len(chosen):,} of {len(ranked):,} candidates, by {objectives}.",
        f"The file's own weights count for {concentration:g} choices, and make {mix:.0%} of what stands here.",
        "",
    ]
    files[path] = rewritten(learned, heading)
    for file, text in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    language.load(path)
    return Written(path, learned, len(ranked), len(chosen))


def ranking(run: RunReading) -> Candidates:
    """The run's candidates that succeeded, each key once, as it was evaluated furthest; the best first."""
    objectives = figures.objectives(run)
    values = np.stack([one.sign * run.measured(one.name) for one in objectives], axis=1)
    shares, keys = run.columns.fidelities, run.columns.keys
    furthest: dict[int, int] = {}
    for number in np.flatnonzero(~np.isnan(values).any(axis=1)).tolist():
        known = furthest.get(keys[number])
        if known is None or shares[number] > shares[known]:
            furthest[keys[number]] = number
    found = list(furthest.values())
    order = best_first([(float(shares[number]), values[number].tolist()) for number in found])
    return run.candidates.at([found[index] for index in order])
