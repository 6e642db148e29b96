"""What a plug-in of each kind promises, checked as its search would find out: `evolve check --operators`, `--layers`.

Each check runs the plug-in on something small, twice where the same must come, and raises OperatorError that names the
file and the promise. A layer's stated shape, parameters, FLOPs and saved scalars are held against torch's own count.
"""

from __future__ import annotations

import functools
import math
import random  # noqa: TID251 - read to see that nobody drew from it
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evosearch import grammar as language
from evosearch import operators as contracts
from evosearch.architecture import Architecture, Limits, Space
from evosearch.errors import EvosearchError, LayerError, OperatorError, ShapeError
from evosearch.layers.base import Leaf, show
from evosearch.layers.node import Node
from evosearch.plugins import KINDS, is_bundled
from evosearch.score import STATUSES, Score
from evosearch.space import space_of
from evosearch.tasks import Split, make_task
from evosearch.text import said

if TYPE_CHECKING:
    from evosearch.evaluation.fit import Trained
    from evosearch.evaluation.job import EvaluationContext
    from evosearch.layers.base import Shape
    from evosearch.plugins import Operator, Operators
    from evosearch.tasks import Kind, Task

DRAWS = 2_000  # samples in which a layer of the person's own is looked for
PLACES = 6  # in which a layer is held against torch: shapes and arguments differ
SLACK = 1.5  # factor by which saved scalars may be off: what torch's norms keep of their statistics is not counted
EXAMPLES = 24  # in each split of the tasks that plug-ins are tried on
SMALL = Limits(max_nodes=60, max_depth=4, max_params=50_000, max_flops=5_000_000, max_activations=200_000)
SHAPES: tuple[Shape, ...] = ((8,), (6, 8), (4, 6, 6))  # of vectors, columns and images, for heads


@dataclass(frozen=True)
class Checked:
    """A plug-in or layer, and what breaks its contract; empty where it keeps it."""

    kind: str
    name: str
    error: str = ""


def check_plugins(operators: Operators, space: Space) -> Iterator[Checked]:
    """Every plug-in that did not come with evosearch, one after the other. space: where operators try."""
    for kind, name, path in operators.files():
        if is_bundled(path):
            continue
        try:
            check_plugin(operators, operators.get(kind, name), space)
        except EvosearchError as error:
            yield Checked(kind, name, str(error))
        else:
            yield Checked(kind, name)


def check_plugin(operators: Operators, operator: Operator, space: Space) -> None:
    """Raises OperatorError where the plug-in breaks a promise of its kind."""
    for _ in range(2):  # importing a library may draw; a plug-in that draws does so each time
        before = random.getstate()
        try:
            _check(operators, operator, space)
        except EvosearchError:
            raise
        except (
            Exception
        ) as error:  # a plug-in is a person's code: what it raises, or what its values do to us, is its own
            raise _broken(operator, f"raised {said(error)}") from error
        if random.getstate() == before:
            return
    raise _broken(operator, "drew from a global generator; draw from the rng it is given")


def _check(operators: Operators, operator: Operator, space: Space) -> None:
    if operator.kind in KINDS:
        _operator(operator, space)
    elif operator.kind == "strategy":
        from evosearch.search.conformance import conform

        conform(operator.name, space, operators, budget=24)
    else:
        CHECKS[operator.kind](operator)


def _broken(operator: Operator, what: str) -> OperatorError:
    return OperatorError(f"{operator.path}: {operator.kind} {operator.name!r} {what}")


def _require(operator: Operator, holds: object, what: str) -> None:
    if not holds:
        raise _broken(operator, what)


# --- operators and strategies ---------------------------------------------------------------------------------------


def _operator(operator: Operator, space: Space) -> None:
    from evosearch.individual import Individual, fitness_class

    rng = np.random.default_rng(0)
    parents = [space.draw(rng) for _ in range(10)]
    fitness = fitness_class(1)
    population = [
        Individual(parent, f"{number:032x}", space.render(parent), fitness((float(number),)), (), "", number)
        for number, parent in enumerate(parents)
    ]
    contracts.conform(operator, space, parents, population=population)


