"""What a run is made of: everything that its configuration names, read and checked. Nothing is written yet."""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evosearch import given, logs, paths, plugins, tasks, workers
from evosearch import grammar as language
from evosearch.auto import fitting
from evosearch.engine.measuring import Measured
from evosearch.engine.prior import gathered
from evosearch.engine.prior import read as read_prior
from evosearch.errors import ArchitectureError, ConfigError, ShapeError, UsageError
from evosearch.evaluation import measures, proxies, stopping
from evosearch.evaluation.evaluators import Spec, evaluator
from evosearch.evaluation.job import EvaluationContext, Evaluator, Resources
from evosearch.evaluation.recipe import check
from evosearch.layers.base import mode, show
from evosearch.layers.library.with_recipe import Setting, WithRecipe
from evosearch.search import Search
from evosearch.space import space_of
from evosearch.store.ledger import known_as
from evosearch.tasks import DirectTask, Task
from evosearch.tasks.kinds import named
from evosearch.tasks.shared import Sharing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from evosearch.architecture import Space
    from evosearch.config import Config
    from evosearch.engine.prior import Known
    from evosearch.evaluation.measures import Objective
    from evosearch.evaluation.stopping import StopRule
    from evosearch.grammar.core import Derivation, Grammar
    from evosearch.plugins import Operators
    from evosearch.search import SearchSettings
    from evosearch.tasks import AnyTask
    from evosearch.workers import WorkerSettings


SCORING = ("evaluator", "stop", "measure", "kind", "head", "proxy")  # kinds of plug-ins that a score hangs on


