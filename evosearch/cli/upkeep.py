"""The commands for upkeep: init, verify, repair, and cache with its own."""

from __future__ import annotations

import time
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from evosearch.cli import DONE, FAILED, output
from evosearch.cli.grammars import JsonOption, LayersOption, OperatorsOption
from evosearch.cli.help import Command, CommandGroup
from evosearch.cli.search import RUN_ARGUMENT
from evosearch.report.text import count

PANEL = "Upkeep"
STARTERS = ("evosearch.toml", "grammars/first.lark")

cache_app = typer.Typer(
    cls=CommandGroup, help="The scores that runs on this machine share.", no_args_is_help=True, rich_markup_mode=None
)


def register(app: typer.Typer) -> None:
    for command in (init, verify, repair):
        app.command(cls=Command, rich_help_panel=PANEL)(command)
    cache_app.command(cls=Command)(ls)
    cache_app.command(cls=Command)(gc)
    cache_app.command(cls=Command)(merge)
    app.add_typer(cache_app, name="cache", rich_help_panel=PANEL)


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where; made where it is not there.", show_default="here")
    ] = Path(),
    task: Annotated[
        str | None,
        typer.Option(metavar="TASK", help="Your data: a config and a grammar that fit them.", show_default=False),
    ] = None,
    target: Annotated[
        str,
        typer.Option(
            metavar="COLUMN", help="Of a CSV, to predict: its name, or number from 0.", show_default="the last"
        ),
    ] = "",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="With --task, any key of the config: --set data.size=64."),
    ] = None,
) -> int:
    """Write a commented config and a small grammar to start from.

    With --task for data of your own: each setting that follows from them says why it is as it is.
    """
    from evosearch.errors import UsageError

    if task is None:
        if target or settings:
            raise UsageError("--target and --set say something of --task; name your data by it")
        starters = {name: _starter(name) for name in STARTERS}
    else:
        from evosearch import config as configuration
        from evosearch.cli import begin

        given = dict(configuration.parse_setting(setting) for setting in settings or ())
        starters = begin.files(task, {**({"data.target": target} if target else {}), **given})
    if any(path.is_file() for path in (folder, *folder.parents)):
        raise UsageError(f"{folder}: a file is in the way; choose another folder")
    taken = [name for name in starters if (folder / name).exists()]
    if taken:
        raise UsageError(f"{folder / taken[0]} is there already; choose another folder, or move it away")
    for name, text in starters.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        output.say(f"wrote {path}")
    output.say()
    where = "" if folder == Path() else f"cd {folder} && "
    if task is None:
        output.say(f"What it generates:  {where}evolve sample first --input 1x8x8")
    output.say(f"Search it:          {where}evolve run evosearch.toml")
    return DONE


def _starter(name: str) -> str:
    return resources.files("evosearch.cli").joinpath("starters", Path(name).name).read_text(encoding="utf-8")


def verify(
    run: Annotated[str, RUN_ARGUMENT],
    layers: LayersOption = None,
    operators: OperatorsOption = None,
    as_json: JsonOption = False,
) -> int:
    """Check a run's files, and do its search again from its journal.

    Changes nothing and evaluates nothing; exits with 1 where something is off.
    """
    from evosearch import engine
    from evosearch.cli.runs import folder_of

    folder = folder_of(run)
    findings = engine.verify(folder, *_own(layers, operators))
    if as_json:
        output.as_json([{"file": one.file, "message": one.message, "cure": one.cure} for one in findings])
    elif findings:
        for one in findings:
            output.say(f"{folder / one.file}: {one.message}; {one.cure}")
    else:
        output.say(f"{folder}: everything checks")
    return FAILED if findings else DONE


def repair(run: Annotated[str, RUN_ARGUMENT], layers: LayersOption = None, operators: OperatorsOption = None) -> int:
    """Cut a torn record off a run's journal; write its checkpoint anew.

    Nothing is deleted: what is cut or set aside is kept beside it.
    """
    from evosearch import engine
    from evosearch.cli.runs import folder_of

    folder = folder_of(run)
    for line in engine.repair(folder, *_own(layers, operators)):
        output.say(f"{folder}: {line}")
    return DONE


def _own(layers: list[Path] | None, operators: list[Path] | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(str(path) for path in layers or ()), tuple(str(path) for path in operators or ())


def ls(as_json: JsonOption = False) -> int:
    """What is in the ledger."""
    from evosearch.store.ledger import Ledger

    with Ledger() as ledger:
        found = ledger.ls()
    if as_json:
        tasks = [{"task": task, "recipe": recipe, "scores": number} for (task, recipe), number in found.tasks.items()]
        output.as_json({"path": str(found.path), "scores": found.records, "bytes": found.bytes, "tasks": tasks})
        return DONE
    output.facts(
        [
            ("ledger", str(found.path)),
            ("scores", f"{found.records:,} of {len(found.tasks)} task and recipe pairs"),
            ("size", f"{count(found.bytes)}B"),
            ("oldest", _day(found.oldest)),
            ("newest", _day(found.newest)),
        ]
    )
    return DONE


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds)) if seconds else ""


def gc(
    older_than: Annotated[
        float | None, typer.Option(min=0, metavar="DAYS", help="Drop scores older than this.", show_default=False)
    ] = None,
    max_size: Annotated[
        float | None, typer.Option(min=0, metavar="MB", help="Drop the oldest beyond this size.", show_default=False)
    ] = None,
) -> int:
    """Drop old scores."""
    from evosearch.errors import UsageError
    from evosearch.store.ledger import Ledger

    if older_than is None and max_size is None:
        raise UsageError("say what to drop: --older-than DAYS, --max-size MB, or both")
    with Ledger() as ledger:
        if not ledger.path.exists():
            output.say(f"{ledger.path}: no ledger yet, nothing to drop")
            return DONE
        kept, dropped = ledger.gc(
            None if max_size is None else int(max_size * 1e6), None if older_than is None else older_than * 86_400
        )
    output.say(f"kept {kept:,} scores, dropped {dropped:,}")
    return DONE


def merge(
    other: Annotated[Path, typer.Argument(metavar="LEDGER", help="Another machine's ledger.", show_default=False)],
) -> int:
    """Take in the scores of another ledger."""
    from evosearch.cli.runs import find_run
    from evosearch.errors import UsageError
    from evosearch.store.ledger import Ledger

    cure = "name a ledger file, or a run's folder to take in the scores that it paid for"
    if other.is_dir() and find_run(str(other)) is None:
        raise UsageError(f"{other}: a folder, and not a run's; {cure}")
    if not other.exists():
        raise UsageError(f"{other}: no such file; {cure}")
    with Ledger() as ledger:
        output.say(f"took in {ledger.merge(other):,} scores")
    return DONE
