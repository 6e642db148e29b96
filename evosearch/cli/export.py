"""The commands that make something of a found network: export, train."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evosearch.cli import DONE, output
from evosearch.cli.grammars import JsonOption, LayersOption, OperatorsOption
from evosearch.cli.help import Command
from evosearch.cli.search import option
from evosearch.report.text import clean, count, duration, short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evosearch.final import Outcome, Stored, Subject
    from evosearch.formats import Exported, Original

PANEL = "Results"

KeyArgument = Annotated[str | None, typer.Argument(metavar="KEY", help="Of a run's candidate; the best if left out.")]


def register(app: typer.Typer) -> None:
    for command in (export, train):
        app.command(cls=Command, rich_help_panel=PANEL)(command)


def export(
    what: Annotated[
        str, typer.Argument(metavar="RUN", help="A run, or a folder that `evolve train` wrote.", show_default=False)
    ],
    key: KeyArgument = None,
    format: Annotated[
        str | None,
        option("FORMAT", None, "python, safetensors, pt2, onnx or onnx-int8.", default="by the output's suffix"),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="PATH", help="A file, or a folder for it (RUN.SUFFIX).", show_default=False
        ),
    ] = None,
    task: Annotated[
        str | None, option("TASK", None, "Where the run's data lies now.", default="where it lay then")
    ] = None,
    layers: LayersOption = None,
    operators: OperatorsOption = None,
    as_json: JsonOption = False,
) -> int:
    """Write a trained network in a format that others read.

    The file is loaded again and compared with the network, on random examples and on the task's own, before it takes
    its place. python is code, safetensors its weights; pt2 (torch.export) and onnx hold both; onnx-int8 is quantised to
    8 bits, calibrated on training examples.
    """
    from evosearch import final, formats
    from evosearch.errors import TaskError

    chosen = _format(format, to)
    at = network_in(what)
    changes = {} if task is None else {"task": task}
    config = final.configured(at, changes, texts(layers), texts(operators))
    try:
        found = final.subject(config, _text(at, key))
    except TaskError as error:
        raise TaskError(f"{error}; where the run's data lies elsewhere now, --task says where") from None
    final.same(at, found, "grammar", "layers", "task")
    original = _original(at, found, chosen)
    path = _target(to, at, formats.FORMATS[chosen].suffix)
    exported = formats.export(original, chosen, path)
    encoder = _encoder(original, chosen, path)
    if as_json:
        output.as_json(
            {
                "path": str(exported.path),
                "encoder": None if encoder is None else str(encoder),
                "format": exported.format,
                "bytes": exported.size,
                "difference": exported.difference,
                "differences": exported.differences,
                "key": original.architecture.key,
            }
        )
        return DONE
    _print_exported(exported, original, encoder)
    return DONE


def _encoder(original: Original, format: str, path: Path) -> Path | None:
    """The file beside an exported network that makes numbers of a table's rows; None where none is needed."""
    from evosearch.store.disk import hand_over
    from evosearch.tasks.source import encoder_source

    if original.task is None or not original.task.columns or format == "python":
        return None
    beside = path.with_name(f"{re.sub(r'[^0-9A-Za-z_]', '_', path.stem)}_rows.py")
    hand_over(beside, encoder_source(original.task))
    return beside


def _print_exported(exported: Exported, original: Original, encoder: Path | None) -> None:
    from evosearch.formats import BATCHES, FORMATS

    use = FORMATS[exported.format].use.format(name=exported.path.name)
    sizes = ", ".join(map(str, original.architecture.input))
    constants = "its preprocess does that" if exported.format == "python" else "constants in its metadata"
    compared = " and ".join(dict.fromkeys(name.rpartition(" x")[0] for name in exported.differences))
    output.facts(
        [
            ("exported", f"{exported.path}  {exported.format}, {exported.size:,} bytes"),
            ("compared", f"on {compared} examples, {' and '.join(map(str, BATCHES))} at a time"),
            ("difference", f"at most {exported.difference:.1g}"),
            ("takes", f"normalised float32 (batch, {sizes}); {constants}"),
            ("rows", "" if encoder is None else f"{encoder}: preprocess(rows) makes that of them, with NumPy alone"),
            ("use", use),
        ]
    )


def _format(asked: str | None, to: Path | None) -> str:
    """The format asked for, or the one that the output's suffix means. Raises UsageError."""
    from evosearch.errors import UsageError
    from evosearch.formats import FORMATS

    if asked is None:
        named = [name for name in FORMATS if to is not None and to.suffix == FORMATS[name].suffix]
        if not named:
            raise UsageError(f"say which format: --format {' or '.join(FORMATS)}")
        return named[0]
    if asked not in FORMATS:
        raise UsageError(f"--format {asked}: there are {', '.join(FORMATS)}")
    return asked


