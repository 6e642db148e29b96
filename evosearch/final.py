"""Final training by itself: a candidate of a run, or any architecture, in several seeds, tested once in each.

What comes of it is a folder like a run's best/, with what is needed to use it again beside it:

    architecture.arch, model.py, weights.safetensors    the network of the first seed that went well; never the one
                                                        that tested best, or its test figure would be no test
    metrics.json                                        figures of every seed, mean and deviation, recipe, digests
    config.toml, grammar/                               the configuration and the grammar
"""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evosearch import config as configuration
from evosearch import grammar as language
from evosearch import network, paths, plugins, tasks, workers
from evosearch.errors import RunChanged, RunCorrupt, RunError, ShapeError, UsageError
from evosearch.formats import Original
from evosearch.layers import show
from evosearch.moments import mean
from evosearch.results import Final, Finished, files, model_in, temperature_in
from evosearch.space import space_of
from evosearch.store.disk import Disk, refusal
from evosearch.store.run import JOURNAL_FILE, Run
from evosearch.tasks import Task
from evosearch.tasks.kinds import BUNDLED, Kinds, named

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor

    from evosearch.architecture import Architecture, Space
    from evosearch.config import Config

CONFIG_FILE, METRICS_FILE = "config.toml", "metrics.json"
TEXT_FILE, WEIGHTS_FILE = "architecture.arch", "weights.safetensors"


@dataclass(frozen=True)
class Subject:
    """An architecture read at a task's input shape, with the configuration of its training.

    grammar: the texts of the grammar and of all it imports, by file name, the main one first.
    digests: of the grammar, the layers and the task.
    """

    architecture: Architecture
    space: Space
    task: Task
    config: Config
    grammar: Mapping[str, str]
    digests: Mapping[str, str]


@dataclass(frozen=True)
class Stored:
    """A folder with a network: a run's, or one that `save` wrote.

    config, grammar: its files. files: the folder of its weights. digests: of what it was trained with.
    """

    folder: Path
    config: Path
    grammar: Path
    files: Path
    digests: Mapping[str, str]

    def text(self) -> str:
        """The sentence of the network that is kept. Raises RunError where there is none yet."""
        path = self.files / TEXT_FILE
        if not path.is_file():
            raise RunError(f"{self.folder}: no network here yet; `evolve status {self.folder}` says how far the run is")
        return _text(path).strip()


@dataclass(frozen=True)
class Outcome:
    """The result of the seeds so far; networks are kept of the first one that went well.

    baseline: a linear model's metric on the same splits, by name; empty where it would take too long.
    """

    subject: Subject
    device: str
    seeds: tuple[int, ...]
    finished: tuple[Finished, ...]
    baseline: Mapping[str, float]

    @property
    def values(self) -> list[float]:
        """The test metric of the seeds that went well."""
        return [one.test[self.subject.task.metric] for one in self.finished if one.test]

    @property
    def mean(self) -> float:
        return mean(self.values)

    @property
    def deviation(self) -> float | None:
        """Standard deviation of the sample; None for a single value."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def kept(self) -> Finished:
        """The seed whose network is kept. Raises RunError where none went well."""
        for one in self.finished:
            if one.network is not None:
                return one
        errors = "; ".join(dict.fromkeys(one.error for one in self.finished))
        raise RunError(f"no seed came through the training ({errors}); change [final], as in --set final.lr=0.001")

    def data(self) -> dict[str, Any]:
        """All of it as plain data."""
        subject = self.subject
        return {
            "architecture": subject.architecture.text,
            "task": subject.config.task,
            "metric": subject.task.metric,
            "mean": self.mean if self.values else None,
            "deviation": self.deviation,
            "seeds": [
                {"seed": seed, "test": dict(one.test), "seconds": one.metrics["seconds"], "error": _error(one)}
                for seed, one in zip(self.seeds, self.finished, strict=True)
            ],
            "baseline": dict(self.baseline),
            "recipe": asdict(subject.config.final),
            "digests": dict(subject.digests),
        }


def _error(one: Finished) -> str:
    return "" if one.network is not None or one.test else one.error


# --- what is trained ------------------------------------------------------------------------------------------------


def stored(folder: Path) -> Stored | None:
    """The network that a folder holds; None where it is neither a run's nor one that `save` wrote.

    Raises RunError where a run cannot be read.
    """
    if (folder / JOURNAL_FILE).is_file():
        run = Run.open(folder)
        run.text(CONFIG_FILE)  # is it what the run was started with?
        grammar = folder / "grammar" / str(run.header["grammar_file"])
        return Stored(folder, folder / CONFIG_FILE, grammar, folder / "best", run.header["digests"])
    if not all((folder / name).is_file() for name in (CONFIG_FILE, METRICS_FILE, WEIGHTS_FILE)):
        return None
    config = configuration.load(folder / CONFIG_FILE)
    try:
        digests = dict(json.loads(_text(folder / METRICS_FILE))["digests"])
    except (ValueError, KeyError, TypeError) as error:
        raise RunCorrupt(f"{folder / METRICS_FILE}: not what `evolve train` writes: {error!r}") from error
    return Stored(folder, folder / CONFIG_FILE, Path(config.grammar), folder, digests)


def configured(
    at: Stored, changes: Mapping[str, Any], layers: Sequence[str] = (), operators: Sequence[str] = ()
) -> Config:
    """The configuration of a stored network with changes (dotted keys to values) laid over it.

    layers, operators: files and folders of code of its own; where none are given, those of the configuration that lie
    in the user's project.
    """
    config = configuration.load(at.config, {**changes, "grammar": str(at.grammar)})
    mine = {"layers": paths.own_code("layers", config.layers, layers, run=at.folder)}
    if _has_own(config):
        mine["operators"] = paths.own_code("operators", config.operators, operators, run=at.folder)
    return config.model_copy(update=mine)


def _has_own(config: Config) -> bool:
    """Whether a network of the configuration hangs on plug-ins of the user's own: its head, or the kind of its task."""
    return bool(config.head) or config.data.kind not in ("auto", *BUNDLED)


