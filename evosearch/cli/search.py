"""The commands that search: run, resume, status, list."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evosearch.cli import INTERRUPTED, Terminated, output
from evosearch.cli.help import Command
from evosearch.report.text import count, duration, figure, short, shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from evosearch.config import Config
    from evosearch.report.live import LiveView, PlainView
    from evosearch.watch import Summary

PANEL = "Search"
SPACE, SEARCH, PLACE = "What may be found", "How it is searched", "Where"  # panels of run's options

RUN_ARGUMENT = typer.Argument(metavar="RUN", help="A run's folder, or its name in runs/.", show_default=False)

RunsOption = Annotated[Path, typer.Option(metavar="FOLDER", help="Where runs lie.", envvar="EVOSEARCH_RUNS")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print the result only.")]
ResultJsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def option(metavar: str, panel: str | None, help: str, *, min: int | None = None, default: str | None = None) -> Any:
    """A flag that leaves the configuration as it is where it is not given; `default` says what that comes to."""
    text = f"{help.removesuffix('.')} ({default})." if default else help
    return typer.Option(metavar=metavar, help=text, min=min, show_default=False, rich_help_panel=panel)


LOG = "tensorboard, mlflow, wandb, beside CSV and JSON Lines; none."
LogOption = Annotated[list[str] | None, option("NAME", PLACE, LOG)]
ResumedLogOption = Annotated[list[str] | None, option("NAME", None, LOG, default="as the run was started")]


def register(app: typer.Typer) -> None:
    for command in (run, resume, status):
        app.command(cls=Command, rich_help_panel=PANEL)(command)
    app.command("list", cls=Command, rich_help_panel=PANEL)(list_runs)


def run(
    config: Annotated[
        Path | None, typer.Argument(metavar="CONFIG.toml", help="A run's configuration.", show_default=False)
    ] = None,
    grammar: Annotated[
        str | None, option("GRAMMAR", SPACE, "Name or path of the grammar.", default="what fits the data")
    ] = None,
    task: Annotated[
        str | None, option("TASK", SPACE, "digits, a path, table:FILE.csv, package.module:function.", default="digits")
    ] = None,
    target: Annotated[
        str | None, option("COLUMN", SPACE, "Of a CSV, to predict: its name, or number from 0.", default="the last")
    ] = None,
    start: Annotated[
        list[str] | None,
        option(
            "ARCH",
            SPACE,
            "A network to start from: file, name or text; again for more; none: samples.",
        ),
    ] = None,
    layers: Annotated[list[Path] | None, option("FILE.py", SPACE, "Layers of your own; again for more.")] = None,
    max_params: Annotated[int | None, option("N", SPACE, "Most trainable parameters.", min=0)] = None,
    max_flops: Annotated[int | None, option("N", SPACE, "Most FLOPs of one example.", min=0)] = None,
    budget: Annotated[int | None, option("N", SEARCH, "Candidates to evaluate.", min=1)] = None,
    time: Annotated[
        str | None, option("TIME", SEARCH, "That the run may take, as 10m or 1h30m; with no --budget it ends then.")
    ] = None,
    single: Annotated[
        bool, typer.Option("--single", rich_help_panel=SEARCH, help="Keep one network, no ensemble, also with --time.")
    ] = False,
    strategy: Annotated[
        str | None, option("NAME", SEARCH, "aging, nsga2, or random as the baseline.", default="aging")
    ] = None,
    order: Annotated[
        str | None,
        option(
            "NAME", SEARCH, "proposal, or arrival: faster with uneven candidates, not repeatable.", default="proposal"
        ),
    ] = None,
    learn_from: Annotated[
        list[str] | None, option("RUN", SEARCH, "Another run, for the surrogate that screens; again for more.")
    ] = None,
    epochs: Annotated[int | None, option("N", SEARCH, "Of each candidate's training.", min=1)] = None,
    seed: Annotated[int | None, option("N", SEARCH, "Of all randomness.", min=0, default="0")] = None,
    operators: Annotated[list[Path] | None, option("FOLDER", SEARCH, "Operators of your own; again for more.")] = None,
    workers: Annotated[int | None, option("N", PLACE, "Processes that evaluate; 0: one for each core.", min=0)] = None,
    device: Annotated[
        str | None, option("NAME", PLACE, "cpu, cuda, cuda:1.", default="CUDA where there is one")
    ] = None,
    per_device: Annotated[
        int | None, option("K", PLACE, "Candidates at a time on one GPU.", min=0, default="by its memory and the cores")
    ] = None,
    executor: Annotated[
        str | None, option("NAME", PLACE, "Where workers are: ray, or module:factory.", default="local: this machine")
    ] = None,
    name: Annotated[str | None, option("NAME", PLACE, "Of the run's folder.", default="GRAMMAR-TASK")] = None,
    runs: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where runs lie.", envvar="EVOSEARCH_RUNS", rich_help_panel=PLACE)
    ] = Path("runs"),
    log: LogOption = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any key of the config: --set search.population=50."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the config, the estimated cost and the first five candidates.")
    ] = False,
    quiet: QuietOption = False,
    as_json: ResultJsonOption = False,
) -> int:
    """Search for a network: evolve, train, test, save."""
    began = monotonic()  # reading the data is part of a run's time
    from evosearch import config as configuration
    from evosearch.cli.runs import folder_of

    flags: dict[str, Any] = {
        "grammar": grammar,
        "task": task,
        "seed": seed,
        "seeds": _without_none(start),
        "layers": [str(path) for path in layers] if layers else None,
        "operators": [str(path) for path in operators] if operators else None,
        "name": name,
        "log": _without_none(log),
        "learn_from": [str(folder_of(other)) for other in learn_from] if learn_from else None,
        "time": time,
        "ensemble.members": 1 if single else None,
        "search.budget": budget,
        "search.strategy": strategy,
        "search.order": order,
        "limits.max_params": max_params,
        "limits.max_flops": max_flops,
        "recipe.epochs": epochs,
        "workers.workers": workers,
        "workers.device": device,
        "workers.per_device": per_device,
        "workers.executor": executor,
        "data.target": target,
    }
    overrides = {key: value for key, value in flags.items() if value is not None}
    overrides.update(configuration.parse_setting(setting) for setting in settings or ())
    from evosearch import engine

    found = engine.chosen(config, overrides)
    resolved = found.config
    if dry_run:
        from evosearch.cli.dry import preview

        preview(resolved, as_json, (*found.data, *found.choices))
        return 0
    why = () if quiet or as_json else found.choices

    def begin(folder: Path, watch: LiveView | PlainView) -> Summary:
        return engine.start(resolved, folder, watch, why, found.task, began)

    return begun(runs, resolved, name, quiet, as_json, begin)


def _without_none(given: list[str] | None) -> list[str] | None:
    """What a repeated flag names; `none` names nothing. None where it was not given."""
    return [text for text in given if text != "none"] if given else None


def resume(
    run: Annotated[str, RUN_ARGUMENT],
    budget: Annotated[
        int | None, option("N", None, "A larger number of candidates, to go on from there.", min=1)
    ] = None,
    time: Annotated[str | None, option("TIME", None, "That the whole run may take, more than it was given.")] = None,
    workers: Annotated[int | None, option("N", None, "Processes that evaluate; 0: one for each core.", min=0)] = None,
    device: Annotated[str | None, option("NAME", None, "cpu, cuda, cuda:1.", default="the run's")] = None,
    executor: Annotated[
        str | None, option("NAME", None, "Where workers are: local, ray, module:factory.", default="the run's")
    ] = None,
    task: Annotated[
        str | None, option("TASK", None, "Where the run's data lies now.", default="where it lay then")
    ] = None,
    layers: Annotated[list[Path] | None, option("FILE.py", None, "The run's own layers; again for more.")] = None,
    operators: Annotated[list[Path] | None, option("FOLDER", None, "The run's own operators; again for more.")] = None,
    log: ResumedLogOption = None,
    fork: Annotated[
        str | None, option("NAME", None, "A new run from this one's population, with what has changed since.")
    ] = None,
    quiet: QuietOption = False,
    as_json: ResultJsonOption = False,
) -> int:
    """Go on with a run that was interrupted, or give it more.

    It ends as the run that nobody interrupted would have ended, on any number of workers. A finished run that gets no
    more is left as it is, and its result printed again.
    """
    from evosearch.cli.runs import folder_of

    folder = folder_of(run)
    if fork is not None:
        flags = {
            "name": fork,
            "task": task,
            "search.budget": budget,
            "time": time,
            "workers.workers": workers,
            "workers.device": device,
            "workers.executor": executor,
            "layers": [str(path) for path in layers] if layers else None,
            "operators": [str(path) for path in operators] if operators else None,
            "log": _without_none(log),
        }
        return _fork(folder, {key: value for key, value in flags.items() if value is not None}, quiet, as_json)

    def go_on(watch: LiveView | PlainView) -> Summary:
        from evosearch import config as configuration
        from evosearch import engine

        logs = None if log is None else configuration.load(None, {"log": _without_none(log)}).log
        return engine.resume(
            folder,
            watch,
            budget=budget,
            time=time,
            workers=workers,
            device=device,
            layers=tuple(str(path) for path in layers or ()),
            operators=tuple(str(path) for path in operators or ()),
            log=logs,
            task=task,
            executor=executor,
        )

    return _watched(go_on, lambda: folder, quiet, as_json, [str(path) for path in layers or ()])


def _fork(parent: Path, overrides: dict[str, Any], quiet: bool, as_json: bool) -> int:
    """A new run beside `parent`, with its configuration and its population.

    Layers and operators are taken as a resume takes them: never on the word of the parent's folder.
    """
    from evosearch import config as configuration
    from evosearch import paths
    from evosearch.engine.replay import own_executor
    from evosearch.store.run import Run

    text = Run.open(parent).text("config.toml")  # raises where it is not what the run was started with
    resolved = configuration.loads(text, str(parent / "config.toml"), {**overrides, "seeds": []})
    if resolved.workers.own_executor and "workers.executor" not in overrides:
        raise own_executor(parent, resolved.workers)
    own = {
        kind: paths.own_code(kind, getattr(resolved, kind), overrides.get(kind, ()), run=parent)
        for kind in ("layers", "operators")
    }
    resolved = resolved.model_copy(update=own)

    def begin(folder: Path, watch: LiveView | PlainView) -> Summary:
        from evosearch import engine

        return engine.fork(parent, resolved, folder, watch)

    return begun(parent.parent, resolved, resolved.name, quiet, as_json, begin)


def begun(
    runs: Path,
    config: Config,
    asked: str | None,
    quiet: bool,
    as_json: bool,
    begin: Callable[[Path, LiveView | PlainView], Summary],
    heading: str = "",
) -> int:
    """A new run, to its end; of one that was not given its name, the next number where another is quicker.

    begin: makes it in a folder, told to a view. heading: of its result, where more comes behind it. Raises RunExists
    where the folder is taken.
    """
    from evosearch.errors import RunExists

    folder = new_folder(runs, config, asked)

    def work(watch: LiveView | PlainView) -> Summary:
        nonlocal folder
        while True:
            try:
                return begin(folder, watch)
            except RunExists:
                if asked is not None:
                    raise
                folder = new_folder(runs, config, asked)

    return _watched(work, lambda: folder, quiet, as_json, config.layers, heading)


def new_folder(runs: Path, config: Config, asked: str | None) -> Path:
    """Where a new run goes: the name asked for; else the config's or GRAMMAR-TASK, numbered where that is taken."""
    from evosearch.errors import UsageError

    base = config.name or f"{Path(config.grammar).stem}-{_stem(config.task)}"
    if Path(base).name != base or base.startswith("."):
        raise UsageError(f"--name {base}: a name, not a path; --runs says where runs lie")
    if not all(letter.isprintable() or "\ud800" <= letter <= "\udfff" for letter in base):  # or bytes
        raise UsageError(f"--name {base!r}: line ends and other control characters make no name")
    if asked is not None:
        if (runs / base).exists():
            raise UsageError(f"{runs / base} exists; choose another --name, or go on with: evolve resume {runs / base}")
        return runs / base
    number = 1
    while (runs / (base if number == 1 else f"{base}-{number}")).exists():
        number += 1
    return runs / (base if number == 1 else f"{base}-{number}")