@dataclass(frozen=True)
class Setup:
    """Everything a run is made of, read and checked; nothing is written yet."""

    config: Config
    grammar: Grammar
    grammar_file: Path
    space: Space
    task: Any
    operators: Operators
    seeds: Mapping[str, Derivation]
    seed_texts: Mapping[str, str]
    objectives: tuple[Objective, ...]
    rule: StopRule | None
    device_used: str | None = None
    prior: tuple[Known, ...] = ()

    @cached_property
    def device(self) -> str:
        """The device that candidates are trained on."""
        if self.device_used is not None:
            return self.device_used
        return workers.devices(self.config.workers)[0] if isinstance(self.task, Task) else "cpu"

    @property
    def worker_settings(self) -> WorkerSettings:
        """How candidates are evaluated: a table gains nothing from a process, and harms none."""
        settings = self.config.workers
        inline = isinstance(self.task, DirectTask) and not self.task.own_code and not settings.workers
        return replace(settings, pool="inline") if inline else settings

    @property
    def elsewhere(self) -> bool:
        """Whether candidates are trained on other machines."""
        return self.config.workers.executor != workers.LOCAL

    @cached_property
    def final_device(self) -> str:
        """The device of the final training, which is always here."""
        if not self.elsewhere or self.device == "cpu":
            return self.device
        return workers.devices(replace(self.config.workers, executor=workers.LOCAL, device="auto"))[0]

    @cached_property
    def digests(self) -> dict[str, str]:
        """What a resumed run must find unchanged, by name, beside its configuration and operators."""
        layers = self.space.vocabulary.digest if self.space.vocabulary else ""
        return {
            "grammar": self.grammar.digest,
            "layers": layers,
            "task": self.task.digest,
            "recipe": self._scoring,
        }

    @property
    def _scoring(self) -> str:
        """32 hex digits of all that decides a score beside task, candidate and seed: a ledger's key."""
        config = self.config
        resources = Resources(self.device, config.workers.threads)
        signs = {one.name: one.sign for one in self.objectives}
        seen = proxies.named(config.recipe, signs, self.operators)
        context = EvaluationContext(self.space, self.task, config.recipe, resources, self.rule, signs, proxies=seen)
        usual = evaluator(context, _evaluator(config, self.operators)).digest
        asked = {f"proxy/{name}" for name in seen}  # not those that the surrogate alone looks at
        used = {name: version for name, version in self.operators.used.items() if name.partition("/")[0] in SCORING}
        own = {name: version for name, version in used.items() if name.partition("/")[0] != "proxy" or name in asked}
        if isinstance(self.task, Task):
            names = [one.name for one in self.objectives if f"measure/{one.name}" not in own]
            taken = measures.asked(names, {}, config.hardware, usual=not config.evaluator)
            own |= {f"measure/{one.name}": getattr(one, "version", repr(getattr(one, "settings", ""))) for one in taken}
        if not own:
            return usual
        return hashlib.blake2b(json.dumps([usual, own]).encode(), digest_size=16).hexdigest()

    @cached_property
    def code(self) -> dict[str, dict[str, str]]:
        """The files of the person's project that own code executes, with their digests: of the task and the layers.

        An operator's version covers its own.
        """
        layers = self.space.vocabulary.code if self.space.vocabulary else {}
        return {"layers": dict(layers), "task": dict(getattr(self.task, "code", {}))}

    @cached_property
    def known_as(self) -> tuple[str, str]:
        """The task's and the recipe's digests as the ledger has them."""
        return self.digests["task"], known_as(self.digests["recipe"], self.code["layers"])

    @property
    def logs(self) -> dict[str, logs.Maker]:
        """What the run is written to, besides its journal. Raises UsageError."""
        return logs.makers(self.config.log, self.operators.own("log"))

    @property
    def settings(self) -> SearchSettings:
        """The search's settings, with the task's metric as objective where none is asked for; where weights are
        inherited, with the mutations that keep what their parents compute.
        """
        search = self.config.search
        inherited = self.config.recipe.inherit == "parent" and not search.mutations
        mutations = tuple(sorted(self.operators.usual("mutate", preserving=True))) if inherited else search.mutations
        return replace(search, objectives=tuple(map(str, self.objectives)), mutations=mutations)

    @cached_property
    def features(self) -> Measured | None:
        """What the surrogate sees where the search names proxies; None where it sees what it sees of any grammar."""
        names = self.config.search.proxies
        if not names:
            return None
        seen = {name: self.operators.get("proxy", name) for name in names}
        return Measured(self.space, seen, self.task, self.config.recipe)

    def search(self) -> Search:
        """The run's search before its first proposal; it has asked for the operators that it uses."""
        return Search(
            self.space, self.settings, self.operators,
            seeds=self.seeds, own=self.config.strategy, history=self.rule is not None, features=self.features,
            prior=self.prior,
        )  # fmt: skip

    def restored(self, state: Mapping[str, Any], journal: Iterable[Mapping[str, Any]]) -> Search:
        """The search that a checkpoint's state describes. journal: as in `Search.restore`."""
        return Search.restore(
            self.space, self.settings, self.operators, state,
            seeds=self.seeds, own=self.config.strategy, history=self.rule is not None, journal=journal,
            features=self.features, prior=self.prior,
        )  # fmt: skip

    def spec(self, grammar_file: Path, folder: Path) -> Spec:
        """What each worker is told. folder: the run's."""
        config = self.config
        return Spec(
            grammar=str(grammar_file),
            task=config.task,
            layers=config.layers,
            limits=config.limits,
            data=config.data,
            recipe=config.recipe,
            folder=str(folder),
            signs=tuple((one.name, one.sign) for one in self.objectives),
            operators=config.operators,
            evaluator=config.evaluator,
            head=config.head,
            hardware=config.hardware,
            shared=self._sharing.shared if self._sharing else None,
        )

    @cached_property
    def _sharing(self) -> Sharing | None:
        """Holds the task's data for the workers here; None where there are none, or no data."""
        here = not self.elsewhere and self.worker_settings.pool == "processes"
        return Sharing(self.task) if here and isinstance(self.task, Task) else None


