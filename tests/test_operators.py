"""Operators: found by path, checked at the door, and true to what they promise on every kind of grammar."""

from __future__ import annotations

import random  # noqa: TID251 - to see that what draws from it leaves it alone
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evosearch import grammar, layers, operators
from evosearch.architecture import Limits, Space
from evosearch.errors import OperatorError
from evosearch.grammar.core import Derivation
from evosearch.individual import Individual, fitness_class
from evosearch.operators import Operator, seeded_random, seeded_selection
from evosearch.search import Search, SearchSettings, identify

EXPRESSIONS = """
// input: none
start: expr
expr: "add" "(" expr "," expr ")"  -> add     // p=0.2
    | "list" "(" expr ("," expr)* ")" -> list  // p=0.2
    | "sin" "(" expr ")"           -> sin     // p=0.1
    | "x"                          -> x
    | NUMBER                       -> number
NUMBER: /[0-9.]+/  // range=0.5..9
"""
SPACES: dict[str, Any] = {
    "expressions": (EXPRESSIONS, None),
    "einspace": ("einspace", (3, 32, 32)),
    "tiny_cnn": ("tiny_cnn", (3, 32, 32)),
    "mlp": ("mlp", (16,)),
    "nasbench201": ("nasbench201", (3, 32, 32)),
    "images": ("images", (1, 28, 28)),
    "series": ("series", (96, 2)),
    "tables": ("tables", (40,)),
}
BUNDLED = operators.find()
VARYING = [BUNDLED.get(kind, name) for kind in ("initialise", "mutate", "crossover") for name in BUNDLED.of(kind)]


def open_space(name: str, max_nodes: int = 300) -> Space:
    source, shape = SPACES[name]
    read = grammar.loads(source) if "\n" in source else grammar.load(source)
    vocabulary = None if shape is None else layers.vocabulary(read)
    return Space(read, vocabulary, shape, Limits(max_nodes=max_nodes))


@pytest.fixture(scope="module")
def arenas() -> dict[str, tuple[Space, list[Derivation]]]:
    """Each space with parents in it; einspace with two of the published networks too."""
    made: dict[str, tuple[Space, list[Derivation]]] = {}
    for name in SPACES:
        space = open_space(name, max_nodes=1000)
        rng = np.random.default_rng(1)
        parents = [parent for parent in (space.draw(rng) for _ in range(40)) if parent.size < 250][:15]
        if name == "einspace":
            seeds = Path(__file__).parent.parent / "grammars" / "seeds"
            parents += [space.parse((seeds / f"{seed}.arch").read_text()) for seed in ("resnet18", "vit")]
        made[name] = space, parents
    return made


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("operator", VARYING, ids=lambda o: f"{o.kind}/{o.name}")
def test_every_operator_keeps_its_contract(
    arenas: dict[str, tuple[Space, list[Derivation]]], operator: Operator, name: str
) -> None:
    """In the language, valid at the input shape, within the node limit, reproducible, parents untouched."""
    space, parents = arenas[name]
    operators.conform(operator, space, parents, trials=10)


def individuals(count: int) -> list[Individual]:
    rng = np.random.default_rng(0)
    space = open_space("expressions")
    fitness = fitness_class(2)
    return [
        Individual(space.draw(rng), f"{i:032x}", "", fitness(tuple(rng.integers(0, 9, 2).astype(float))), (), "", i)
        for i in range(count)
    ]


@pytest.mark.parametrize("name", BUNDLED.of("select"))
def test_every_selection_keeps_its_contract(name: str) -> None:
    assert operators.conform(BUNDLED.get("select", name), open_space("expressions"), [], population=individuals(12)) > 0


def test_mutations_apply_and_change_something(arenas: dict[str, tuple[Space, list[Derivation]]]) -> None:
    """On expressions and einspace each mutation finds a place in most parents, and the offspring is another text."""
    for name in ("expressions", "einspace"):
        space, parents = arenas[name]
        for operator in BUNDLED.usual("mutate").values():
            rng = np.random.default_rng(2)
            children = [operator(parent, space, rng) for parent in parents if parent.size > 8]
            made = [child for child in children if child is not None]
            assert len(made) >= 0.5 * len(children), operator.name
            assert not set(made) & set(parents), operator.name