def subject(config: Config, text: str) -> Subject:
    """The architecture that a sentence is at the configuration's task. Raises EvosearchError where it is none there."""
    file = paths.find("grammars", config.grammar, ".lark")
    grammar = language.load(file)
    own = plugins.find(config.operators if _has_own(config) else ())
    task = tasks.load(config.task, config.data, named(own.own("kind"), config.data.kind))
    if not isinstance(task, Task) or grammar.input == "none":
        who = f"task {task.name}" if grammar.input != "none" else f"grammar {grammar.name}"
        raise UsageError(f"{who} has no networks to train; name a data set and a grammar with layers")
    head = own.get("head", config.head).function if config.head else None
    space = space_of(task, grammar, config.layers, config.limits, head, config.recipe.modifier)
    derivation = space.parse(text)
    try:
        architecture = space.read(derivation)
    except ShapeError as error:
        raise ShapeError(f"this architecture does not fit {task.name}, {show(task.input_shape)}: {error}") from None
    layers = space.vocabulary.digest if space.vocabulary else ""
    digests = {"grammar": grammar.digest, "layers": layers, "task": task.digest}
    return Subject(architecture, space, task, config, dict(grammar.source), digests)


def same(at: Stored, found: Subject, *names: str) -> None:
    """Raise RunChanged where one of "grammar", "layers", "task" is not what the stored network was trained with."""
    changed = [name for name in names if at.digests.get(name) != found.digests[name]]
    if changed:
        raise RunChanged(
            f"{at.folder}: the {' and the '.join(changed)} changed since it was trained; put back what it was"
        )


def restore(at: Stored, found: Subject) -> Original:
    """The stored network with its trained weights. Raises RunCorrupt where they cannot be read or are not its own."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = at.files / WEIGHTS_FILE
    model = model_in(
        at.files, found.space, found.architecture.text, Kinds({found.task.kind.name: lambda: found.task.kind})
    )
    module = network.build(model)
    try:
        module.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:  # load_state_dict raises a bare RuntimeError
        reason = str(error).splitlines()[0]
        raise RunCorrupt(f"{path}: not the weights of {found.architecture.key}: {reason}") from error
    return Original(model, module.eval(), found.task, temperature_in(at.files))


def fresh(found: Subject) -> Original:
    """The network with initial weights: enough for formats that hold no weights."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(found.config.seed)
        module = network.build(found.architecture)
    return Original(found.architecture, module.eval(), found.task)


# --- training -------------------------------------------------------------------------------------------------------


def train(found: Subject, seeds: int, weights: Mapping[str, Tensor] | None = None) -> Iterator[Outcome]:
    """Train on train and validation together and test once, for each of `seeds` seeds from the configuration's on.

    weights: a state dict to begin with; from nothing by default.

    Yields the result of the seeds so far, after each. The first seed of a run's best candidate gives the run's best/.
    """
    device = workers.devices(replace(found.config.workers, executor=workers.LOCAL))[0]
    outcome = Outcome(found, device, (), (), {})
    for seed in range(found.config.seed, found.config.seed + seeds):
        recipe = replace(found.config.final, seed=seed)
        final = Final(found.task, recipe, found.config.recipe, device, found.config.workers.threads)
        one = final.train(found.architecture, weights=weights)
        if any(earlier.network is not None for earlier in outcome.finished):
            one = replace(one, network=None)
        outcome = replace(outcome, seeds=(*outcome.seeds, seed), finished=(*outcome.finished, one))
        if seed == found.config.seed:
            outcome = replace(outcome, baseline=final.baseline())
        yield outcome


def save(outcome: Outcome, folder: Path) -> None:
    """Write the outcome's folder, whole or not at all; one that is there is replaced. Raises StorageError, RunError."""
    grammar = {f"grammar/{name}": text for name, text in outcome.subject.grammar.items()}
    config = outcome.subject.config.model_copy(update={"grammar": next(iter(grammar))})
    contents: dict[str, str | bytes] = {
        **files(outcome.kept, outcome.subject.task, outcome.data()),
        **grammar,
        CONFIG_FILE: configuration.dumps(config),
    }
    disk, folder = Disk(), folder.absolute()
    encoded = {name: text.encode() if isinstance(text, str) else text for name, text in contents.items()}
    with disk.replacing(folder, alone=False) as beside:
        disk.write_tree(beside, encoded)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise refusal(path, error) from error


__all__ = [
    "Outcome",
    "Stored",
    "Subject",
    "configured",
    "fresh",
    "restore",
    "same",
    "save",
    "stored",
    "subject",
    "train",
]