def _stem(task: str) -> str:
    """What a run is called after: the file, the function, or the task's own name."""
    kind, _, rest = task.partition(":")
    return Path(rest).stem if kind == "table" else rest or Path(task).stem or "task"


def _watched(
    work: Callable[[LiveView | PlainView], Summary],
    folder: Callable[[], Path],
    quiet: bool,
    as_json: bool,
    layers: Sequence[str],
    heading: str = "",
) -> int:
    """Do the work under a view that fits the output; on Ctrl-C say how to go on."""
    from evosearch.report.live import LiveView, PlainView, QuietView

    view: LiveView | PlainView
    if quiet:
        view = QuietView(sys.stderr)
    elif as_json:
        view = PlainView(sys.stderr)
    elif output.is_terminal():
        view = LiveView(output.console())
    else:
        view = PlainView(sys.stdout)
    try:
        summary = work(view)
    except KeyboardInterrupt as stop:
        view.close()
        go_on = f"; go on with: evolve resume {folder()}" if folder().is_dir() else ""
        how = f"ended by {stop}" if isinstance(stop, Terminated) else "interrupted"
        with contextlib.suppress(OSError):  # a terminal that has hung up
            output.warn(f"{how}{go_on}")
        return stop.exit_code if isinstance(stop, Terminated) else INTERRUPTED
    finally:
        view.close()
    if as_json:
        output.as_json(summary_data(summary))
    else:
        if heading:
            output.say()
            output.say(heading)
        print_summary(summary)
    if not (summary.before and _is_newest(summary.folder)):
        _report(summary.folder, layers)
    return 0


