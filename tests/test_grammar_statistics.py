"""The statistics of grammars against closed forms, brute force and simulation; and the report of `evolve check`."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from evosearch.architecture import Limits, Space
from evosearch.errors import ArchitectureError
from evosearch.grammar import load, loads, parse
from evosearch.grammar.check import check
from evosearch.grammar.core import Grammar
from evosearch.grammar.statistics import Process, count_derivations
from tests.spaces import space

TREE = 'start: tree\ntree: "x"  // p={}\n | "(" tree tree ")"\n'


@pytest.mark.parametrize("p", [0.9, 0.6, 0.51])
def test_binary_trees_below_the_critical_point_have_their_textbook_figures(p: float) -> None:
    """Galton-Watson with two offspring at probability 1 - p: mean m = 2 (1 - p), expected size 1 / (1 - m)."""
    process = Process.of(loads(TREE.format(p)))
    (component,) = process.components()
    assert component.radius == component.offspring == pytest.approx(2 * (1 - p))
    assert component.blamed == "tree"
    assert component.ending == pytest.approx(p)
    assert component.needed == pytest.approx(0.5)
    assert process.ends() == 1
    assert process.expected_size() == pytest.approx(1 + 1 / (1 - 2 * (1 - p)))


@pytest.mark.parametrize("p", [0.4, 0.25, 0.1])
def test_binary_trees_above_it_end_with_probability_p_over_1_minus_p(p: float) -> None:
    process = Process.of(loads(TREE.format(p)))
    assert process.ends() == pytest.approx(p / (1 - p))
    assert process.expected_size() == math.inf
    assert process.uses() == {"start": 1, "tree": math.inf}


def test_at_the_critical_point_trees_end_but_have_no_expected_size() -> None:
    process = Process.of(loads(TREE.format(0.5)))
    assert process.ends() == 1
    assert process.expected_size() == math.inf


def test_rules_that_lead_to_each_other_in_turns_are_one_component() -> None:
    """Two types in alternation: the radius is the root of the product of their means."""
    grammar = loads('start: a\na: "x"  // p=0.6\n | "(" b b ")"\nb: "y"  // p=0.3\n | "[" a "]"\n')
    process = Process.of(grammar)
    (component,) = process.components()
    assert set(component.rules) == {"a", "b"}
    assert component.radius == pytest.approx(math.sqrt(0.8 * 0.7))
    assert component.offspring == pytest.approx(0.8 * 0.7)


def simulated(grammar: Grammar, samples: int, seed: int) -> Counter[str]:
    """Uses of each rule, drawn by weight and nothing else."""
    rng = np.random.default_rng(seed)
    uses: Counter[str] = Counter()
    for _ in range(samples):
        stack = [grammar.start]
        while stack:
            rule = stack.pop()
            uses[rule] += 1
            alternatives = grammar.rules[rule]
            stack += alternatives[int(rng.choice(len(alternatives), p=[a.weight for a in alternatives]))].rules
    return uses


def test_expected_uses_are_those_of_a_simulation() -> None:
    grammar = loads(
        'start: list ";" tail?\nlist: item+  // more=0.6\nitem: "a" // p=0.5\n | "b" "(" list ")" // p=0.15\n | "c"\n'
        'tail: ("," item)~0..3 "."\n'
    )
    expected = Process.of(grammar).uses()
    samples = 4000
    found = simulated(grammar, samples, 5)
    for rule, value in expected.items():
        assert found[rule] / samples == pytest.approx(value, rel=0.1), rule


def sentences(grammar: Grammar, depth: int) -> dict[str, set[str]]:
    """All sentences of each rule up to a depth, by brute force."""
    known: dict[str, set[str]] = {rule: set() for rule in grammar.rules}
    for _ in range(depth):
        after: dict[str, set[str]] = {}
        for rule, alternatives in grammar.rules.items():
            after[rule] = set()
            for alternative in alternatives:
                if alternative.weight > 0:
                    choices: list[list[str]] = []
                    for symbol in alternative.symbols:
                        if symbol.name in grammar.rules:
                            choices.append(sorted(known[symbol.name]))
                        elif symbol.name in grammar.terminals:
                            choices.append([t for t, p in grammar.terminals[symbol.name].choices or () if p > 0])
                        else:
                            choices.append([symbol.name])
                    after[rule] |= {"".join(words) for words in itertools.product(*choices)}
        known = after
    return known


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_counts_are_those_of_all_sentences_written_out(depth: int) -> None:
    grammar = loads(
        'start: "x" N?\n | "(" start ("," start)? ")"\n | "never" // p=0\nN: "1" | "2"\n | "3"\n | "4"  // p=0\n'
    )
    assert count_derivations(grammar).up_to[depth - 1] == len(sentences(grammar, depth)["start"])


def test_finite_languages_are_counted_whole_and_ranges_are_named() -> None:
    assert count_derivations(load("nasbench201")).total == 5**6
    counts = count_derivations(loads('start: A B C\nA: "p" | "q"\nB: "r" | "s" | "t"\nC: "u"\n'))
    assert (counts.total, counts.uncounted) == (6, ())
    ranged = count_derivations(
        loads('start: "a" R "b" I\nR: /[0-9.]+/  // range=0.5..1\nI: /[0-9]+/ // range=1..9 int\n')
    )
    assert (ranged.total, ranged.uncounted) == (9, ("R",))


def test_counts_stay_exact_beyond_what_floats_hold() -> None:
    up_to = count_derivations(loads(TREE.format(0.6))).up_to
    numbers = [0, 1]
    while len(numbers) < len(up_to):
        numbers.append(1 + numbers[-1] ** 2)
    assert list(up_to) == numbers
    assert up_to[-1] > 2**53


def test_einspace_is_told_to_be_nearly_critical_and_endless_as_built() -> None:
    """The figures of the paper's grammar: mean offspring 0.98 counting a repeated module once, 1.74 counting copies."""
    report = check(load("einspace"), space("einspace"), samples=0)
    assert report.samples is None
    assert report.circles[0].blamed == "module"
    assert report.circles[0].offspring == pytest.approx(0.68 / 3 * (2 + 4 / 3 + 1))
    assert report.built is not None
    assert report.built[0].offspring == pytest.approx(0.68 / 3 * (2 + (2 + 4 + 8) / 3 + 1))
    assert report.built[0].needed == pytest.approx(0.61, abs=0.005)
    assert [finding.kind for finding in report.warnings] == ["nearly-critical", "built-size"]
    assert "0.98" in report.warnings[0].message
    assert "1.74" in report.warnings[1].message


