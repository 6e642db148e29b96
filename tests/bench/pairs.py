"""What sampling, mutating, keys and the loop cost beside another commit's: `python -m tests.bench.pairs CHECKOUT`.

CHECKOUT: a folder with the other commit, as `git worktree add --detach CHECKOUT COMMIT` makes it. Each of the two has
a process that stays, and they take turns, so that what else the machine does meets both. Prints the processor time of
one evaluation, sample, offspring or key in each, and the paired ratios: their median and quartiles. Both have to make
the same candidates. Meant for a quiet machine: at a load of 10 pairs of one commit differ by a fifth.

Of large trees it is a whole run in one process, over expressions of about 900 nodes and 1,000 at the most; the fitness
itself is not counted, nor are the first 300 evaluations.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parents[2]
CELLS = """// input: none
start: "cell" "(" op "," op "," op "," op "," op "," op ")" -> cell
op: "none" -> none | "skip_connect" -> skip | "nor_conv_1x1" -> conv1 | "nor_conv_3x3" -> conv3 | "avg_pool_3x3" -> pool
"""
COUNTS = {"aging": 2000, "random": 2000, "samples": 20000, "offspring": 6000, "text keys": 20000}
COUNTS |= {"samples of einspace": 300, "offspring of einspace": 300, "canonical keys of einspace": 300}
COUNTS |= {"large trees": 700}
BEGINNING = 300  # evaluations of a run over large trees that are not counted
SIZED = """def fitness(text, derivation, seed):
    return -abs(derivation.size - 900) + seed % 1000 / 2000
