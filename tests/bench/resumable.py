"""Benchmarks that take long: a row of JSON for each thing to measure, appended as it is measured, and never again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def read(file: Path) -> list[Row]:
    """The rows in the order in which they were measured; none where there is no file yet."""
    if not file.is_file():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def append(row: Row, file: Path) -> None:
    with file.open("a", encoding="utf-8") as opened:
        opened.write(json.dumps(row) + "\n")


def completed(keys: Iterable[Mapping[str, Any]], measure: Callable[..., Row], file: Path) -> list[Row]:
    """All rows, after what has none was measured. keys: what tells a row; `measure` is called with its values."""
    rows = read(file)
    for key in keys:
        if not any(key.items() <= row.items() for row in rows):
            rows.append(measure(*key.values()))
            append(rows[-1], file)
    return rows