def test_what_an_operator_says_about_size_is_so(arenas: dict[str, tuple[Space, list[Derivation]]]) -> None:
    """Insertion and repetition grow, removal shrinks, changing a choice keeps the tree's form."""
    for space, parents in arenas.values():
        for parent in parents:
            rng = np.random.default_rng(3)
            for name, grows in (("insert_around", 1), ("repeat_block", 1), ("remove_node", -1), ("change_choice", 0)):
                child = BUNDLED.get("mutate", name)(parent, space, rng)
                if child is not None:
                    assert np.sign(child.size - parent.size) == grows, name


def test_redrawing_to_a_shape_keeps_every_other_shape(arenas: dict[str, tuple[Space, list[Derivation]]]) -> None:
    space, parents = arenas["einspace"]
    rng = np.random.default_rng(4)
    for parent in parents:
        child = BUNDLED.get("mutate", "redraw_keeping_shape")(parent, space, rng)
        if child is not None:
            assert space.read(child).output == space.read(parent).output


def test_what_is_redrawn_under_a_repetition_fits_every_copy() -> None:
    """The second copy reads what the first puts out: a part that fits the first alone is no offspring."""
    source = '''// input: vector
    start: "all(" merge (":" part)+ ")" -> parallel
    ?part: "rep(" N "," step ")" -> repeat | step
    ?step: "lin(" W ")" -> linear | "rel(" R ")" -> linear_relative
    merge: "add" -> add
    N: "2"
    W: "8"
    R: "x2"'''
    read = grammar.loads(source)
    space = Space(read, layers.vocabulary(read), (4,))
    parent = space.parse("all(add:rep(2,lin(8)):lin(8))")
    made = set()
    for name in ("redraw", "redraw_keeping_shape"):
        for seed in range(40):
            child = BUNDLED.get("mutate", name)(parent, space, np.random.default_rng(seed))
            if child is not None:
                assert space.fits(child), space.render(child)
                made.add(space.render(child))
    assert "all(add:rep(2,lin(8)):rel(x2))" in made


def test_lists_get_items_and_lose_them() -> None:
    """`expr ("," expr)*` is a list: an item is put beside another, repeated, or left out."""
    space = open_space("expressions")
    parent = space.parse("list(x,sin(x),x)")
    lengths = set()
    for name in ("insert_around", "repeat_block", "remove_node"):
        for seed in range(60):
            child = BUNDLED.get("mutate", name)(parent, space, np.random.default_rng(seed))
            if child is not None:
                text = space.render(child)
                if re.fullmatch(r"list\((x|sin\(x\)|[\d.]+)(,(x|sin\(x\)|[\d.]+))*\)", text):
                    lengths.add(text.count(",") + 1)
    assert {2, 4} <= lengths


def test_crossover_takes_from_both_parents() -> None:
    space = open_space("expressions")
    a, b = space.parse("add(x,x)"), space.parse("sin(sin(7))")
    children = {
        space.render(BUNDLED.get("crossover", "same_symbol")(a, b, space, np.random.default_rng(s))) for s in range(40)
    }
    assert {"add(7,x)", "add(x,sin(7))", "add(sin(sin(7)),x)"} <= children
    assert not children & {"add(x,x)", "sin(sin(7))"}


def test_the_tournament_is_won_by_the_fittest_it_draws() -> None:
    """With as many draws as make it near certain, the best wins; with one draw, any may."""
    population = individuals(20)
    tournament = BUNDLED.get("select", "tournament").function
    best = max(population, key=lambda i: i.values)
    assert tournament(population, 3, np.random.default_rng(0), size=400) == [best] * 3
    assert len({i.born for i in tournament(population, 60, np.random.default_rng(0), size=1)}) > 10


def test_nsga2_ranks_as_a_plain_count_of_dominations_does() -> None:
    """Rank 0 is what nothing dominates; peeled off, the next rank is what nothing left dominates."""
    population = individuals(25)
    BUNDLED.get("select", "nsga2")(population, 25, np.random.default_rng(0))
    left, rank = list(population), 0
    while left:
        front = [
            a
            for a in left
            if not any(
                b.values != a.values and all(y >= x for x, y in zip(a.values, b.values, strict=True)) for b in left
            )
        ]
        assert {i.born for i in front} == {i.born for i in population if i.rank == rank}
        left, rank = [i for i in left if i not in front], rank + 1