def _is_newest(folder: Path) -> bool:
    """Whether a finished run has a report that was written after its best/."""
    report, best = folder / "report.html", folder / "best" / "metrics.json"
    return report.is_file() and report.stat().st_mtime_ns >= best.stat().st_mtime_ns


def _report(folder: Path, layers: Sequence[str]) -> None:
    """Write report.html into a finished run. The run is done without it: what goes wrong here is said, no failure."""
    from evosearch.errors import EvosearchError
    from evosearch.report.html import write_report

    try:
        write_report(folder, layers=layers)
    except EvosearchError as error:
        print(f"evolve: the run is done, but its report could not be written: {error}", file=sys.stderr, flush=True)


def summary_data(summary: Summary) -> dict[str, Any]:
    import dataclasses

    return {**dataclasses.asdict(summary), "folder": str(summary.folder)}


def _validation(summary: Summary) -> str:
    """The winner's fitness, and what it came to when it was trained again."""
    if summary.fitness is None:
        again = "" if summary.again is None else f"; {summary.again:.4f} in a training after it"
        none = "this network was not" if summary.evaluated else "no candidate was"
        return f"{none} done within the search{again}"
    again = "" if summary.again is None else f"; {summary.again:.4f} when trained again"
    return f"{figure(summary.fitness)}{again}"


