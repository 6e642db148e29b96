"""What other runs found, for a run's surrogate to begin with: read once, and kept in the run's own folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evosearch.errors import ArchitectureError, ConfigError
from evosearch.report import figures
from evosearch.report.reading import read_run
from evosearch.search.screening import quantiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evosearch.architecture import Space
    from evosearch.evaluation.measures import Objective
    from evosearch.grammar.core import Derivation
    from evosearch.report.reading import Candidate

PRIOR_FILE = "prior.json"
MOST = 1_000  # candidates of other runs, the latest of each

Known = tuple["Derivation", tuple[float, ...]]


def gathered(runs: Sequence[str], space: Space, objectives: Sequence[Objective]) -> tuple[Known, ...]:
    """The candidates of other runs that this space has too, each with the quantiles of its objectives in its own run.

    Values of different runs are not compared: their data sets, recipes and lengths may be others. Failures are below
    every score. Of a run's rungs the highest counts. Raises ConfigError for a run that did not search for what this
    one does, RunError where there is none.
    """
    found: list[Known] = []
    for name in runs:
        run = read_run(Path(name))
        searched = figures.objectives(run)
        missing = [str(one) for one in objectives if one not in searched]
        if missing:
            raise ConfigError(f"learn_from: {name} searched for {', '.join(map(str, searched))}, not for {missing[0]}")
        rows = [one for one in run.compared()[-(MOST // len(runs)) :] if one.repeat == 0]
        if not rows:
            continue
        values = np.array([[_signed(one, objective) for objective in objectives] for one in rows])
        ranks = np.stack([quantiles(column) for column in values.T], axis=1)
        for one, rank in zip(rows, ranks, strict=True):
            try:
                derivation = space.parse(one.text)
            except ArchitectureError:
                continue
            if space.fits(derivation):
                found.append((derivation, tuple(map(float, rank))))
    return tuple(found)


def _signed(one: Candidate, objective: Objective) -> float:
    value = figures.measured(one, objective.name)
    return -np.inf if value is None else objective.sign * value


def written(known: Sequence[Known], space: Space) -> str:
    """As a file's text."""
    return json.dumps([[space.render(derivation), ranks] for derivation, ranks in known]) + "\n"


def read(text: str, space: Space) -> tuple[Known, ...]:
    """What `written` wrote."""
    return tuple((space.parse(sentence), tuple(ranks)) for sentence, ranks in json.loads(text))
