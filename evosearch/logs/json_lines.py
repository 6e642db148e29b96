"""evaluations.jsonl: a JSON object for each score, with every text exactly as it is."""

from __future__ import annotations

import json

from evosearch.logs.follow import Following
from evosearch.logs.rows import Row, finite

ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=str)


class JsonLines(Following):
    name = "evaluations.jsonl"

    def encode(self, row: Row) -> bytes:
        try:
            return _json(row)
        except ValueError:  # a number that JSON has no word for: seldom, and looking for it takes as long as writing
            return _json({name: finite(value) for name, value in row.items()})


def _json(row: Row) -> bytes:
    """The row in one line of ASCII: exact, and nothing in it moves a terminal's cursor. ValueError for inf and NaN."""
    return (ENCODER.encode(row) + "\n").encode()
