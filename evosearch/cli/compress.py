"""The commands that make a network smaller or faster: compress, refine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evosearch.cli import DONE, output
from evosearch.cli.export import KeyArgument, subject_of, texts
from evosearch.cli.grammars import LayersOption, OperatorsOption
from evosearch.cli.help import Command
from evosearch.cli.search import QuietOption, RunsOption, begun, option
from evosearch.report.text import count, short

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from evosearch.config import Config
    from evosearch.report.live import LiveView, PlainView
    from evosearch.watch import Summary

PANEL = "Results"
FORCED = frozenset({"search.budget", "time"})  # keys of which a setting would count for nothing


def register(app: typer.Typer) -> None:
    for command in (compress, refine):
        app.command(cls=Command, rich_help_panel=PANEL)(command)


def compress(
    what: Annotated[
        str,
        typer.Argument(metavar="RUN|ARCHITECTURE", help="A run, a text, or an .arch file.", show_default=False),
    ],
    key: KeyArgument = None,
    lost: Annotated[
        float, typer.Option(metavar="POINTS", min=0, help="Of the metric that may be lost to the best found.")
    ] = 0.01,
    budget: Annotated[int, typer.Option(metavar="N", min=2, help="Candidates to evaluate.")] = 100,
    task: Annotated[
        str | None, option("TASK", None, "Another task than the run's.", default="the run's, or digits")
    ] = None,
    epochs: Annotated[int | None, option("N", None, "Of the large network's training.", min=1)] = None,
    grammar: Annotated[
        str | None, option("GRAMMAR", None, "Of a text or an .arch file.", default="einspace, or the run's")
    ] = None,
    layers: LayersOption = None,
    operators: OperatorsOption = None,
    against: Annotated[
        str, typer.Option(metavar="NAME", help="What is to be small: params, flops, latency, memory.")
    ] = "params",
    distil: Annotated[
        bool, typer.Option("--distil", help="Children learn their parents' answers, too: distillation.")
    ] = False,
    workers: Annotated[int | None, option("N", None, "Processes that evaluate; 0: one for each core.", min=0)] = None,
    name: Annotated[str | None, option("NAME", None, "Of the new run's folder.", default="small-TASK")] = None,
    runs: RunsOption = Path("runs"),
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any key of the config: --set final.epochs=20."),
    ] = None,
    quiet: QuietOption = False,
) -> int:
    """Make a network smaller: parts go, layers narrow, weights stay.

    The smallest network that loses no more than POINTS on held-out rows to the best one found is trained on with its
    weights, tested beside the large one, and saved in the new run's folder as small/.
    """
    from evosearch import config as configuration
    from evosearch import final
    from evosearch.engine import compression
    from evosearch.evaluation import lineage

    changes: dict[str, Any] = {"task": task, "recipe.epochs": epochs, "workers.workers": workers, "name": name}
    said = dict(configuration.parse_setting(setting) for setting in settings or ())
    changes = {name: value for name, value in changes.items() if value is not None} | said
    changes.update({"search.budget": budget, "time": ""})
    large = subject_of(what, key, grammar, changes, texts(layers), texts(operators))
    text, params = large.architecture.text, large.architecture.cost.params
    population = large.config.search.population if "search.population" in _keys(said) else compression.POPULATION
    config = compression.compressing(large.config, large.task.metric, params, against, distil, population)
    _require_followed(_keys(said), FORCED, large.config, config)
    if name is None:
        config = config.model_copy(update={"name": f"small-{Path(large.task.name).stem}"})
    made: list[Path] = []

    def begin(folder: Path, watch: LiveView | PlainView) -> Summary:
        made[:] = [folder]
        return compression.compress(config, text, folder, watch)

    heading = "The search's best network, whatever its size, trained from nothing:"
    code = begun(runs, config, name, quiet, False, begin, heading)
    if code != DONE:
        return code
    (folder,) = made
    found = compression.smallest(folder, lost)
    little = final.subject(large.config, found.text)
    states = lineage.read(lineage.file_of(folder, found.number)).states
    (first,) = final.train(large, 1)
    (anew,), (on,) = final.train(little, 1), final.train(little, 1, states[0])
    final.save(on, folder / "small")
    metric, small = large.task.metric, little.architecture
    output.say()
    output.say("The large network and the small one:")
    output.say()
    output.facts(
        [
            ("large", f"{count(params)} parameters, {found.teacher_value:.4f} on held-out rows"),
            ("best of all", f"{found.best:.4f} there, from which --lost is counted"),
            (
                "small",
                f"{count(found.params)} parameters, {found.value:.4f}; {params / max(1, found.params):.1f}x fewer",
            ),
            (f"test {metric}", f"large {first.mean:.4f}, small {on.mean:.4f}; small from nothing {anew.mean:.4f}"),
            ("network", f"{short(small.key)}  {small.text}"),
            ("saved", f"{folder}/small"),
        ]
    )
    return DONE


def refine(
    what: Annotated[
        str,
        typer.Argument(metavar="RUN|ARCHITECTURE", help="A run, a text, or an .arch file.", show_default=False),
    ],
    latency: Annotated[str, typer.Option(metavar="TIME", help="That a call may take: 3ms, 800us.", show_default=False)],
    key: KeyArgument = None,
    table: Annotated[
        str | None, option("FILE.csv", None, "Latency by layers, of another device.", default="measured here")
    ] = None,
    budget: Annotated[int, typer.Option(metavar="N", min=2, help="Candidates to evaluate at most.")] = 200,
    task: Annotated[
        str | None, option("TASK", None, "Another task than the run's.", default="the run's, or digits")
    ] = None,
    epochs: Annotated[
        int | None, option("N", None, "After each change.", min=1, default="a third of recipe.epochs")
    ] = None,
    grammar: Annotated[
        str | None, option("GRAMMAR", None, "Of a text or an .arch file.", default="einspace, or the run's")
    ] = None,
    layers: LayersOption = None,
    operators: OperatorsOption = None,
    name: Annotated[str | None, option("NAME", None, "Of the new run's folder.", default="fast-TASK")] = None,
    runs: RunsOption = Path("runs"),
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any key of the config: --set strategy.tries=4."),
    ] = None,
    quiet: QuietOption = False,
) -> int:
    """Make a network faster, step by step, where least is lost for the time.

    Each step narrows layers or removes a part, trains for a short time with the weights there are, and measures. The
    network that takes no longer than TIME is trained on with its weights and tested; it is the new run's best/.
    """
    from evosearch import config as configuration
    from evosearch import final
    from evosearch.engine import refinement
    from evosearch.errors import UsageError
    from evosearch.evaluation.measures import name_of
    from evosearch.report.reading import read_run

    target = refinement.milliseconds(latency)
    changes: dict[str, Any] = {"task": task, "hardware.table": table, "recipe.inherit_epochs": epochs, "name": name}
    wanted = dict(configuration.parse_setting(setting) for setting in settings or ())
    changes = {name: value for name, value in changes.items() if value is not None} | wanted
    changes.update({"search.budget": budget, "time": "", "workers.workers": 1})
    start = subject_of(what, key, grammar, changes, texts(layers), texts(operators))
    config = refinement.refining(start.config, start.task.metric, target)
    _require_followed(_keys(wanted), {*FORCED, "workers.workers", "strategy.target"}, start.config, config)
    room = refinement.room(start)
    if target >= room.now:
        raise UsageError(f"--latency {latency}: a call takes {room.now:.3g} ms as it is; name a shorter time")
    if target < room.least:
        raise UsageError(
            f"--latency {latency}: with all its layers narrowed a call takes {room.least:.3g} ms still; "
            "name a longer time, or start from another network"
        )
    if name is None:
        config = config.model_copy(update={"name": f"fast-{Path(start.task.name).stem}"})
    made: list[Path] = []

    def begin(folder: Path, watch: LiveView | PlainView) -> Summary:
        made[:] = [folder]
        return refinement.refine(config, start.architecture.text, folder, watch)

    code = begun(runs, config, name, quiet, False, begin)
    if code != DONE:
        return code
    reading = read_run(made[0])
    first, found = reading.candidates[0], reading.candidate(reading.metrics["key"])
    lines = []
    for label, one in (("start", first), ("refined", found)):
        taken, value = (one.objectives[name_of(text)] for text in reversed(config.search.objectives))
        lines.append((label, f"{count(one.cost['params'])} parameters, {taken:.3g} ms, {value:.4f} on held-out rows"))
    if not config.hardware.table:
        fast = final.subject(start.config, found.text).architecture
        again = refinement.compared([start.architecture, fast], config)
        said = " to ".join(f"{one.median:.3g} ms (interquartile range {one.range:.2g})" for one in again)
        over = f"; over the {latency} asked for, a shorter time leaves more room" if again[-1].median > target else ""
        lines.append(("in turn", said + over))
    output.say()
    output.facts(lines)
    return DONE


def _require_followed(said: Sequence[str], own: Collection[str], asked: Config, config: Config) -> None:
    """Raise UsageError for a key that a person said and that follows from what the command does.

    own: keys that the command sets in any case. asked: the configuration as the settings make it. config: the search's.
    """
    from evosearch.errors import UsageError

    before, after = (one.model_dump(mode="json") for one in (asked, config))
    for key in said:
        table, _, name = key.partition(".")
        there, now = (one[table].get(name) if name else one[table] for one in (before, after))
        if key in own or there != now:
            raise UsageError(f"--set {key}: what the command does says it, or a flag of it; leave it out")


def _keys(settings: Mapping[str, Any]) -> list[str]:
    """The keys that settings say: of a whole table those in it."""
    return [
        key if inner is None else f"{key}.{inner}"
        for key, value in settings.items()
        for inner in (value if isinstance(value, dict) and "." not in key else [None])
    ]
