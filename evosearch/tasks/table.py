"""Recorded benchmarks: a table of architectures and what was measured of them. `--task table:FILE.csv`.

    table:nasbench201_cifar10.csv.xz,fitness=val_accuracy_12ep,cost=train_seconds_12ep,report=test_accuracy_200ep

One row is one architecture. Its columns: the *key* (the architecture's text), the *fitness* the search sees, the
*cost* in seconds that the evaluation took when it was recorded, and what is *reported* of the best one but never seen
by the search. `FITNESS@0.1` is what the fitness is after a tenth of an evaluation, for `search.rungs`; `COST@0.1` what
that takes, a tenth of the cost where there is none. Every other column of numbers is an objective too. Files may be
.csv, .csv.gz, .csv.xz or .csv.bz2.

NAS-Bench-201's own strings (`|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`) are the sentences of grammars/nasbench201.lark.
"""

from __future__ import annotations

import csv
import hashlib
import math
import re
from dataclasses import dataclass, replace
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from evosearch import paths
from evosearch.errors import TaskError
from evosearch.score import Score
from evosearch.tasks.sources import opened

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evosearch.grammar.core import Derivation
    from evosearch.layers.base import Shape
    from evosearch.tasks.base import TaskSettings

ROLES = ("key", "fitness", "cost", "report")
# What a role's column is called where nobody names it: its own name, or one that begins so.
USUAL = {
    "key": ("key", "arch"),
    "fitness": ("fitness", "val"),
    "cost": ("cost", "train_seconds"),
    "report": ("report", "test"),
}
CIFAR: Shape = (3, 32, 32)  # NAS-Bench-201's input

NASBENCH201 = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
_CELL = re.compile(r"\|(\w+)~0\|\+\|(\w+)~0\|(\w+)~1\|\+\|(\w+)~0\|(\w+)~1\|(\w+)~2\|")


@dataclass(frozen=True, eq=False)
class TableTask:
    """A task that looks scores up.

    rows: figures by architecture text without white space; each a tuple in the order of `columns`.
    fidelity: the share of a whole evaluation that its scores are of.
    metric: the fitness column's name. sign: 1 or -1 where that was said with it, else 0. report, cost: the columns'
    names, or empty.
    """

    name: str
    digest: str
    metric: str
    cost: str
    report: str
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[float, ...]]
    input_shape: Shape | None
    sign: int = 0
    fidelity: float = 1.0
    own_code: ClassVar[bool] = False
    uses_derivation: ClassVar[bool] = False

    @property
    def signs(self) -> Mapping[str, int]:
        return {**dict.fromkeys(self.columns, 0), self.metric: self.sign}

    @cached_property
    def fidelities(self) -> tuple[float, ...]:
        """The shares of a whole evaluation that the table has a column for, rising."""
        shares = [column.rpartition("@") for column in self.columns]
        return tuple(sorted(float(share) for name, _, share in shares if name == self.metric and _is_share(share)))

    def at(self, fidelity: float) -> TableTask:
        """The table's scores at a share of a whole evaluation; itself where it has no shares. Raises TaskError."""
        if fidelity == 1 or not self.fidelities:
            return self
        if fidelity not in self._views:
            there = ", ".join(f"{share:g}" for share in self.fidelities)
            raise TaskError(f"{self.name}: no column {self.metric}@{fidelity:g}; there are the shares {there}")
        return self._views[fidelity]

    @cached_property
    def _views(self) -> dict[float, TableTask]:
        return {share: replace(self, fidelity=share) for share in self.fidelities}

    def evaluate(self, text: str, derivation: Derivation | None, key: str, seed: int) -> Score:
        """The row of this very text, whatever other text has its key; `invalid` where the table has none."""
        row = self.rows.get(normalise(text))
        if row is None:
            return Score(key, "invalid", seed=seed, error=f"{self.name} has no row for {text}")
        figures = self._figures(row)
        fitness = figures[self.metric]
        if math.isnan(fitness):
            return Score(key, "nan", seed=seed, error=f"{self.name} has no {self.metric} for {text}")
        metrics = {self.report: figures.pop(self.report)} if self.report else {}
        known = {name: value for name, value in figures.items() if math.isfinite(value)}
        return Score(key, "ok", known, metrics, seed=seed)

    def _figures(self, row: tuple[float, ...]) -> dict[str, float]:
        """A row's figures at the task's fidelity: what other shares took and gave is left out."""
        found: dict[str, float] = {}
        of_share: dict[str, float] = {}
        for column, value in zip(self.columns, row, strict=True):
            name, _, share = column.rpartition("@")
            if name not in (self.metric, self.cost) or not _is_share(share):
                found[column] = value
            elif float(share) == self.fidelity:
                of_share[name] = value
        if self.cost:
            found[self.cost] *= self.fidelity
        return found | of_share