# --- what is evaluated ----------------------------------------------------------------------------------------------


def _task(kind: Kind | str = "classification") -> Task:
    """Vectors with targets that a network can learn something of."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3 * EXAMPLES, 6)).astype(np.float32)
    classes = isinstance(kind, str) or kind.classes
    y: Any = np.digitize(x[:, 0], [-0.5, 0.5]).astype(np.int64) if classes else x[:, :2] * 2 + 1
    parts = [slice(start, start + EXAMPLES) for start in range(0, 3 * EXAMPLES, EXAMPLES)]
    labels = ("low", "mid", "high") if classes else ()
    train, validation, test = (Split(x[part], y[part]) for part in parts)
    return make_task("conformance", train, validation, test, kind=kind, labels=labels)


def _space(task: Task) -> Space:
    return space_of(task, language.load("mlp"), limits=SMALL)


def _context(task: Task) -> EvaluationContext:
    from evosearch.evaluation.job import EvaluationContext, Resources
    from evosearch.evaluation.recipe import Recipe

    return EvaluationContext(_space(task), task, Recipe(epochs=2, batch=8), Resources())


def _texts(space: Space, count: int) -> list[str]:
    rng = np.random.default_rng(1)
    found: list[str] = []
    while len(found) < count:
        derivation = space.draw(rng)
        if space.within(space.read(derivation)) is None:
            found.append(space.render(derivation))
    return found


def _evaluator(operator: Operator) -> None:
    from evosearch.evaluation.job import Evaluation, Job

    context = _context(_task())
    evaluate = operator.function(context)
    digest, signs = evaluate.digest, dict(evaluate.measures)
    _require(operator, isinstance(digest, str) and len(digest) == 32, f"has the digest {digest!r}; give 32 hex digits")
    _require(operator, operator.function(context).digest == digest, "has another digest each time")
    _require(operator, set(signs.values()) <= {1, 0, -1}, f"has measures {signs}; give names to 1, -1 or 0")
    evaluate.prepare(None)
    for number, text in enumerate(_texts(context.space, 3)):
        key = context.space.read(context.space.parse(text)).key
        scores = []
        for _ in range(2):
            result = evaluate(Job(number, text, key, seed=5))
            _require(operator, isinstance(result, Evaluation), f"gave a {type(result).__name__}; give an Evaluation")
            scores.append(_timeless(_score(operator, result.score, key, signs)))
        _require(operator, scores[0] == scores[1], f"gave two scores for {text} and one seed: {scores[0]}, {scores[1]}")
    wrong = evaluate(Job(9, "no text of the grammar", "0" * 32, seed=5)).score
    _require(operator, wrong.status != "ok", "gave an ok score to what is no text of the grammar")


def _score(operator: Operator, score: Score, key: str, signs: Mapping[str, int]) -> Score:
    _require(operator, score.key == key, f"gave the score of {score.key}; it was asked about {key}")
    _require(operator, score.status in STATUSES, f"gave the status {score.status!r}; there are {', '.join(STATUSES)}")
    if score.status == "ok":
        unknown = sorted(set(score.objectives) - set(signs))
        _require(operator, not unknown, f"measured {', '.join(unknown)}, which its `measures` does not name")
        bad = [name for name, value in score.objectives.items() if not math.isfinite(value)]
        _require(operator, not bad, f"gave {bad[:1]} that is not finite to an ok score; give it the status nan")
    return score


def _timeless(score: Score) -> dict[str, Any]:
    data = score.pack()
    data.pop("seconds")
    data["objectives"] = {name: value for name, value in score.objectives.items() if name != "seconds"}
    return data


def _stop(operator: Operator) -> None:
    from evosearch.evaluation import stopping
    from evosearch.store import framing

    curves = [(0.1, 0.2, 0.3), (0.2, 0.3, 0.5), (), (0.1, 0.15), *[(0.2, 0.25, 0.4 + n / 100) for n in range(8)]]
    for known in ([], curves):
        for sign, best, worst in ((1, 1.0, 0.0), (-1, 0.0, 1.0)):
            rule = operator.function()
            brief = rule.brief(iter(known))
            sent = framing.decode(framing.encode({"brief": _plain(brief)}))["brief"]
            grown = stopping.known(rule)
            for curve in known:
                grown.add(curve)
            same = framing.decode(framing.encode({"brief": _plain(grown.brief())}))["brief"] == sent
            _require(operator, same, "gives another brief of its `known` than of the same curves at once")
            said = [
                operator.function().stop(sent, curve, sign) for curve in ((best,), (best, best), (worst,)) for _ in "ab"
            ]
            _require(
                operator, all(isinstance(one, str) for one in said), "has a `stop` that gives no text; '' to go on"
            )
            _require(operator, said[::2] == said[1::2], "stops otherwise the second time")
            _require(
                operator, not any(said[:4]), f"stops a training that is better than all others: {said[0] or said[2]}"
            )
    _require(operator, isinstance(operator.function().relative, bool), "has a `relative` that is not true or false")


def _plain(value: Any) -> Any:
    """What crosses to a worker: tuples arrive as lists from msgpack, as tuples otherwise."""
    return list(value) if isinstance(value, tuple) else value


def _measure(operator: Operator) -> None:

    measure, task = operator.function(), _task()
    context = _context(task)
    _require(
        operator, measure.name == operator.name, f"is named {measure.name!r}; name it as its file, {operator.name!r}"
    )
    _require(operator, measure.sign in (1, -1), f"has the sign {measure.sign!r}; say 1 where larger is better, else -1")
    _require(
        operator, isinstance(measure.unit, str) and isinstance(measure.timed, bool), "lacks a unit, or whether timed"
    )
    for trained in _trained(operator, context, task):
        values = [measure.value(trained, task) for _ in range(2)]
        if values[0] is not None:
            _require(operator, math.isfinite(float(values[0])), f"measured {values[0]}; None where there is nothing")
            _require(operator, measure.timed or values[0] == values[1], f"measured {values[0]}, then {values[1]}")


def _kind(operator: Operator) -> None:
    import torch

    kind = operator.function()
    _require(operator, kind.name == operator.name, f"is named {kind.name!r}; name it as its file, {operator.name!r}")
    _require(operator, len(kind.metrics), "has no metrics; the first is what a network is judged by")
    task = _task(kind)
    context = _context(task)
    out = torch.randn(5, task.outputs, requires_grad=True)
    y = torch.from_numpy(np.asarray(kind.normalise(task, task.train.y[:5])))
    loss = kind.loss(out, y, context.recipe)
    _require(
        operator, loss.ndim == 0 and math.isfinite(float(loss.detach())), f"has a loss of {loss}; give a finite scalar"
    )
    loss.backward()
    _require(
        operator, out.grad is not None and bool(out.grad.abs().sum() > 0), "has a loss that the outputs do not move"
    )
    _require(operator, len(kind.predict(out.detach())) == 5, "does not predict one answer for each example")
    judged = task.judge(task.validation.y, np.random.default_rng(0).normal(size=(EXAMPLES, task.outputs)))
    _require(operator, math.isfinite(judged), f"judges a network by {judged}")
    head = kind.head(task)
    _require(
        operator, head.shape((8,)) == (task.outputs,), f"has a head that gives {head.shape((8,))}, not {task.outputs}"
    )
    _against_torch(head, (8,), str(operator.path))
    _trained(operator, context, task)


def _trained(operator: Operator, context: EvaluationContext, task: Task) -> list[Trained]:
    """Two small networks trained on the task. Raises OperatorError where one cannot be."""
    from evosearch import network
    from evosearch.evaluation.fit import train

    found = []
    for text in _texts(context.space, 2):
        read = context.space.read(context.space.parse(text))
        build = functools.partial(network.build, read)
        trained = train(build, task, context.recipe, seed=5, key=read.key, cost=read.cost)
        _require(operator, trained.score.status == "ok", f"cannot be trained with: {trained.score.error}")
        found.append(trained)
    return found


def _surrogate(operator: Operator) -> None:
    from evosearch.search.screening import fitted

    rng = np.random.default_rng(0)
    x = rng.integers(0, 5, (60, 7)).astype(np.float32)
    y = x[:, 0] / 5 + x[:, 1] / 10
    for target in (y, np.full(len(x), 0.5)):
        before = x.copy(), target.copy()
        found = []
        for _ in range(2):
            predict = fitted(operator, x[:40], target[:40], np.random.default_rng(1))
            found.append(np.stack(predict(x[40:])))
        _require(operator, (found[0] == found[1]).all(), "predicts otherwise the second time; draw from the rng alone")
        _require(operator, (found[0][1] >= 0).all(), "gives a deviation below 0")
        kept = (x == before[0]).all() and (target == before[1]).all()
        _require(operator, kept, "changes the rows that it is given; copy them")
        alone = np.stack(predict(x[40:41]))[:, 0]
        _require(operator, np.allclose(alone, found[0][:, 0]), "predicts otherwise for a row by itself")
        if target is y:
            order = np.corrcoef(found[0][0], y[40:])[0, 1]
            _require(operator, order > 0, "does not learn the sum of two columns from 40 rows; larger is better")


def _proxy(operator: Operator) -> None:
    from evosearch.evaluation import proxies

    task = _task()
    context = _context(task)
    for text in _texts(context.space, 3):
        at = proxies.probe(context.space.read(context.space.parse(text)), task, context.recipe, seed=5)
        x, y = at.x.clone(), at.y.clone()
        first, again = (proxies.measured({operator.name: operator}, at) for _ in range(2))
        _require(operator, first == again, f"measured {first[operator.name]}, then {again[operator.name]}")
        _require(operator, (at.x == x).all() and (at.y == y).all(), "changes the examples that it is given; clone them")


def _head(operator: Operator) -> None:
    stands = 0
    for x in SHAPES:
        head = operator.function(3)
        try:
            output = head.shape(x)
        except ShapeError:
            continue
        _require(operator, output == (3,), f"gives {show(output)} at {show(x)} for 3 outputs; give (3,)")
        _against_torch(head, x, str(operator.path))
        stands += 1
    _require(operator, stands, f"stands at none of {', '.join(map(show, SHAPES))}")


def _log(operator: Operator) -> None:
    from evosearch.logs import Scored, Session
    from evosearch.store.run import Run

    proposal = {
        "number": 0,
        "key": "0" * 32,
        "text": "x",
        "parents": [],
        "operator": "sample",
        "seed": 1,
        "state": None,
    }
    ok = {**Score("0" * 32, "ok", {"accuracy": 0.5}, seconds=1.0).pack(), "number": 0, "at": 0.0}
    failed = {**Score("0" * 32, "crashed", error="it fell").pack(), "number": 0, "at": 1.0}
    with tempfile.TemporaryDirectory() as folder, Run.create(Path(folder) / "run", header={}, files={}) as run:
        for _ in range(2):  # a run that is resumed opens its logs again
            log = operator.function(Session(run, "accuracy", 1))
            log.add([])
            log.add([Scored(proposal, ok), Scored(proposal, failed)])
            log.close()


CHECKS: Mapping[str, Callable[[Operator], None]] = {
    "evaluator": _evaluator,
    "stop": _stop,
    "measure": _measure,
    "kind": _kind,
    "head": _head,
    "surrogate": _surrogate,
    "proxy": _proxy,
    "log": _log,
}


# --- layers ---------------------------------------------------------------------------------------------------------


def check_layers(space: Space) -> Iterator[Checked]:
    """The layers of a person's own that samples of the space hold, each at some of the places where it stands."""
    if space.vocabulary is None:
        return
    own = {name: cls for name, cls in space.vocabulary.classes.items() if getattr(cls, "source_digest", "")}
    wanted = {cls: name for name, cls in own.items() if issubclass(cls, Leaf) or hasattr(cls, "emit")}
    places: dict[type, dict[Any, Node]] = {cls: {} for cls in wanted}
    rng = np.random.default_rng(0)
    for _ in range(DRAWS):
        if all(len(found) >= PLACES for found in places.values()):
            break
        stack = [space.read(space.draw(rng)).root]
        while stack:
            node = stack.pop()
            stack += node.parts
            found = places.get(type(node.layer))
            if found is not None and len(found) < PLACES and SMALL.exceeded(node.cost) is None:
                found.setdefault((node.layer, node.inputs, node.derivation), node)
    for cls, name in wanted.items():
        error = "" if places[cls] else f"{name}: no sample holds it, so nothing is known of it; give it more weight"
        for node in places[cls].values():
            try:
                check_node(node, name)
            except EvosearchError as broken:
                error = str(broken)
                break
        yield Checked("layer", name, error)