def prepare(
    config: Config,
    grammar_file: Path | None = None,
    seed_folder: Path | None = None,
    seed_texts: Mapping[str, str] | None = None,
    header: Mapping[str, Any] | None = None,
    task: AnyTask | None = None,
    prior: str | None = None,
) -> Setup:
    """Read all that the configuration names. Raises EvosearchError; writes nothing.

    grammar_file, seed_folder: where a run's own copies lie, for a run that is resumed. seed_texts: seeds by name,
    in place of the config's. header: of a run that is resumed; its objectives are those that it was started with.
    task: the config's, where it is loaded already. prior: the run's own file of what it learns from, in place of the
    runs that the configuration names.
    """
    file = grammar_file or paths.find("grammars", config.grammar, ".lark")
    read = language.load(file)
    own = plugins.find(config.operators)
    if task is None:
        task = task_of(config, own)
    elif config.data.kind in own.of("kind"):
        own.get("kind", config.data.kind)  # the run uses it, whoever loaded the task
    head = own.get("head", config.head).function if config.head else None
    if isinstance(task, Task):
        _check_input(read, task)
    space = space_of(task, read, config.layers, config.limits, head, config.recipe.modifier)
    if isinstance(task, Task):
        _check_for(task, config)
        _check_words(space, task, config)
    _check_rungs(task, config)
    rule = stopping.find(config.recipe.stop, own.own("stop"))
    objectives = _objectives(space, task, config, own, header)
    texts = _seed_texts(config, space, seed_folder) if seed_texts is None else dict(seed_texts)
    seeds: dict[str, Derivation] = {}
    for name, text in texts.items():
        try:
            seeds[name] = space.parse(text)
        except ArchitectureError as error:
            raise ArchitectureError(f"seed {name}: {error}") from None
    if config.learn_from and config.search.screen == 1:
        raise ConfigError("learn_from is for the surrogate that screens; say how many drafts: search.screen = 20")
    if config.search.proxies and config.search.screen == 1:
        raise ConfigError("search.proxies is for the surrogate that screens; say how many drafts: search.screen = 20")
    known = gathered(config.learn_from, space, objectives) if prior is None else read_prior(prior, space)
    return Setup(config, read, file, space, task, own, seeds, texts, objectives, rule, prior=known)


def task_of(config: Config, own: Operators) -> AnyTask:
    """The task that the configuration names, of its own kind where it names one."""
    return tasks.load(config.task, config.data, named(own.own("kind"), config.data.kind))


def _check_input(grammar: Grammar, task: Task) -> None:
    """Raise ShapeError, with what fits, where the grammar is for other data."""
    found = mode(task.input_shape)
    if grammar.input in ("none", found):
        return
    raise ShapeError(
        f"{grammar.name} takes {grammar.input} input; {show(task.input_shape)} is {found}; "
        f"say --grammar {fitting(found)}, or none: then it is chosen"
    )


def _check_for(task: Task, config: Config) -> None:
    """Raise ConfigError where the recipes are not for such a task."""
    check(task, config.recipe)
    try:
        check(task, config.final)
    except ConfigError as error:
        raise ConfigError(str(error).replace("recipe.", "final.", 1)) from None


def _check_words(space: Space, task: Task, config: Config) -> None:
    """Raise ConfigError where what the grammar may say of a recipe is none, or is not for such a task."""
    grammar = space.grammar
    for alternative, spec in space.vocabulary.specs.items() if space.vocabulary else ():
        where = f"{alternative.file or grammar.name}:{alternative.line}"
        if issubclass(spec.cls, WithRecipe) and alternative.rule != grammar.start:
            raise ConfigError(f"{where}: only what {grammar.start!r} stands for has a recipe; say it there")
        if not issubclass(spec.cls, Setting):
            continue
        texts = [[text for text, _ in grammar.terminals[name].representatives()] for name in alternative.terminals]
        for key, value in itertools.product(*texts):
            try:
                check(task, config.recipe.said({key: value}))
            except ConfigError as error:
                raise ConfigError(f"{where}: {error}") from None


