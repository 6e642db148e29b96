"""Figures that stand for a candidate where something is to be learned about it: of any grammar, before it is built.

What a sentence chose is counted: each alternative, each at its depth, each pair of an alternative and what stands in
one of its places, each word. Alternatives have a column each; the rest is hashed into a fixed number of columns
(Weinberger et al. 2009), as there is no end to it. Where there are layers, the logarithms of what the network costs
stand beside; where a layer is a graph with operations on its edges, the statistics of its paths (GRAF, Kadlecova et
al. 2024).
"""

from __future__ import annotations

import itertools
import math
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from evosearch.recent import Recent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evosearch.architecture import Space
    from evosearch.grammar.core import Alternative, Derivation

HASHED = 256  # columns of what stands where, and again of what stands at which depth
SMALL = 60  # nodes of sub-trees whose columns are remembered together: of larger ones they would be too many
REMEMBERED = 4_000  # sub-trees, and kinds of nodes, in each generation of those whose columns are remembered
SUBSETS = 6  # operations of a graph up to which paths are measured over every subset of them, as GRAF does
COSTS = ("params", "flops", "activations", "modules")

Row = np.ndarray[Any, np.dtype[np.float32]]
Edges = tuple[tuple[int, int], ...]


class Features:
    """Figures of a space's derivations: (width,) float32 for each, equal for equal derivations in every process.

    names: of the columns; "rule[3]" is how often the fourth alternative of a rule stands in the sentence.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        grammar = space.grammar
        self._columns: dict[Alternative, int] = {}
        for alternatives in grammar.rules.values():
            for alternative in alternatives:
                self._columns[alternative] = len(self._columns)
        self._placed, self._deep = len(self._columns), len(self._columns) + HASHED
        self._rest = self._deep + HASHED
        self._graphs = dict(_graphs(space))
        names = [f"{alternative.rule}[{alternative.index}]" for alternative in self._columns]
        names += [f"place {at}" for at in range(HASHED)] + [f"depth {at}" for at in range(HASHED)]
        names += ["log nodes", "log depth", *(f"log {name}" for name in COSTS if space.input is not None)]
        for alternative, (_, kinds) in self._graphs.items():
            names += [f"{alternative.layer}: {name}" for name in _path_names(kinds)]
        self.names = tuple(names)
        self._of_node: Recent[tuple[Any, ...], bytes] = Recent(REMEMBERED)
        self._of_small: Recent[tuple[Derivation, int], bytes] = Recent(REMEMBERED)

    def __call__(self, derivation: Derivation) -> Row:
        """The figures of one derivation. Raises ShapeError where it does not fit the input shape."""
        found: list[bytes] = []
        stack = [(derivation, 0)]
        while stack:
            node, depth = stack.pop()
            if node.size <= SMALL:
                found.append(self._of_sub_tree(node, depth))
                continue
            found.append(self._of(node, depth))
            depth += node.alternative.layer is not None
            stack += [(part, depth) for part in node.parts]
        row = np.bincount(np.frombuffer(b"".join(found), np.uint32), minlength=len(self.names)).astype(np.float32)
        row[self._rest] = math.log2(derivation.size)
        row[self._rest + 1] = math.log2(derivation.depth)
        at = self._rest + 2
        if self.space.input is not None:
            row[at : at + len(COSTS)] = self._logs(derivation)
            at += len(COSTS)
        for alternative, (edges, kinds) in self._graphs.items():
            width = len(_path_names(kinds))
            for node in derivation.walk():
                if node.alternative is alternative:
                    row[at : at + width] += paths(edges, kinds, tuple(part.alternative.index for part in node.parts))
            at += width
        return row

    def _of_sub_tree(self, node: Derivation, depth: int) -> bytes:
        """The columns in which a small sub-tree counts, each as often as it does: offspring share most of theirs.

        As bytes, which the collection of garbage has no need to look at.
        """
        found = self._of_small[node, depth]
        if found is None:
            found = self._of(node, depth)
            if node.parts:
                below = depth + (node.alternative.layer is not None)
                found = b"".join([found, *[self._of_sub_tree(part, below) for part in node.parts]])
            self._of_small[node, depth] = found
        return found

    def _of(self, node: Derivation, depth: int) -> bytes:
        """The columns in which one node counts. depth: layers around it."""
        level = depth.bit_length()
        key = (node.alternative, node.tokens, level, *[part.alternative for part in node.parts])
        found = self._of_node[key]
        if found is None:
            found = self._of_node[key] = np.array(self._columns_of(node, level), np.uint32).tobytes()
        return found

    def _columns_of(self, node: Derivation, level: int) -> tuple[int, ...]:
        """Of the alternative, also at its depth, of its words, and of what stands in each of its places."""
        alternative = node.alternative
        here = f"{alternative.rule} {alternative.index}"
        columns = [self._columns[alternative]]
        for slot, (name, text) in enumerate(zip(alternative.terminals, node.tokens, strict=True)):
            columns.append(self._placed + _hashed(f"{here} word {slot} {_bucket(text, self.space, name)}"))
        for slot, part in enumerate(node.parts):
            columns.append(self._placed + _hashed(f"{here} {slot} {part.rule} {part.alternative.index}"))
        columns.append(self._deep + _hashed(f"{here} {level}"))
        return tuple(columns)

    def _logs(self, derivation: Derivation) -> list[float]:
        cost = self.space.read(derivation).cost
        return [math.log2(1 + getattr(cost, name)) for name in COSTS]


def _hashed(text: str) -> int:
    return zlib.crc32(text.encode()) % HASHED


def _bucket(text: str, space: Space, terminal: str) -> str:
    """A word as it is; a number of a range by the octave that it lies in, or hardly two would be alike."""
    if space.grammar.terminals[terminal].range is None:
        return text
    value = float(text)
    return f"{'-' if value < 0 else ''}2^{math.frexp(value)[1]}"


# --- layers that are graphs -----------------------------------------------------------------------------------------


def _graphs(space: Space) -> list[tuple[Alternative, tuple[Edges, int]]]:
    """The alternatives whose layer states its graph's edges, with those and the number of operations on an edge."""
    found = []
    for alternatives in space.grammar.rules.values() if space.vocabulary is not None else ():
        for alternative in alternatives:
            layer = space.vocabulary.classes.get(alternative.layer or "") if space.vocabulary is not None else None
            edges: Edges = getattr(layer, "edges", ())
            if edges and len(set(alternative.rules)) == 1 and len(alternative.rules) == len(edges):
                found.append((alternative, (edges, len(space.grammar.rules[alternative.rules[0]]))))
    return found