def check_node(node: Node, name: str) -> None:
    """A layer with its parts, as torch has it. Raises LayerError that says what it states and what torch counts."""
    _compare(name, node)


def _against_torch(leaf: Leaf, x: Shape, where: str) -> None:
    try:
        _compare(type(leaf).__name__, Node(leaf, x, leaf.shape(x)))
    except LayerError as error:
        raise OperatorError(f"{where}: {error}") from None


def _compare(name: str, node: Node) -> None:
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from evosearch import network

    derivation: Any = getattr(node, "derivation", None)  # a head stands for no text
    architecture = Architecture(node, node.inputs, name, derivation)
    cost, at = architecture.cost, f"{name} at {show(node.inputs)}"
    try:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            module = network.build(architecture)
            x = torch.randn(4, *node.inputs)
            # torch counts attention and recurrences where they are not one fused kernel
            plain = torch.backends.mkldnn.flags(enabled=False)
            with warnings.catch_warnings(), FlopCounterMode(display=False) as counter:
                warnings.filterwarnings("ignore", "TF32 acceleration")  # of GPUs that torch cannot use: from `plain`
                with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), plain:
                    output = module.eval()(x)
            # Behind trained layers, and, for what stands on the input itself, behind none.
            saved = [_saved(module.train(), x.clone().requires_grad_(trained)) for trained in (True, False)]
    except EvosearchError:
        raise
    except Exception as error:  # what runs is text that a layer wrote, a person's own too: no error is ruled out
        raise LayerError(f"{at}: its network does not run: {said(error)}") from error
    params = sum(weight.numel() for weight in module.parameters() if weight.requires_grad)
    for what, stated, counted in (
        ("the output shape", (4, *node.output), tuple(output.shape)),
        ("parameters", cost.params, params),
        ("FLOPs", cost.flops, counter.get_total_flops() // 4),
    ):
        if stated != counted:
            raise LayerError(f"{at}: it states {what} {stated}, and torch has {counted}")
    if not any(counted / SLACK - 1 <= cost.activations <= counted * SLACK + 1 for counted in saved):
        told = f"it states {cost.activations} scalars saved for backward, and torch saves {saved[0]:.0f}"
        raise LayerError(f"{at}: {told}")


def _saved(module: Any, x: Any) -> float:
    """Scalars that torch saves for the backward pass of one example more: weights, and what is made of them alone, are
    saved once however many examples there are.
    """
    half = x[: len(x) // 2].detach().requires_grad_(x.requires_grad)
    return (_saved_in_all(module, x) - _saved_in_all(module, half)) / (len(x) - len(half))


def _saved_in_all(module: Any, x: Any) -> int:
    """Scalars that torch saves for the backward pass of all examples, weights not counted."""
    import torch

    weights = {tensor.untyped_storage().data_ptr() for tensor in (*module.parameters(), *module.buffers())}
    kept: list[Any] = []  # alive, so that no address is used twice

    def pack(tensor: Any) -> Any:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        module(x)
    return sum(tensor.numel() for tensor in kept)


__all__ = ["Checked", "check_layers", "check_node", "check_plugin", "check_plugins"]