@pytest.mark.parametrize("name", ["tiny_cnn", "nasbench201", "mlp"])
def test_a_report_with_samples_is_plain_json_and_readable_text(name: str) -> None:
    known = space(name)
    report = check(known.grammar, Space(known.grammar, known.vocabulary, known.input), samples=60)
    plain = json.loads(json.dumps(report.to_json(), allow_nan=False))
    samples = plain["samples"]
    assert samples["number"] == 60
    assert samples["params"] == sorted(samples["params"])
    assert 0 <= samples["same_text"] <= samples["same_key"] <= 1
    assert samples["uses"]["start"] == 1
    assert all(0 <= samples[share] <= 1 for share in ("refused", "replanned", "dropped"))
    text = str(report)
    assert text.startswith(f"{name}: no mistakes")
    assert all(len(line) < 120 for line in text.splitlines() if "Warnings" not in text or ":" not in line)
    again = check(known.grammar, Space(known.grammar, known.vocabulary, known.input), samples=60)
    assert again.to_json() == report.to_json()


def test_duplicates_are_counted() -> None:
    grammar = loads('start: "a" | "b"\n')
    report = check(grammar, Space(grammar, None, None), samples=50)
    assert report.samples is not None
    assert report.samples.same_text == pytest.approx(48 / 50)
    assert "duplicates" in [finding.kind for finding in report.warnings]


def test_rules_that_are_never_drawn_and_words_kept_apart_are_warned_of() -> None:
    grammar = loads('// input: none\nstart: W W\n     | old  // p=0\nold: "old"\nW: "1" | "11"\n%ignore " "\n')
    kinds = {finding.kind: finding.message for finding in check(grammar).warnings}
    assert set(kinds) == {"undrawn", "spaced"}
    assert kinds["undrawn"].endswith("old")
    assert parse(grammar, "old").parts[0].rule == "old"
    with pytest.raises(ArchitectureError):
        parse(grammar, "olds")


def test_samples_over_the_size_limit_are_warned_of() -> None:
    grammar = loads("// input: none\n" + TREE.format(0.5))
    report = check(grammar, Space(grammar, None, None, Limits(max_nodes=15, max_depth=1000)), samples=100)
    assert {"critical", "dropped", "duplicates"} <= {finding.kind for finding in report.warnings}


def test_checking_einspace_imports_nothing_heavy() -> None:
    code = (
        "import sys; from evosearch.grammar import load; from evosearch.grammar.check import check; "
        "check(load('einspace')); print([m for m in ('torch', 'numba', 'sklearn', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