def _target(to: Path | None, at: Stored, suffix: str) -> Path:
    from evosearch.errors import UsageError

    name = f"{at.folder.resolve().name}{suffix}"
    path = Path(name) if to is None else to / name if to.is_dir() else to
    if not path.parent.is_dir():
        raise UsageError(f"--output {path}: there is no folder {path.parent}")
    if path.is_file() and not path.name.endswith(suffix):
        raise UsageError(f"--output {path}: is there, and is no {suffix} file; choose another name")
    return path


def _original(at: Stored, found: Subject, format: str) -> Original:
    """The network to export: with its trained weights, or with fresh ones where the format holds none."""
    from evosearch import final
    from evosearch.errors import RunError

    if (at.files / final.WEIGHTS_FILE).is_file() and found.architecture.text == at.text():
        return final.restore(at, found)
    if format == "python":
        return final.fresh(found)
    key = short(found.architecture.key)
    if found.architecture.text == at.text():
        raise RunError(
            f"{at.files / final.WEIGHTS_FILE} is gone; train the network again, and export what that writes: "
            f"evolve train {at.folder} {key}"
        )
    raise RunError(
        f"{at.folder} keeps no weights of {key}, only those of its best; train it, and export what that writes: "
        f"evolve train {at.folder} {key}"
    )