def print_summary(summary: Summary) -> None:
    """The result of a run, in a few lines that end with where to look next."""
    output.say()
    for metric, value in summary.test_metric.items():
        beside = summary.baseline.get(metric)
        against = "" if beside is None else f"   ({summary.baseline_name} on the same split: {beside:.4f})"
        alone = summary.single.get(metric)
        of = "" if alone is None else f", {summary.networks} networks together; the best of them alone {alone:.4f}"
        output.say(f"test {metric} {value:.4f}{of}{against}")
    output.say()
    failed = sum(summary.failures.values())
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(summary.failures.items()))
    output.facts(
        [
            ("best", f"{short(summary.best_key)}  {shortened(summary.best_text)}"),
            ("validation", _validation(summary)),
            ("searched", summary.searched),
            ("at random", summary.at_random),
            ("evaluated", f"{summary.evaluated} ({summary.distinct} distinct), {duration(summary.seconds)}"),
            ("failed", f"{failed} ({kinds}); {_why(summary)} says why" if failed else ""),
            ("duplicates", f"{summary.duplicates} redrawn before any work was done" if summary.duplicates else ""),
            ("saved", f"{summary.folder}/best"),
        ]
    )
    output.say()
    output.say(f"Look closer:  {summary.folder}/report.html, or evolve best {summary.folder}")


