"""What a run leaves behind: the best network trained once more, tested once, and saved so that it needs no evosearch.

best/architecture.arch    its sentence
best/model.py             plain PyTorch code: class Network, and what its input is normalised by
best/weights.safetensors  its trained weights
best/ensemble.json        where several networks answer as one, or one for mirror images too: sentences and weights
best/metrics.json         test metric, baseline, fitness, cost, seeds, versions
"""

from __future__ import annotations

import json
import math
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evosearch import network, plugins
from evosearch.ensemble import Ensemble
from evosearch.errors import ExportError, LayerError, RunChanged, RunCorrupt, RunError, StorageError, UsageError
from evosearch.evaluation.fit import final_train
from evosearch.evaluation.rules import built, load_plain
from evosearch.paths import own_code, read_arch
from evosearch.space import HEADS, recorded_space
from evosearch.store.run import Run
from evosearch.tasks.baseline import linear_baseline
from evosearch.tasks.kinds import BUNDLED, Kinds
from evosearch.tasks.source import answer_source, tempered
from evosearch.text import restored

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor, nn

    from evosearch.architecture import Architecture, Space
    from evosearch.evaluation.recipe import Recipe
    from evosearch.plugins import Operators
    from evosearch.score import Score
    from evosearch.tasks import Task

MEMBERS_FILE, DATA_FILE = "ensemble.json", "data.json"
LOADING = '''

def load(weights=None):
    """The network, in evaluation mode, with its trained weights: a file of safetensors, by default that beside this."""
    from pathlib import Path

    from safetensors.torch import load_file

    network = Network()
    network.load_state_dict(load_file(weights or Path(__file__).with_name("weights.safetensors")))
    return network.eval()
'''


@dataclass(frozen=True)
class Finished:
    """A final training: the network where it went well, else the error.

    test: metric on the held-out split, by name. cut: the share of its schedule that there was time for, of an ensemble
    the best single one's; 1 where all of it was done.
    """

    architecture: Architecture | Ensemble
    network: nn.Module | None
    test: Mapping[str, float]
    metrics: Mapping[str, Any]
    error: str = ""
    cut: float = 1.0


@dataclass(frozen=True)
class Final:
    """How the best candidate is trained: on train and validation together, with a recipe of its own.

    searched: the recipe that candidates were trained with.
    """

    task: Task
    recipe: Recipe
    searched: Recipe
    device: str
    threads: int

    def train(
        self, architecture: Architecture, finish_by: float = math.inf, weights: Mapping[str, Tensor] | None = None
    ) -> Finished:
        """Train and test once. The same architecture, recipe, device kind and number of threads give the same again.

        finish_by: a time.monotonic(); a schedule that is not done by then is shortened, and repeats no more.
        weights: a state dict to begin with; from nothing by default.
        """
        import torch

        recipe = self.recipe.lasting(self.searched, architecture.trained_with)

        def made() -> nn.Module:
            fresh = built(architecture, recipe)
            if weights is not None:
                load_plain(fresh, weights)
            return fresh

        threads = torch.get_num_threads()
        torch.set_num_threads(self.threads)  # sums round differently with their number
        try:
            trained = final_train(
                made,
                self.task,
                recipe,
                device=self.device,
                seed=self.recipe.training_seed(architecture.key),
                key=architecture.key,
                cost=architecture.cost,
                finish_by=finish_by,
            )
        finally:
            torch.set_num_threads(threads)
        score = trained.score
        test = {self.task.metric: score.objectives[self.task.metric]} if score.status == "ok" else {}
        metrics = measured(architecture, score, test, recipe, self.device, score.seconds)
        error, cut = score.error or score.status, share_done(score, recipe)
        if trained.network is None or not self.recipe.mirrored:
            return Finished(architecture, trained.network, test, metrics, error, cut)
        both = Ensemble((architecture,), (1.0,), self.task.kind.averaging, mirrored=True)
        metrics["cost"] = both.cost.pack()
        return Finished(both, joined(both, [trained.network.state_dict()]), test, metrics, error, cut)

    def baseline(self) -> dict[str, float]:
        """A linear model on the same splits: what the network has to beat. Empty where one would take too long."""
        return linear_baseline(self.task)


def measured(
    architecture: Architecture, score: Score, test: Mapping[str, float], recipe: Recipe, device: str, seconds: float
) -> dict[str, Any]:
    """What metrics.json says of a final training. seconds: that all of it took."""
    import torch

    return {
        "key": architecture.key,
        "test": test,
        "metrics": dict(score.metrics),
        "cost": architecture.cost.pack(),
        "seconds": seconds,
        "seed": score.seed,
        "device": device,
        "torch": torch.__version__,
        "recipe": asdict(recipe),
    }


def share_done(score: Score, recipe: Recipe) -> float:
    """The share of a recipe's epochs that a training came to."""
    return float(score.metrics.get("epochs", recipe.epochs)) / recipe.epochs


def joined(ensemble: Ensemble, states: Sequence[Mapping[str, Any]]) -> nn.Module:
    """The module of an ensemble, with the weights of its members, in evaluation mode."""
    module = network.build(ensemble)
    module.load_state_dict({f"members.{n}.{k}": v for n, state in enumerate(states) for k, v in state.items()})
    return module.eval()