def train(
    what: Annotated[
        str,
        typer.Argument(metavar="RUN|ARCHITECTURE", help="A run, a text, or an .arch file.", show_default=False),
    ],
    key: KeyArgument = None,
    task: Annotated[
        str | None, option("TASK", None, "Another task than the run's.", default="the run's, or digits")
    ] = None,
    seeds: Annotated[int, typer.Option(metavar="N", min=1, help="Trainings, each with a seed of its own.")] = 3,
    seed: Annotated[int | None, option("N", None, "The first seed.", min=0, default="the run's, or 0")] = None,
    epochs: Annotated[int | None, option("N", None, "Of each training.", min=1, default="[final]'s")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any key of the config: --set final.lr=0.01."),
    ] = None,
    device: Annotated[str | None, option("NAME", None, "cpu, cuda, cuda:1.", default="the run's")] = None,
    grammar: Annotated[
        str | None, option("GRAMMAR", None, "Of a text or an .arch file.", default="einspace, or the run's")
    ] = None,
    layers: LayersOption = None,
    operators: OperatorsOption = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="For the network and its figures (runs/trained/KEY-TASK).",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Train a network to the end in several seeds, and test each once.

    On train and validation together, by the recipe in [final]. The network of the first seed is saved.
    """
    from evosearch import config as configuration
    from evosearch import final

    changes: dict[str, Any] = {"task": task, "seed": seed, "final.epochs": epochs, "workers.device": device}
    changes = {name: value for name, value in changes.items() if value is not None}
    changes.update(configuration.parse_setting(setting) for setting in settings or ())
    found = subject_of(what, key, grammar, changes, texts(layers), texts(operators))
    folder = _trained_folder(to, found)
    outcome: Outcome | None = None
    for outcome in final.train(found, seeds):
        _tell_seed(outcome, sys.stderr if as_json else sys.stdout)
        if outcome.values:
            final.save(outcome, folder)
    assert outcome is not None
    best = outcome.kept  # raises where no seed went well
    if as_json:
        output.as_json({"key": best.architecture.key, "folder": str(folder), **outcome.data()})
        return DONE
    _print_outcome(outcome, folder)
    return DONE


def texts(files: Sequence[Path] | None) -> list[str]:
    """Files that a person names, as a configuration has them."""
    return [str(file) for file in files or ()]


def subject_of(
    what: str,
    key: str | None,
    grammar: str | None,
    changes: dict[str, Any],
    layers: Sequence[str],
    operators: Sequence[str],
) -> Subject:
    """What a person names: a run's candidate, a folder of `evolve train`, an .arch file, or a text."""
    import dataclasses

    from evosearch import config as configuration
    from evosearch import final
    from evosearch.cli.runs import no_run, no_text
    from evosearch.errors import ArchitectureError, UsageError
    from evosearch.paths import NAME, is_file, read_arch
    from evosearch.tasks import TaskSettings

    file = Path(what)
    named = is_file(file)
    at = None if named else _stored(what)
    if at is None:
        if key is not None:
            if NAME.fullmatch(what) and not named:
                raise no_run(what)
            raise UsageError(f"{what}: a text has no candidates; leave {key} out")
        text = read_arch(file) if named else what
        given = {"grammar": grammar, "layers": list(layers), "operators": list(operators)}
        config = configuration.load(None, {**{name: value for name, value in given.items() if value}, **changes})
        try:
            return final.subject(config, text)
        except ArchitectureError as error:
            raise (error if named else no_text(what, grammar, error)) from None
    _check_grammar(at)
    if grammar is not None:
        raise UsageError(f"--grammar {grammar}: {what} has its own; leave it out")
    if "task" in changes:  # how the first one's files were read says nothing of another's
        usual = dataclasses.asdict(TaskSettings())
        changes = {**{f"data.{name}": value for name, value in usual.items()}, **changes}
    found = final.subject(final.configured(at, changes, layers, operators), _text(at, key))
    read_anew = any(name == "task" or name.startswith("data.") for name in changes)
    final.same(at, found, "grammar", "layers", *(() if read_anew else ("task",)))
    return found


def network_in(what: str) -> Stored:
    """The folder of a run or of `evolve train`, by its path or by its name in runs/. Raises RunError."""
    from evosearch.cli.runs import no_run

    at = _stored(what)
    if at is None:
        raise no_run(what)
    _check_grammar(at)
    return at


def _stored(what: str) -> Stored | None:
    """The network in the folder that a person names, or None where there is no such folder. Raises RunCorrupt."""
    from evosearch import final
    from evosearch.cli.runs import find_run
    from evosearch.paths import is_folder

    at = final.stored(Path(what)) if is_folder(Path(what)) else None
    run = find_run(what) if at is None else None
    return at if run is None else final.stored(run)


def _check_grammar(at: Stored) -> None:
    from evosearch.errors import RunError

    if not at.grammar.is_file():
        raise RunError(f"{at.grammar}: the grammar of {at.folder} is gone; put it back, or bring it from a copy")


def _text(at: Stored, key: str | None) -> str:
    """The sentence of a candidate; of the best one so far where no key is given."""
    from evosearch.errors import UsageError
    from evosearch.report.reading import read_run

    if at.files == at.folder:
        if key is not None:
            raise UsageError(f"{at.folder} holds one network; leave {key} out")
        return at.text()
    run = read_run(at.folder)
    return run.candidate(key).text if key is not None else str(run.best()["text"])


def _trained_folder(to: Path | None, found: Subject) -> Path:
    """Where the outcome goes: as asked, else runs/trained/KEY-TASK, numbered where that is taken."""
    from evosearch.errors import UsageError

    if to is not None:
        if to.exists():
            raise UsageError(f"{to} exists; choose another --output")
        above = next(parent for parent in to.absolute().parents if parent.exists())
        if not above.is_dir() or not os.access(above, os.W_OK):  # said before hours of training, not after
            raise UsageError(f"--output {to}: nothing can be written in {above}; choose another")
        return to
    task = "".join(c if c.isalnum() or c in "-_." else "-" for c in found.task.name)
    base = Path(os.environ.get("EVOSEARCH_RUNS", "runs")) / "trained" / f"{short(found.architecture.key)}-{task}"
    folder, number = base, 1
    while folder.exists():
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return folder


def _tell_seed(outcome: Outcome, stream: Any) -> None:
    last, metric = outcome.finished[-1], outcome.subject.task.metric
    came = f"test {metric} {last.test[metric]:.4f}" if last.test else f"failed: {last.error}"
    seconds = duration(last.metrics["seconds"])
    print(clean(f"seed {outcome.seeds[-1]}  {came}  {seconds}"), file=stream, flush=True)


def _print_outcome(outcome: Outcome, folder: Path) -> None:
    metric, cost = outcome.subject.task.metric, outcome.kept.architecture.cost
    failed = len(outcome.finished) - len(outcome.values)
    spread = "" if outcome.deviation is None else f" ± {outcome.deviation:.4f}"
    beside = outcome.baseline.get(metric)
    name = outcome.subject.task.kind.baseline_name
    against = "" if beside is None else f"   ({name} on the same split: {beside:.4f})"
    output.say()
    output.say(f"test {metric} {outcome.mean:.4f}{spread}, {len(outcome.values)} seeds{against}")
    output.say()
    output.facts(
        [
            ("network", f"{short(outcome.kept.architecture.key)}  {count(cost.params)} parameters"),
            ("failed", f"{failed} of {len(outcome.finished)} seeds" if failed else ""),
            ("saved", str(folder)),
        ]
    )