GOOD = '''
def {name}(parent, space, rng):
    """Another whole sample."""
    return space.draw(rng)
'''


def own(folder: Path, kind: str, name: str, source: str) -> Path:
    path = folder / "operators" / kind / f"{name}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source, encoding="utf-8")
    return path


def test_a_dropped_in_mutation_becomes_an_action(tmp_path: Path) -> None:
    """Found in a named folder, checked, and tried by the policy like the bundled ones."""
    own(tmp_path, "mutate", "resample", GOOD.format(name="resample"))
    found = operators.find([tmp_path])
    assert set(found.of("mutate")) == {*BUNDLED.of("mutate"), "resample"}
    space = open_space("expressions")
    operators.conform(found.get("mutate", "resample"), space, [space.parse("add(x,x)")])
    search = Search(space, SearchSettings(budget=60, population=10), found)
    while not search.done:
        proposal = search.ask()
        assert proposal is not None
        search.tell(proposal.number, len(proposal.text))
    assert search.tallies["resample"].calls > 0
    assert "resample" in search.policy.table[""]


def test_the_user_s_project_is_on_the_search_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own(tmp_path, "mutate", "resample", GOOD.format(name="resample"))
    (tmp_path / "evosearch.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    assert "resample" in operators.find().of("mutate")


def test_a_user_s_file_takes_the_place_of_a_bundled_one(tmp_path: Path) -> None:
    path = own(tmp_path, "mutate", "redraw", GOOD.format(name="redraw"))
    found = operators.find([tmp_path])
    assert found.get("mutate", "redraw").path == path
    assert (found.get("mutate", "redraw").version, BUNDLED.get("mutate", "redraw").version) == (
        operators.load(path).digest,
        "version 1",
    )


def test_the_digest_is_of_the_files(tmp_path: Path) -> None:
    path = own(tmp_path, "mutate", "resample", GOOD.format(name="resample"))
    before = operators.load(path).digest
    path.write_text(path.read_text() + "\n# another word\n")
    assert operators.load(path).digest != before


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "def other(parent, space, rng):\n    '''Doc.'''\n",
            "no function named 'wrong'; a mutate operator's file defines",
        ),
        ("def wrong(parent, rng):\n    '''Doc.'''\n", ":1: takes (parent, rng); write wrong(parent, space, rng)"),
        ("\ndef wrong(parent, space, rng, *, size):\n    '''Doc.'''\n", ":2: takes (parent, space, rng, size); write"),
        ("def wrong(parent, space, rng):\n    return parent\n", ":1: wrong has no docstring"),
        ("def wrong(parent, space\n", ":1: does not load: SyntaxError"),
        ("import math\nmath.nothing\n", ":2: does not load: AttributeError"),
        ("import no_such_module_here\n", ":1: does not load: ModuleNotFoundError: No module named"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path: Path, source: str, message: str) -> None:
    path = own(tmp_path, "mutate", "wrong", source)
    found = operators.find([tmp_path])  # runs nothing
    with pytest.raises(OperatorError) as caught:
        found.get("mutate", "wrong")
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_kind_and_a_name_that_is_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"must be named initialise, .*, strategy, .*, log; this one is 'mutation'"):
        operators.load(own(tmp_path, "mutation", "x", "x = 1"))
    with pytest.raises(OperatorError, match="no mutate operator named 'redaw'; did you mean redraw"):
        BUNDLED.get("mutate", "redaw")


BROKEN = {
    "it gave 'x'; a mutate operator gives a Derivation, or None": "return 'x'",
    "gave two results for the same rng": "import itertools; bad.n = getattr(bad, 'n', 0) + 1; "
    "return space.parse('x') if bad.n % 2 else space.parse('sin(x)')",
    "drew from a global generator": "import random; random.random(); return space.draw(rng)",
    "drew from a global generator; draw from the rng": "import numpy; numpy.random.rand(); return space.draw(rng)",
    "a mutate operator gives a derivation of <text>, from its start rule 'start'": "return space.parse('x').parts[0]",
    "nodes, over max_nodes=30": "return space.parse('add(' * 40 + 'x' + ',x)' * 40)",
}