def _check_rungs(task: AnyTask, config: Config) -> None:
    """Raise ConfigError where the search's rungs are no shares of an evaluation of this task."""
    rungs = config.search.rungs
    if config.recipe.inherit == "self" and not rungs:
        raise ConfigError("recipe.inherit: self: there are no rungs to go on from; set search.rungs, as in [0.33]")
    if not rungs or config.evaluator or given.elsewhere(config.task):
        return
    if not isinstance(task, Task):
        missing = [share for share in rungs if share not in getattr(task, "fidelities", ())]
        if missing:
            raise ConfigError(
                f"search.rungs: {task.name} has no evaluation of {missing[0]:g}; a table has one in a column "
                f"{task.metric}@{missing[0]:g}; leave search.rungs empty"
            )
        return
    if config.recipe.inherit != "off" and config.recipe.shorten != "epochs":
        raise ConfigError(
            'search.rungs and recipe.inherit: a training goes on for more epochs; say recipe.shorten = "epochs"'
        )
    if config.recipe.shorten == "epochs":
        epochs = [config.recipe.at(share).epochs for share in (*rungs, 1.0)]
        if len(set(epochs)) < len(epochs):
            raise ConfigError(
                f"search.rungs: {', '.join(map(str, epochs))} epochs; two rungs are the same: name shares further "
                'apart, or say recipe.shorten = "rows"'
            )


def _objectives(
    space: Space, task: Any, config: Config, own: Operators, header: Mapping[str, Any] | None
) -> tuple[Objective, ...]:
    """What the search optimises: as asked, else the task's metric. Raises ConfigError where there is no such thing."""
    asked = config.search.objectives
    names = [measures.name_of(text) for text in asked]
    mine = measures.asked(names, own.own("measure"), config.hardware, usual=not config.evaluator)
    seen = proxies.named(config.recipe, names, own)
    if (seen or config.search.proxies) and not isinstance(task, Task):
        raise ConfigError(f"proxies are of networks that are trained, and {task.name} scores candidates by itself")
    context = EvaluationContext(space, task, config.recipe, Resources(), measures=mine, proxies=seen)
    known = evaluator(context, _evaluator(config, own)).measures
    if header is not None:
        return measures.recorded(header, asked)
    for measure in mine if isinstance(task, Task) else ():
        if lacking := measure.lacking(task) if hasattr(measure, "lacking") else "":
            raise ConfigError(f"search.objectives: {measure.name}: {task.name} has no {lacking}")
        if hasattr(measure, "require"):
            measure.require(workers.devices(config.workers)[0])
    for text in asked:
        if isinstance(task, Task) and measures.name_of(text) not in known:
            there = sorted({*known, *(one.name for one in measures.on_demand(config.hardware))})
            raise ConfigError(f"search.objectives: {text}: {task.name} has {', '.join(there)}")
    return tuple(measures.objective(text, known) for text in asked or (task.metric,))


def _evaluator(config: Config, own: Operators) -> Callable[[EvaluationContext], Evaluator] | None:
    """The evaluator of the user's own that the configuration names."""
    return own.get("evaluator", config.evaluator).function if config.evaluator else None


def _seed_texts(config: Config, space: Space, folder: Path | None) -> dict[str, str]:
    """The texts of the configuration's seeds by name. Raises UsageError where two differ that have one name."""
    found: dict[str, str] = {}
    for seed in config.seeds:
        if folder is not None:
            file = paths.kept_seed(folder, seed)
            name, text = file.stem, paths.read_arch(file)
        else:
            name, text = _seed_text(seed, space)
        if found.setdefault(name, text) != text:
            raise UsageError(f"--start {seed}: another seed is called {name} too; rename one of the files")
    return found


def _seed_text(seed: str, space: Space) -> tuple[str, str]:
    """Name and text of a seed: a file's, by its path or its name on the search path, else the sentence that it is."""
    try:
        file = paths.find("grammars/seeds", seed, ".arch")
    except UsageError as error:
        try:
            space.parse(seed)
        except ArchitectureError as wrong:
            raise (error if paths.NAME.fullmatch(seed) else ArchitectureError(f"--start: {wrong}")) from None
        return paths.seed_name(seed), seed
    return file.stem, paths.read_arch(file)
