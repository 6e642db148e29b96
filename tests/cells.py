"""Cells of NAS-Bench-201 as the benchmark's authors write and identify them: a reference for keys and tables."""

from __future__ import annotations

from collections.abc import Sequence


def cell_string(operations: Sequence[str]) -> str:
    """NAS-Bench-201's string of six operations."""
    a, b, c, d, e, f = operations
    return f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"


def unique_string(operations: Sequence[str]) -> str:
    """The benchmark authors' own identity of a cell: equal strings for cells they call isomorphic; 6,466 of 15,625.

    Structure.to_unique_str(consider_zero=True) of NAS-Bench-201 (Dong and Yang, ICLR 2020): a zero annihilates what it
    is applied to but stays as an addend, and sums are not flattened, so it tells x + 0 from x.
    """
    edges = iter(operations)
    nodes = ["0"]
    for inputs in (1, 2, 3):
        terms = []
        for node in nodes[:inputs]:
            operation = next(edges)
            if operation == "none" or node == "#":
                terms.append("#")
            elif operation == "skip_connect":
                terms.append(node)
            else:
                terms.append(f"({node})@{operation}")
        nodes.append("+".join(sorted(terms)))
    return nodes[-1]