@pytest.mark.parametrize(("message", "body"), BROKEN.items())
def test_conformance_finds_a_broken_promise(tmp_path: Path, message: str, body: str) -> None:
    """Each promise broken on purpose: the check says which."""
    space = open_space("expressions", max_nodes=30)
    path = own(tmp_path, "mutate", "bad", f"def bad(parent, space, rng):\n    '''Doc.'''\n    {body}\n")
    with pytest.raises(OperatorError) as caught:
        operators.conform(operators.load(path), space, [space.parse("add(x,x)")], trials=4)
    assert message in str(caught.value)


def test_conformance_finds_shapes_that_do_not_fit(tmp_path: Path) -> None:
    """An offspring in the language whose sum has branches of different shapes."""
    space = open_space("einspace")
    body = "return space.parse('branch(clone2,linear(16),linear(32),add)')"
    path = own(tmp_path, "mutate", "bad", f"def bad(parent, space, rng):\n    '''Doc.'''\n    {body}\n")
    with pytest.raises(OperatorError, match="made an offspring whose shapes do not fit"):
        operators.conform(operators.load(path), space, [space.draw(np.random.default_rng(0))], trials=1)


def test_conformance_finds_a_selection_from_nowhere(tmp_path: Path) -> None:
    body = "import copy; return [copy.copy(i) for i in population[:k]]"
    path = own(tmp_path, "select", "bad", f"def bad(population, k, rng):\n    '''Doc.'''\n    {body}\n")
    with pytest.raises(OperatorError, match="not in the population"):
        operators.conform(operators.load(path), open_space("expressions"), [], population=individuals(4))


def test_the_worked_example_of_the_documentation_works(tmp_path: Path) -> None:
    """docs/operators.md: its operator is found and conforms, and its test passes."""
    text = (Path(__file__).parent.parent / "docs" / "operators.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    operator_source = next(block for block in blocks if "def widen(" in block)
    own(tmp_path, "mutate", "widen", operator_source)
    test_source = next(block for block in blocks if "def test_widen" in block)
    scope: dict[str, Any] = {}
    exec(compile(test_source, "docs/operators.md", "exec"), scope)
    scope["test_widen_keeps_its_contract"](tmp_path)


@pytest.mark.slow
def test_ten_thousand_offspring_on_einspace_are_valid_at_the_first_try() -> None:
    """From random parents and from ResNet18 and ViT: all in the language, valid, within the limit, none thrown away.

    An operator that cannot be applied to a parent says so, and another one is asked. Figures are printed.
    """
    space = open_space("einspace", max_nodes=1000)
    rng = np.random.default_rng(0)
    folder = Path(__file__).parent.parent / "grammars" / "seeds"
    seeds = [space.parse((folder / f"{name}.arch").read_text()) for name in ("resnet18", "vit")]
    crossovers, mutations = (list(BUNDLED.of(kind).values()) for kind in ("crossover", "mutate"))
    for title, parents in (("random parents", [space.draw(rng) for _ in range(500)]), ("ResNet18 and ViT", seeds)):
        made: list[tuple[Derivation, Derivation]] = []
        asked = 0
        started = time.process_time()
        while len(made) < 5_000:
            parent, other = (parents[int(rng.integers(len(parents)))] for _ in range(2))
            child = None
            if rng.random() < 0.1:
                asked += 1
                child = crossovers[0](parent, other, space, rng)
            for operator in rng.permutation(np.array(mutations, dtype=object)):
                if child is None:
                    asked += 1
                    child = operator(parent, space, rng)
            assert child is not None
            identify(space, child)
            made.append((parent, child))
        spent = time.process_time() - started
        print(f"{title}: {5_000 / spent:.0f} proposals/s on one core, {asked / 5_000:.3f} operators asked for each")
        assert all(space.fits(child) and child is not parent for parent, child in made)
        assert all(space.parse(space.render(child)) is child for _, child in made[::10])
        assert asked <= 1.25 * 5_000


def test_what_draws_from_the_global_random_is_seeded_and_it_is_left_alone() -> None:
    random.seed(3)
    before = random.getstate()
    with seeded_random(np.random.default_rng(1)):
        first = [random.random() for _ in range(3)]
    with seeded_random(np.random.default_rng(1)):
        assert [random.random() for _ in range(3)] == first
    with seeded_selection(np.random.default_rng(1)) as selection:
        assert [selection.random.random() for _ in range(3)] == first
    assert selection.random is random
    assert random.getstate() == before