def _is_share(text: str) -> bool:
    return _is_number(text) and 0 < float(text) < 1


def normalise(text: str) -> str:
    """Text without white space, as sentences are rendered."""
    return "".join(text.split())


def cell(text: str) -> tuple[str, ...]:
    """The six operations of NAS-Bench-201's string: edges 0-1, 0-2, 1-2, 0-3, 1-3, 2-3. Raises TaskError."""
    found = _CELL.fullmatch(normalise(text))
    if found is None or any(operation not in NASBENCH201 for operation in found.groups()):
        raise TaskError(f"{text!r} is no NAS-Bench-201 cell; one reads |op~0|+|op~0|op~1|+|op~0|op~1|op~2|")
    return found.groups()


def load(spec: str, settings: TaskSettings) -> TableTask:
    """The table that `FILE.csv[,key=COLUMN][,fitness=COLUMN][,cost=COLUMN][,report=COLUMN]` names.

    A column that is not named is the one called so, or whose name begins as USUAL says; `data.target` names the
    fitness too. The fitness may have a sign before it, which says what is better: `fitness=-val_regret`. Raises
    TaskError with file, line and column of whatever is wrong.
    """
    file, named = _spec(spec)
    if settings.target:
        named.setdefault("fitness", settings.target)
    path = paths.expanded(file)
    if not path.exists():
        raise TaskError(f"{path}: no such table")
    text = opened(path)
    header, records = _lines(path, text)
    sign = 0
    if (asked := named.get("fitness", ""))[:1] in ("+", "-") and asked not in header:
        named["fitness"], sign = asked[1:], 1 if asked[0] == "+" else -1
    roles = {role: _column(path, header, role, named.get(role)) for role in ROLES}
    key_at = header.index(roles["key"])
    rows: dict[str, tuple[float, ...]] = {}
    if not records:
        raise TaskError(f"{path}: no rows below the header")
    for line, record in records:
        if len(record) != len(header):
            raise TaskError(f"{path}:{line}: {len(record)} fields, but the header has {len(header)}")
    first = [record for _, record in records[:50]]
    numeric = [at for at in range(len(header)) if at != key_at and any(_is_number(record[at]) for record in first)]
    for role in ("fitness", "cost", "report"):
        if roles[role] and header.index(roles[role]) not in numeric:
            raise TaskError(f"{path}: column {roles[role]!r} is the {role} but does not hold numbers")
    for line, record in records:
        try:
            figures = tuple(float(record[at] or "nan") for at in numeric)
        except ValueError as error:
            raise TaskError(f"{path}:{line}: {error}; columns of numbers hold numbers or nothing") from error
        key = normalise(record[key_at])
        if rows.setdefault(key, figures) != figures:
            raise TaskError(f"{path}:{line}: {record[key_at]} is there twice, with other figures")
    nasbench = _CELL.fullmatch(normalise(records[0][1][key_at])) is not None
    digest = hashlib.blake2b((text + repr(sorted(roles.items()))).encode(), digest_size=16).hexdigest()
    return TableTask(
        name=path.name.split(".")[0],
        digest=digest,
        metric=roles["fitness"],
        cost=roles["cost"],
        report=roles["report"],
        columns=tuple(header[at] for at in numeric),
        rows=rows,
        input_shape=CIFAR if nasbench else None,
        sign=sign,
    )


def file_of(spec: str) -> str:
    """The file that such a spec names, as it was written. Raises TaskError."""
    return _spec(spec)[0]


def _spec(spec: str) -> tuple[str, dict[str, str]]:
    """The file and the columns named after it."""
    named: dict[str, str] = {}
    while match := re.fullmatch(r"(.*),(\w+)=([^,]*)", spec):
        spec, role, column = match.groups()
        if role not in ROLES:
            raise TaskError(f"table:...,{role}={column}: {paths.offer(role, ROLES)}")
        named[role] = column
    return spec, named


def _lines(path: Path, text: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and the other rows that hold anything, each with its line in the file."""
    reader = csv.reader(StringIO(text))
    try:
        return next(reader, []), [(reader.line_num, record) for record in reader if record]
    except csv.Error as error:
        raise TaskError(f"{path}:{reader.line_num}: {error}") from None


def _column(path: Path, header: Sequence[str], role: str, named: str | None) -> str:
    """The header's column for a role; empty for a cost or report that is not there."""
    if named:
        if named not in header:
            raise TaskError(f"{path}: no column {named!r} for the {role}; {paths.offer(named, header)}")
        return named
    exact, prefix = USUAL[role]
    for column in header:
        if column == exact:
            return column
    for column in header:
        if column.startswith(prefix):
            return column
    if role in ("cost", "report"):
        return ""
    raise TaskError(
        f"{path}: which column is the {role}? say table:{path},{role}=COLUMN; there are: {', '.join(header)}"
    )


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