def _why(summary: Summary) -> str:
    """The command that tells why a candidate failed."""
    return f"evolve why {summary.folder} {short(summary.failed_key) or 'KEY'}"


def status(
    run: Annotated[str, RUN_ARGUMENT],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> int:
    """Where a run stands. Reads its folder; runs nothing of it."""
    from evosearch.cli.runs import folder_of
    from evosearch.report import standing

    state = standing.status(folder_of(run))
    if as_json:
        output.as_json(state)
        return 0
    best = state["best"]
    output.facts(
        [
            ("run", f"{state['folder']}  {state['phase']}"),
            ("grammar", Path(state["grammar"]).name.removesuffix(".lark")),
            ("task", _stem(state["task"])),
            ("evaluated", evaluated_of(state, " of ")),
            ("failed", ", ".join(f"{number} {kind}" for kind, number in sorted(state["failures"].items()))),
            (
                "best",
                f"{figure(best['fitness'])}  {short(best['key'])}{_size(best['params'])}{_share(best)}"
                if best
                else "none yet",
            ),
            ("test", ", ".join(f"{name} {value:.4f}" for name, value in state["test"].items())),
            (
                "last score",
                f"{duration(state['idle_seconds'])} ago"
                if state["idle_seconds"] is not None and state["evaluated"]
                else "",
            ),
        ]
    )
    return 0


def _share(best: Mapping[str, Any]) -> str:
    """Of what part of an evaluation the best score is, where the longest one so far is no whole one."""
    return f"  by {best['fidelity']:.3g} of an evaluation" if "fidelity" in best else ""


def _size(params: int | None) -> str:
    return "" if params is None else f"  {count(params)} parameters"


def evaluated_of(state: dict[str, Any], of: str) -> str:
    """How many candidates have a score, and of how many where their number ends the run."""
    from evosearch.config import NO_END

    return str(state["evaluated"]) if state["budget"] >= NO_END else f"{state['evaluated']}{of}{state['budget']}"


def list_runs(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="Where runs lie.", envvar="EVOSEARCH_RUNS")] = Path(
        "runs"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> int:
    """The runs in a folder, newest last."""
    from evosearch.errors import RunError
    from evosearch.report import standing

    found: list[dict[str, Any]] = []
    folders = [path.parent for path in runs.glob("*/journal.msgpack")]
    for folder in sorted(folders, key=lambda folder: (folder / "journal.msgpack").stat().st_mtime):
        try:
            found.append(standing.status(folder))
        except RunError as error:
            found.append({"folder": str(folder), "phase": "unreadable", "error": str(error)})
    if as_json:
        output.as_json(found)
        return 0
    if not found:
        output.say(f"no runs in {runs}; `evolve run` makes one")
        return 0
    rows = []
    for state in found:
        best = state.get("best")
        rows.append(
            (
                Path(state["folder"]).name,
                state["phase"],
                evaluated_of(state, "/") if "evaluated" in state else "",
                figure(best["fitness"]) if best else "",
                ", ".join(f"{value:.4f}" for value in state.get("test", {}).values()),
                Path(state.get("grammar", "")).name.removesuffix(".lark"),
                _stem(state["task"]) if "task" in state else "",
            )
        )
    output.table(("run", "phase", "evaluated", "best", "test", "grammar", "task"), rows, right=(2, 3, 4))
    return 0