@lru_cache
def subsets(kinds: int) -> tuple[frozenset[int], ...]:
    sizes = range(1, kinds + 1) if kinds <= SUBSETS else (1, kinds)
    return tuple(frozenset(chosen) for size in sizes for chosen in itertools.combinations(range(kinds), size))


def _path_names(kinds: int) -> list[str]:
    figures = ("shortest", "longest", "leaving", "arriving")
    return [f"{figure} {sorted(subset)}" for subset in subsets(kinds) for figure in figures]


@lru_cache(maxsize=65_536)
def paths(edges: Edges, kinds: int, chosen: Sequence[int]) -> Row:
    """For each subset of operations, over the edges that have one of them: the shortest and the longest path from the
    first node to the last, edges that leave the first, and edges that arrive at the last.

    The shortest path is as long as there are nodes where there is none, the longest 0. chosen: each edge's operation.
    """
    last = max(end for _, end in edges)
    figures: list[float] = []
    for subset in subsets(kinds):
        open_edges = [edge for edge, operation in zip(edges, chosen, strict=True) if operation in subset]
        shortest, longest = {0: 0}, {0: 0}
        for end in range(1, last + 1):  # edges lead from lower nodes to higher ones
            before = [start for start, stop in open_edges if stop == end and start in shortest]
            if before:
                shortest[end] = 1 + min(shortest[start] for start in before)
                longest[end] = 1 + max(longest[start] for start in before)
        leaving = sum(start == 0 for start, _ in open_edges)
        arriving = sum(end == last for _, end in open_edges)
        figures += [shortest.get(last, last + 1), longest.get(last, 0), leaving, arriving]
    return np.array(figures, dtype=np.float32)
