"""The commands that read the result of a run: best, show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evosearch.cli import DONE, output
from evosearch.cli.grammars import InputOption, JsonOption, LayersOption, OperatorsOption
from evosearch.cli.help import Command
from evosearch.cli.search import RUN_ARGUMENT
from evosearch.report.text import count, figure, short
from evosearch.score import LINEAGE_EPOCHS

if TYPE_CHECKING:
    from evosearch.architecture import Architecture
    from evosearch.report.reading import Candidate, RunReading

PANEL = "Results"
SIZES = (("parameters", "params"), ("FLOPs", "flops"))


def register(app: typer.Typer) -> None:
    for command in (best, predict, show, why, lineage, pareto):
        app.command(cls=Command, rich_help_panel=PANEL)(command)


def best(run: Annotated[str, RUN_ARGUMENT], as_json: JsonOption = False) -> int:
    """The best network of a run: its text, its figures, its files."""
    from evosearch.cli.runs import folder_of
    from evosearch.report.reading import read_run

    found = read_run(folder_of(run)).best()
    if as_json:
        output.as_json(found)
        return DONE
    output.facts(
        [
            ("key", found["key"]),
            ("text", found["text"]),
            ("validation", figure(found["fitness"]) + ("" if found["se"] is None else f" ± {found['se']:.4f}")),
            (
                "trained again",
                "" if found["again"] is None else f"{found['again']:.4f} on held-out data",
            ),
            ("at random", found["at_random"]),
            *((f"test {name}", f"{value:.4f}") for name, value in found["test"].items()),
            *((f"single {name}", f"{value:.4f}") for name, value in found["single"].items()),
            *((f"baseline {name}", f"{value:.4f}") for name, value in found["baseline"].items()),
            *((name, f"{found[key]:,}") for name, key in SIZES if found[key] is not None),
            ("saved", f"{found['saved']}: {', '.join(found['files'])}" if found["saved"] else ""),
        ]
    )
    return DONE


def predict(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run, or a folder that `evolve train` wrote.", show_default=False)
    ],
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="CSV, .npz, .npy, .ts, an image, a folder of them; without targets, too."),
    ],
    to: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.csv", help="Where.", show_default="stdout")
    ] = None,
    layers: LayersOption = None,
    operators: OperatorsOption = None,
) -> int:
    """Ask a run's network about new examples, as they stand in a file.

    As CSV: the prediction for each, and of classes how likely each one is. A table's columns go by their names, in any
    order and with others beside them.
    """
    from evosearch import inference
    from evosearch.cli.export import network_in
    from evosearch.errors import UsageError
    from evosearch.store.disk import hand_over

    if to is not None:
        output.check_target("--output", to)
        if to.exists() and file.exists() and to.samefile(file):
            raise UsageError(f"--output {to}: is the file to answer for, and would be gone; choose another name")
    predictor = inference.load(network_in(run).folder, layers or (), operators or ())
    columns = predictor.predictions(file)
    text = inference.table(columns)
    if to is None:
        output.say(text.rstrip("\n"))
        return DONE
    hand_over(to, text)
    output.say(f"wrote {to}: {len(next(iter(columns.values()))):,} rows")
    return DONE


def show(
    what: Annotated[
        str, typer.Argument(metavar="ARCHITECTURE|RUN", help="A text, an .arch file, or a run.", show_default=False)
    ],
    key: Annotated[
        str | None, typer.Argument(metavar="KEY", help="Of a run's candidate; the best where left out.")
    ] = None,
    grammar: Annotated[
        str | None, typer.Option(help="Name or path of the grammar.", show_default="einspace, or the run's")
    ] = None,
    input: InputOption = None,
    layers: LayersOption = None,
    operators: OperatorsOption = None,
    svg: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Draw it there as a picture, too.")] = None,
    as_json: JsonOption = False,
) -> int:
    """Draw a network as a tree, with shapes, parameters and FLOPs."""
    from evosearch.report.tree import rows

    if svg is not None:
        output.check_target("--svg", svg, suffix=".svg")
    architecture = _architecture(what, key, grammar, input, layers or (), operators or ())
    if svg is not None:
        from evosearch.report.page.drawing import standalone
        from evosearch.store.disk import hand_over

        hand_over(svg, standalone(architecture))
    found = rows(architecture)
    if as_json:
        cost = architecture.cost
        output.as_json(
            {
                "text": architecture.text,
                "key": architecture.key,
                "input": list(architecture.input),
                "output": list(architecture.output),
                "params": cost.params,
                "flops": cost.flops,
                "activations": cost.activations,
                "nodes": found,
            }
        )
        return DONE
    output.table(
        ("layer", "output", "parameters", "FLOPs"),
        [
            (
                row["drawn"],
                row["shape"],
                count(row["params"]) if row["params"] else "",
                count(row["flops"]) if row["flops"] else "",
            )
            for row in found
        ],
        right=(2, 3),
    )
    output.say()
    output.say(
        f"{architecture.key}  {count(architecture.cost.params)} parameters, {count(architecture.cost.flops)} FLOPs"
    )
    return DONE


KeyArgument = Annotated[
    str, typer.Argument(metavar="KEY", help="The first digits of a candidate's key.", show_default=False)
]


def why(run: Annotated[str, RUN_ARGUMENT], key: KeyArgument, as_json: JsonOption = False) -> int:
    """Why a candidate is there, or why it failed.

    Its parents, what the operator changed, what a surrogate expected and what came, its curve, cost and limits, and
    its error with the log.
    """
    from evosearch.cli.runs import folder_of
    from evosearch.report.ancestry import marked_up, nearest_parent
    from evosearch.report.foresight import came
    from evosearch.report.live import sparkline
    from evosearch.report.reading import read_run

    reading = read_run(folder_of(run))
    one = reading.candidate(key)
    parents = [reading.candidates[number] for number in one.parents]
    nearest = reading.candidates[nearest_parent(reading, one)] if parents else None
    change = marked_up(nearest.text, one.text) if nearest and nearest.text != one.text else ""  # promoted: the same
    log = reading.log(one)
    quantile = came(reading, one) if one.expected is not None else None
    if as_json:
        described = [reading.describe(parent) for parent in parents]
        told = one.expected and {"quantile": one.expected[0], "deviation": one.expected[1], "came": quantile}
        added = {"parents": described, "change": change, "log": log, "expected": told}
        output.as_json({**reading.describe(one), **added})
        return DONE
    named = [_named(reading, parent) for parent in parents]
    curve = one.score["curve"] if one.score else ()
    epochs = "1 epoch" if len(curve) == 1 else f"{len(curve)} epochs"
    output.facts(
        [
            ("candidate", f"{one.number}  {one.key}"),
            ("made by", f"{one.operator} of {' and '.join(named)}" if named else one.operator),
            ("change", change),
            ("text", "" if change else one.text),
            ("expected", _expected(one)),
            ("came to", _outcome(reading, one) + ("" if quantile is None else f": better than {quantile:.0%} so far")),
            ("evaluated", "" if one.fidelity == 1 else f"{one.fidelity:.3g} of a whole evaluation: not the last rung"),
            ("curve", f"{sparkline(curve)}  {curve[0]:.4f} to {curve[-1]:.4f}, {epochs}" if curve else ""),
            ("weights", _weights(reading, one)),
            ("cost", f"{one.cost['params']:,} parameters, {one.cost['flops']:,} FLOPs" if one.cost else ""),
            ("limits", ", ".join(f"{name} {limit:,}" for name, limit in reading.limits().items())),
            ("error", one.score["error"] if one.score else ""),
        ]
    )
    if log:
        output.say()
        output.say(log.rstrip())
    return DONE


def _weights(reading: RunReading, one: Candidate) -> str:
    """What it took over, where weights pass on, and whether it has any to pass on."""
    from evosearch.report.figures import left_none, may_inherit

    if left_none(reading, one):
        return "none: it was told its score, so whatever is made from it begins from nothing"
    found = (one.score or {}).get("metrics", {})
    if LINEAGE_EPOCHS not in found:
        return ""
    whole = f"{found[LINEAGE_EPOCHS]:g} epochs with those before it"
    if "inherited" not in found:
        without = may_inherit(reading, one) and left_none(reading, reading.candidates[one.parents[0]])
        reason = f": {one.parents[0]} was told its score and left none" if without else ""
        return f"its own from the beginning{reason}"
    apart = f"{found['inherited_difference']:.2g} from its parent's on a batch"
    return f"{found['inherited']:.0%} copied; at first its outputs were at most {apart}; {whole}"


def _named(reading: RunReading, one: Candidate) -> str:
    return f"{one.number} ({short(one.key)}, {_outcome(reading, one)})"


def _expected(one: Candidate) -> str:
    """What the surrogate expected, before the candidate was evaluated."""
    if one.expected is None:
        return ""
    quantile, deviation = one.expected
    return f"to be better than {quantile:.0%} so far, give or take {100 * deviation:.0f} points"


def _outcome(reading: RunReading, one: Candidate) -> str:
    """The result of a candidate: its fitness, or how it failed; of one without a score whether one may still come."""
    name, _ = reading.objective
    if one.score is None and reading.metrics:
        kept = "; the final trainings kept it" if reading.metrics.get("key") == one.key else ""
        return f"no score within the search{kept}"
    if name not in one.objectives:
        return one.status
    error = reading.standard_error(one)
    return f"{name} {reading.fitness(one):.4f}" + ("" if error is None else f" ± {error:.4f}")


def lineage(run: Annotated[str, RUN_ARGUMENT], key: KeyArgument, as_json: JsonOption = False) -> int:
    """The way from a seed or a sample to a candidate.

    Each step with its gain; of two parents, the one the child is more like.
    """
    from evosearch.cli.runs import folder_of
    from evosearch.report import ancestry
    from evosearch.report.reading import read_run

    reading = read_run(folder_of(run))
    chain = ancestry.lineage(reading, reading.candidate(key))
    if as_json:
        output.as_json([reading.describe(one) for one in chain])
        return DONE
    name, _ = reading.objective
    rows = []
    for before, one in zip([None, *chain], chain, strict=False):
        fitness = f"{reading.fitness(one):.4f}" if name in one.objectives else _outcome(reading, one)
        known = before is not None and name in before.objectives and name in one.objectives
        gain = f"{reading.fitness(one) - reading.fitness(before):+.4f}" if before is not None and known else ""
        rows.append(
            (
                str(one.number),
                short(one.key),
                one.operator,
                fitness,
                gain,
                count(one.cost["params"]) if one.cost else "",
            )
        )
    output.table(("number", "key", "made by", name, "gain", "parameters"), rows, right=(0, 3, 4, 5))
    return DONE


def pareto(
    run: Annotated[str, RUN_ARGUMENT],
    against: Annotated[
        str, typer.Option(metavar="NAME", help="What is to be small: params, flops, activations, modules, seconds.")
    ] = "params",
    as_json: JsonOption = False,
) -> int:
    """The candidates that no other one beats in fitness and in size."""
    from evosearch.cli.runs import folder_of
    from evosearch.report.figures import measured
    from evosearch.report.reading import read_run

    reading = read_run(folder_of(run))
    front = reading.front(against)
    if as_json:
        output.as_json([reading.describe(one) for one in front])
        return DONE
    rows = []
    for one in front:
        cost = measured(one, against) or 0.0
        size = f"{cost:.3g}" if cost < 1000 and not cost.is_integer() else count(cost)
        rows.append((f"{reading.fitness(one):.4f}", size, short(one.key), str(one.number), one.operator))
    output.table((reading.objective[0], against, "key", "number", "made by"), rows, right=(0, 1, 3))
    return DONE


def _architecture(
    what: str,
    key: str | None,
    grammar: str | None,
    input: str | None,
    layers: Sequence[Path],
    operators: Sequence[Path],
) -> Architecture:
    """The network that a person names: a file, else a candidate of a run, else the text itself."""
    from evosearch.cli.runs import find_run, no_run, no_text
    from evosearch.cli.spaces import load_grammar, open_space
    from evosearch.errors import ArchitectureError
    from evosearch.paths import is_file, read_arch

    named = is_file(Path(what))
    folder = None if named else find_run(what)
    if folder is not None:
        return _candidate(folder, key, grammar, input, layers, operators)
    if key is not None and not named:
        raise no_run(what)
    space = open_space(load_grammar(grammar or "einspace"), input, layers)
    try:
        derivation = space.parse(read_arch(Path(what)) if named else what)
    except ArchitectureError as error:
        raise (error if named else no_text(what, grammar, error)) from None
    return space.read(derivation)


def _candidate(
    folder: Path,
    key: str | None,
    grammar: str | None,
    input: str | None,
    layers: Sequence[Path],
    operators: Sequence[Path],
) -> Architecture:
    """A candidate of a run, in the run's space, or at another input shape or in another grammar with the run's head."""
    from evosearch import results
    from evosearch.cli.spaces import load_grammar, parse_shape
    from evosearch.errors import RunError
    from evosearch.paths import is_file
    from evosearch.report.reading import read_run
    from evosearch.space import recorded_space
    from evosearch.store.run import Run

    run = read_run(folder)
    text = run.candidate(key).text if key is not None else run.best()["text"]
    if grammar is None and not is_file(run.grammar_file):
        raise RunError(f"{run.grammar_file}: the run's grammar is gone; say which it was: --grammar FILE.lark")
    opened = Run.open(folder)
    header = run.header if input is None else {**run.header, "input": parse_shape(input)}
    mine, own = results.own_layers(opened, layers), results.own_plugins(opened, operators)
    space = recorded_space(header, load_grammar(grammar or str(run.grammar_file)), mine, own)
    return space.read(space.parse(text))