def files(finished: Finished, task: Task, more: Mapping[str, Any]) -> dict[str, str | bytes]:
    """The files of best/, by name. Raises RunError where there is no network.

    An own layer without code cannot be said in plain PyTorch: model.py then says so instead, and `load` still works.
    """
    if finished.network is None:
        raise RunError(f"{finished.architecture.key}: there is no trained network to save: {finished.error}")
    from safetensors.torch import save

    state = {name: tensor.detach().cpu().contiguous() for name, tensor in finished.network.state_dict().items()}
    temperature = float(finished.metrics.get("held_out", {}).get("temperature", 1.0))
    try:
        source = model_source(finished.architecture, task, temperature)
    except (ExportError, LayerError) as error:
        source = f"raise ImportError({f'{error}; or use evosearch.load'!r})\n"
    return {
        "architecture.arch": finished.architecture.text + "\n",
        "model.py": source,
        "weights.safetensors": save(state),
        DATA_FILE: json.dumps(described(task, temperature), indent=2) + "\n",
        "metrics.json": json.dumps({**finished.metrics, **more}, indent=2) + "\n",
        **_members(finished.architecture, task),
    }


def _members(model: Architecture | Ensemble, task: Task) -> dict[str, str]:
    """Of an ensemble, what its module is made of."""
    if not isinstance(model, Ensemble):
        return {}
    found: dict[str, Any] = {"kind": task.kind.name, "members": model.described()}
    if model.mirrored:
        found["mirrored"] = True
    return {MEMBERS_FILE: json.dumps(found, indent=2) + "\n"}


def model_in(folder: Path, space: Space, text: str, kinds: Kinds = BUNDLED) -> Architecture | Ensemble:
    """What the weights in a folder are of: the network that the sentence is, or the ensemble that lies beside it.

    Raises StorageError where the file cannot be read, RunCorrupt where it is not what `files` wrote.
    """
    path = folder / MEMBERS_FILE
    if not path.is_file():
        return space.read(space.parse(text))
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        members = tuple(space.read(space.parse(one["architecture"])) for one in found["members"])
        weights = tuple(float(one["weight"]) for one in found["members"])
        return Ensemble(members, weights, kinds[found["kind"]].averaging, bool(found.get("mirrored")))
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise RunCorrupt(f"{path}: not the members of an ensemble: {error!r}") from error


def model_source(architecture: Architecture | Ensemble, task: Task, temperature: float = 1.0) -> str:
    """network.source, and below it what makes raw examples its input, its output answers, and loads its weights.

    temperature: by which logits are divided where an answer is a probability.
    """
    return f"{network.source(architecture)}\n{answer_source(task, temperature)}{LOADING}"


def described(task: Task, temperature: float) -> dict[str, Any]:
    """`Task.description`, with the temperature where an answer of the task's kind asks for it."""
    return {**task.description(), **({"temperature": temperature} if tempered(task.kind) else {})}


def temperature_in(folder: Path) -> float:
    """That fits the network in a folder; 1 where none was fitted. Raises RunCorrupt."""
    path = folder / DATA_FILE
    if not path.is_file():
        return 1.0
    try:
        return float(json.loads(path.read_text(encoding="utf-8")).get("temperature", 1.0))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise RunCorrupt(f"{path}: not what describes a network's examples: {error!r}") from error


def own_layers(run: Run, given: Sequence[Path | str]) -> tuple[str, ...]:
    """The files of a run's own layers; see `paths.own_code`."""
    return own_code("layers", _named(run, "layers"), given, run=run.folder)


def own_plugins(run: Run, given: Sequence[Path | str]) -> Operators:
    """The plug-ins that a run's network is made with and asked by: a head of its own, and a kind of task.

    given: folders of operators; else those of the user's project. Raises UsageError where one is not there,
    RunChanged where it is not what it was.
    """
    needed = {n: was for n, was in (run.header.get("operators") or {}).items() if n.startswith(HEADS)}
    if not needed:
        return plugins.find()
    found = plugins.find(own_code("operators", _named(run, "operators"), given, run=run.folder))
    for name, was in needed.items():
        kind, _, stem = name.partition("/")
        if stem not in found.of(kind):
            raise UsageError(f"{run.folder}: its {kind} {stem!r} is code of your own; say where it is: --operators")
        if found.get(kind, stem).version != was:
            raise RunChanged(f"{found.get(kind, stem).path}: changed since {run.folder} was made; put back what it was")
    return found


def _named(run: Run, key: str) -> list[str]:
    """The files of own code that a run's configuration names."""
    return [restored(path) for path in tomllib.loads(run.text("config.toml")).get(key, ())]


def load(folder: Path | str, layers: Sequence[Path | str] = (), operators: Sequence[Path | str] = ()) -> nn.Module:
    """The best network of a run with its trained weights, in evaluation mode.

    folder: a run's folder, or best/ in it. layers, operators: files of own layers that its grammar uses, and folders
    of its own head or kind of task, where they lie outside of the project; code, so never taken from the run's folder.
    The network takes a batch of normalised examples and returns (batch, outputs), as model.py's does. Raises RunError
    where the run has no best network yet, UsageError where its own code is not found.
    """
    from safetensors.torch import load_file

    from evosearch import grammar as language

    best = Path(folder)
    best = best if best.name == "best" else best / "best"
    if not (best / "weights.safetensors").is_file():
        raise RunError(f"{best}: no network here; `evolve status {best.parent}` says how far the run is")
    run = Run.open(best.parent)
    read = language.load(run.folder / "grammar" / str(run.header["grammar_file"]))
    own = own_plugins(run, operators)
    space = recorded_space(run.header, read, own_layers(run, layers), own)
    try:
        state = load_file(best / "weights.safetensors")
        text = read_arch(best / "architecture.arch")
    except OSError as error:
        raise StorageError(f"{best}: cannot be read: {error}") from error
    module = network.build(model_in(best, space, text, Kinds(own.own("kind"))))
    module.load_state_dict(state)
    return module.eval()