"""
MUTATIONS = ("change_choice", "insert_around", "redraw", "remove_node", "repeat_block", "swap_subtrees")


def main() -> None:
    parser = argparse.ArgumentParser(prog="pairs", description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--only", choices=COUNTS, action="append")
    given = parser.parse_args()
    sides = [Side(given.checkout.resolve()), Side(HERE)]
    for what in given.only or COUNTS:
        for side in sides:
            side.ask(what, 9, 50)  # what is made on first use
        ratios, least = [], [float("inf")] * 2
        for pair in range(given.pairs):
            took = dict[int, tuple[float, str]]()
            for number in (0, 1) if pair % 2 else (1, 0):
                took[number] = sides[number].ask(what, pair % 3, COUNTS[what])
                least[number] = min(least[number], took[number][0])
            if took[0][1] != took[1][1]:
                sys.exit(f"{what}: other candidates at seed {pair % 3}")
            ratios.append(took[1][0] / took[0][0])
        low, _, high = quantiles(ratios, n=4)
        told = (
            f"{least[0]:8.1f} and {least[1]:8.1f} us at the least; ratio {median(ratios):.3f} ({low:.3f} to {high:.3f})"
        )
        print(f"{what:28} {told}", flush=True)


class Side:
    """A process that has one commit's evosearch and nothing else of it."""

    def __init__(self, tree: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", __file__],
            cwd=tree,  # whose operators it finds
            env={**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        found = self._line()
        if not Path(found).is_relative_to(tree):
            sys.exit(f"{tree}: no evosearch there; it would have been {found}")

    def ask(self, what: str, seed: int, count: int) -> tuple[float, str]:
        """Microseconds for one, and the digest of what was made."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{seed} {count} {what}\n")
        self.process.stdin.flush()
        took, digest = self._line().split()
        return float(took), digest

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip() or sys.exit("a process ended")


def serve() -> None:
    """A side's process: says where its evosearch is, then answers."""
    import evosearch

    print(evosearch.__file__, flush=True)
    for line in sys.stdin:
        seed, count, what = line.rstrip("\n").split(" ", 2)
        print(*measured(what, int(seed), int(count)), flush=True)


def measured(what: str, seed: int, count: int) -> tuple[float, str]:
    kind, _, name = what.partition(" of ")
    there, rng = opened(name), np.random.default_rng(seed)
    if kind in ("aging", "random"):
        return loop(there, kind, seed, count)
    if kind == "large trees":
        return large_trees(seed, count)
    drawn = [there.draw(rng) for _ in range(1 if kind == "samples" else 100)]
    # A space remembers what it has read, so that every tree is asked about once.
    asked = [there.draw(rng) for _ in range(count)] if "keys" in kind else []
    operators = [mutation(name) for name in MUTATIONS]
    gc.collect()
    begun = time.process_time()
    if kind == "samples":
        made = [there.draw(rng) for _ in range(count)]
    elif kind == "offspring":
        made = [operators[n % len(operators)](drawn[n // len(operators) % 100], there, rng) for n in range(count)]
    elif kind == "text keys":
        made = [there.text_key(one) for one in asked]
    else:
        made = [there.read(one).key for one in asked]
    took = time.process_time() - begun
    said = [one if isinstance(one, str) else "-" if one is None else there.render(one) for one in made]
    return 1e6 * took / count, digest_of(said)


def loop(there: Any, strategy: str, seed: int, count: int) -> tuple[float, str]:
    """Asking and telling alone; the fitness is made up of the text."""
    from evosearch import operators
    from evosearch.search import Search, SearchSettings

    search = Search(there, SearchSettings(budget=count, seed=seed, strategy=strategy, population=20), operators.find())
    took, said = 0.0, []
    gc.collect()
    while not search.done:
        begun = time.process_time()
        proposal = search.ask()
        took += time.process_time() - begun
        assert proposal is not None
        said.append(f"{proposal.text} {proposal.operator}")
        fitness = int(digest_of([proposal.text]), 16) / 2**64
        begun = time.process_time()
        search.tell(proposal.number, fitness)
        took += time.process_time() - begun
    return 1e6 * took / count, digest_of(said)


def large_trees(seed: int, count: int) -> tuple[float, str]:
    """A run with its journal, logs and checkpoints; what it takes to begin and to end is left out."""
    import json
    import tempfile

    from evosearch import engine
    from evosearch.architecture import Limits
    from evosearch.config import Config
    from evosearch.search import SearchSettings
    from evosearch.tasks.function import FunctionTask
    from evosearch.workers import WorkerSettings

    evaluate, at, inside = FunctionTask.evaluate, [], 0.0

    def timed(*arguments: Any) -> Any:
        nonlocal inside
        at.append(time.process_time() - inside)
        begun = time.process_time()
        try:
            return evaluate(*arguments)
        finally:
            inside += time.process_time() - begun

    class Silent:
        def __getattr__(self, name: str) -> Any:
            return lambda *told: None

    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "sized_trees.py").write_text(SIZED, encoding="utf-8")
        sys.path.insert(0, folder)
        config = Config(
            grammar=str(Path(__file__).with_name("symbolic.lark")),
            task="sized_trees:fitness",
            seed=seed,
            limits=Limits(max_nodes=1_000),
            search=SearchSettings(budget=BEGINNING + count),
            workers=WorkerSettings(pool="inline"),
        )
        gc.collect()
        FunctionTask.evaluate = timed  # type: ignore[method-assign, assignment]
        try:
            engine.start(config, Path(folder, "run"), Silent())
        finally:
            FunctionTask.evaluate = evaluate  # type: ignore[method-assign]
            sys.path.remove(folder)
            sys.modules.pop("sized_trees", None)
        lines = Path(folder, "run", "evaluations.jsonl").read_text(encoding="utf-8").splitlines()
    return 1e6 * (at[-1] - at[BEGINNING]) / (count - 1), digest_of([json.loads(line)["text"] for line in lines])


def opened(name: str) -> Any:
    """A new space: cells without shapes where no bundled grammar is named."""
    import tempfile

    from evosearch import grammar
    from evosearch.architecture import Limits, Space
    from evosearch.layers import vocabulary

    if name:
        import evosearch

        read = grammar.load(Path(evosearch.__file__).parents[1] / f"grammars/{name}.lark")
        return Space(read, vocabulary(read), (3, 32, 32), Limits())
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "cells.lark"
        file.write_text(CELLS, encoding="utf-8")
        return Space(grammar.load(file), None, None)


def mutation(name: str) -> Any:
    from evosearch import operators

    return operators.find().get("mutate", name)


def digest_of(texts: list[str]) -> str:
    return hashlib.blake2b("\n".join(texts).encode(), digest_size=8).hexdigest()


if __name__ == "__main__":
    if sys.argv[0] == __file__ and len(sys.argv) == 1 and not sys.stdin.isatty():
        serve()
    else:
        main()
