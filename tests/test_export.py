"""Exports, loaded by other means than evosearch's own; final training in several seeds; and what both refuse."""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from evosearch import config as configuration
from evosearch import final, network, results
from evosearch.architecture import Architecture, Limits
from evosearch.cli import DONE, FAILED, main
from evosearch.cost import Cost
from evosearch.errors import ExportError, RunChanged, StorageError, UsageError
from evosearch.evaluation.fit import train
from evosearch.evaluation.recipe import DIGITS
from evosearch.formats import FORMATS, FUSED, TOLERANCE, Original, difference, export, onnx
from evosearch.layers.base import Leaf, Shape
from evosearch.layers.library.combinators import Sequential
from evosearch.layers.library.linear import Linear
from evosearch.layers.node import Node
from evosearch.score import Score
from evosearch.store.disk import Disk
from evosearch.store.run import Run
from evosearch.tasks import Split, Task, make_task
from tests.conftest import ROOT
from tests.journals import append_score
from tests.spaces import GRAMMARS, SHAPES, headed, samples, seed, space
from tests.test_training import digits

Capture = pytest.CaptureFixture[str]

# --- networks to export ----------------------------------------------------------------------------------------------


def task_of(shape: Shape, classes: int = 10) -> Task:
    """A data set of random examples; images have the grey values that image files have."""
    rng = np.random.default_rng(7)

    def split(count: int) -> Split:
        x = rng.standard_normal((count, *shape), dtype=np.float32)
        images = np.clip(128 + 50 * x, 0, 255).astype(np.uint8)
        return Split(images if len(shape) == 3 else x, np.arange(count) % classes)

    labels = tuple(f"class {i}" for i in range(classes))
    return make_task("random", split(40), split(10), split(10), kind="classification", labels=labels)


def as_trained(module: nn.Module) -> nn.Module:
    """The module with weights and statistics as a training would leave them: no zeros and ones that hide a mistake."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(3)
        for name, tensor in module.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif tensor.is_floating_point():
                tensor.mul_(0.5 + torch.rand_like(tensor)).add_(0.05 * torch.randn_like(tensor))
    return module.eval()


def original_of(architecture: Architecture, classes: int = 10) -> Original:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = network.build(architecture := headed(architecture, classes))
    return Original(architecture, as_trained(module), task_of(architecture.input, classes))


IMAGE = (
    "seq(seq(seq(route(im2col3s2,linear(16),col2im),norm),branch(group2d1,leakyrelu,identity,cat1)),"
    "route(im2col4s4,branch(clone2,softmax,posenc,add),permute21))"
)
COLUMN = "seq(route(window3s2,linear(16),identity),branch(clone2,route(identity,norm,permute21),norm,scaled))"
VECTOR = "linear(16);gelu;residual(norm;dropout(0.1);tanh)"
TEXTS: list[tuple[str, str, Shape]] = [
    ("einspace", IMAGE, (1, 8, 8)),
    ("einspace_1d", COLUMN, (9, 2)),
    ("mlp", VECTOR, (5,)),
]


@pytest.fixture(params=TEXTS, ids=[name for name, _, _ in TEXTS])
def original(request: pytest.FixtureRequest) -> Original:
    name, text, shape = request.param
    there = space(name, shape)
    return original_of(there.read(there.parse(text)))


def loaded(format: str, path: Path, original: Original) -> Callable[[torch.Tensor], torch.Tensor]:
    """The exported network by what a person without evosearch would use."""
    if format == "pt2":
        program: Callable[[torch.Tensor], torch.Tensor] = torch.export.load(path).module()
        return program
    module = network.build(original.architecture)
    module.load_state_dict(load_file(path))
    return module.eval()


# --- what is exported computes what the original does ----------------------------------------------------------------


@pytest.mark.parametrize("format", ["safetensors", "pt2"])
def test_the_file_computes_what_the_network_does(format: str, original: Original, tmp_path: Path) -> None:
    """At batch sizes that no example had; and its metadata say how to use it."""
    path = tmp_path / f"model{FORMATS[format].suffix}"
    exported = export(original, format, path)
    assert exported.difference == 0
    assert [path.name for path in tmp_path.iterdir()] == [path.name]
    run = loaded(format, path, original)
    for batch in (1, 2, 11):
        x = torch.randn(batch, *original.architecture.input)
        with torch.no_grad():
            torch.testing.assert_close(run(x), original.network(x), rtol=0, atol=0)
    if format == "pt2":
        extra = {"evosearch": ""}
        torch.export.load(path, extra_files=extra)
        said = json.loads(extra["evosearch"])
    else:
        with safe_open(path, "pt") as file:
            said = json.loads(file.metadata()["evosearch"])
    assert original.task is not None
    assert said["architecture"] == original.architecture.text
    assert said["labels"][3] == "class 3"
    np.testing.assert_allclose(said["mean"], original.task.mean, rtol=1e-6)


def shown(format: str) -> str:
    """The lines of docs/export.md that load a file of this format."""
    page = (ROOT / "docs/export.md").read_text(encoding="utf-8")
    [block] = [code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if f'"demo{format}"' in code]
    return str(block)


@pytest.mark.parametrize("format", ["safetensors", "pt2", pytest.param("onnx", marks=pytest.mark.slow)])
def test_the_page_shows_how_to_load_it(format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What docs/export.md shows reads what the file says of itself."""
    if format == "onnx":
        pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
    there = space("mlp", (5,))
    monkeypatch.chdir(tmp_path)
    export(original_of(there.read(there.parse(VECTOR))), format, Path(f"demo.{format}"))
    names: dict[str, Any] = {}
    exec(shown(FORMATS[format].suffix), names)
    assert names["about"]["input"] == [5]


ALONE = """\
import sys, runpy
sys.modules["evosearch"] = None  # importing it now fails
import torch
from safetensors.torch import load_file
code = runpy.run_path("model.py")
module = code["Network"]()
module.load_state_dict(load_file("model.safetensors"))
raw = torch.load("raw.pt")
print(code["predict"](module.eval(), raw))
"""


def test_code_and_weights_work_without_evosearch(tmp_path: Path) -> None:
    """In a Python that cannot import it, model.py and the weights give the labels that the network gives."""
    name, text, shape = TEXTS[0]
    there = space(name, shape)
    original = original_of(there.read(there.parse(text)))
    assert original.task is not None
    export(original, "python", tmp_path / "model.py")
    export(original, "safetensors", tmp_path / "model.safetensors")
    raw = original.task.train.x
    torch.save(torch.from_numpy(raw), tmp_path / "raw.pt")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ALONE], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with torch.no_grad():
        expected = original.network(torch.from_numpy(original.task.normalise(raw))).argmax(1)
    assert done.stdout.strip() == str([original.task.labels[i] for i in expected])


@pytest.mark.parametrize(
    ("found", "expected", "is_"),
    [
        ([1.0, 2.0], [1.0, 2.5], 0.2),  # relative to 2.5
        ([0.1, 0.2], [0.1, 0.3], 0.1),  # absolute below 1
        ([np.nan, np.inf], [np.nan, np.inf], 0.0),
        ([np.nan, 1.0], [0.0, 1.0], np.inf),
        ([0.0, 1.0], [-np.inf, 1.0], np.inf),
        ([np.inf, 1.0], [np.inf, 1.5], 0.5 / 1.5),
        ([1.0, 2.0, 3.0], [1.0, 2.0], np.inf),
    ],
)
def test_difference(found: list[float], expected: list[float], is_: float) -> None:
    assert difference(np.array(found), np.array(expected)) == pytest.approx(is_)


# --- what a format cannot say ----------------------------------------------------------------------------------------


class Own(Leaf):
    """A layer of a person's own that keeps a vector's shape; `kind` makes its module."""

    def __init__(self, name: str, kind: type[nn.Module]) -> None:
        self.name, self.kind = name, kind  # type: ignore[misc]

    def shape(self, x: Shape) -> Shape:
        return x

    def cost(self, node: Node) -> Cost:
        return Cost()

    def module(self, x: Shape) -> nn.Module:
        return self.kind()


class Undecided(nn.Module):
    """Takes one way or another by what its input holds: no single program says that."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


class Counting(nn.Module):
    """Adds how often it was called, which a program written down once cannot know."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x + self.calls


class ForThree(nn.Module):
    """Works for batches of three alone."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.zeros(3, 1)


def with_layer(name: str, kind: type[nn.Module]) -> Original:
    """linear, the layer, linear: one faulty layer among sound ones."""
    shape = (4,)
    layers = [Node(Linear(4), shape, shape), Node(Own(name, kind), shape, shape), Node(Linear(4), shape, shape)]
    first = Node(Sequential(), shape, shape, (layers[0], layers[1]))
    root = Node(Sequential(), shape, shape, (first, layers[2]))
    architecture = Architecture(root, shape, "own", None)  # type: ignore[arg-type]
    return original_of(architecture)


@pytest.mark.parametrize(
    ("format", "name", "kind", "says"),
    [
        ("pt2", "undecided", Undecided, "pt2 cannot say undecided (4 to 4): "),
        ("pt2", "counting", Counting, "pt2 cannot say counting (4 to 4): the outputs on random x5 differ by"),
        pytest.param("onnx", "undecided", Undecided, "onnx cannot say undecided (4 to 4): ", marks=pytest.mark.slow),
        pytest.param("onnx", "for_three", ForThree, "onnx cannot say for_three (4 to 4): ", marks=pytest.mark.slow),
        ("pt2", "for_three", ForThree, "pt2 cannot say for_three (4 to 4): "),
        ("safetensors", "for_three", ForThree, "safetensors cannot say for_three (4 to 4): "),
        ("python", "undecided", Undecided, "cannot write undecided as plain PyTorch"),
    ],
)
def test_an_error_names_the_layer(
    format: str, name: str, kind: type[nn.Module], says: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A layer that the format cannot say is named; what was at the path before stays, and nothing is printed."""
    if format == "onnx":
        pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
    path = tmp_path / "model"
    path.write_text("before")
    with pytest.raises(ExportError) as caught:
        export(with_layer(name, kind), format, path)
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)
    assert path.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert capfd.readouterr() == ("", "")


def test_own_layers_that_torch_can_trace_are_exported(tmp_path: Path) -> None:
    """Without code of its own, but a program all the same."""
    assert export(with_layer("plain", nn.Tanh), "pt2", tmp_path / "model.pt2").difference == 0


def test_onnx_names_its_extra(original: Original, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in onnx.PACKAGES:
        monkeypatch.setitem(sys.modules, name, None)  # as where it is not installed
    with pytest.raises(ExportError, match=r"onnx, onnxscript, onnxruntime: pip install 'evosearch\[onnx\]'"):
        export(original, "onnx", tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_disk_that_refuses_is_no_fault_of_a_layer(original: Original, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="nowhere"):
        export(original, "safetensors", tmp_path / "nowhere" / "model.safetensors")


# --- from a run ------------------------------------------------------------------------------------------------------

GRAMMAR = (GRAMMARS / "tiny_cnn.lark").read_text()
BEST, SECOND = "conv(16,3);maxpool;maxpool", "conv(16,1);maxpool"


def write_data(path: Path, shape: Shape = (1, 8, 8), *, bright: int = 128) -> None:
    """Two classes of images: the second has a brighter left half."""
    rng = np.random.default_rng(1)
    y = np.arange(120) % 2
    x = rng.integers(0, 100, (120, *shape))
    x[y == 1, ..., : shape[-1] // 2] += bright
    np.savez(path, x=x.astype(np.uint8), y=y)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one finished run: two candidates, the first one trained and saved as its best."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EVOSEARCH_RUNS", raising=False)
    finished_run(tmp_path)
    return tmp_path


def finished_run(folder: Path) -> None:
    """runs/first in the working directory, which is this folder, and its data."""
    write_data(folder / "halves.npz")
    settings = {
        "grammar": str(GRAMMARS / "tiny_cnn.lark"),
        "task": "halves.npz",
        "seed": 5,
        "final.epochs": 2,
        "final.batch": 16,
        "final.optimizer": "adamw",
        "final.lr": 0.01,
        "workers.device": "cpu",
    }
    config = configuration.load(None, settings)
    best, second = (final.subject(config, text) for text in (BEST, SECOND))
    header = {
        "digests": dict(best.digests),
        "grammar_file": "tiny_cnn.lark",
        "task": best.task.name,
        "metric": best.task.metric,
        "input": [1, 8, 8],
        "outputs": 2,
    }
    files = {"config.toml": configuration.dumps(config), "grammar/tiny_cnn.lark": GRAMMAR}
    with Run.create(folder / "runs/first", header=header, files=files) as run:
        for number, found in enumerate((best, second)):
            key, text = found.architecture.key, found.architecture.text
            made = {"operator": "sample", "parents": [], "seed": 1}
            run.append_proposal({"number": number, "key": key, "text": text, **made})
            score = Score(key, "ok", {"accuracy": 0.9 - number / 10}, cost=found.architecture.cost, seconds=1.0)
            append_score(run, {"number": number, **score.pack()})
        finished = results.Final(best.task, config.final, config.recipe, "cpu", 1).train(best.architecture)
        run.write_best(results.files(finished, best.task, {"metric": best.task.metric}))


def key_of(text: str) -> str:
    there = space("tiny_cnn", (1, 8, 8))
    return there.read(there.parse(text)).key


def test_the_best_of_a_run_is_exported(project: Path, capsys: Capture) -> None:
    """By name, into the folder one is in; the largest difference is printed; the network is the one in best/."""
    assert main(["export", "first", "--format", "pt2"]) == DONE
    said = capsys.readouterr().out
    assert "first.pt2" in said
    assert "on random and halves examples, 1 and 5 at a time" in said
    assert "at most 0\n" in said
    assert max(map(len, said.splitlines())) <= 80
    best, x = results.load(project / "runs/first"), torch.randn(4, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(torch.export.load(project / "first.pt2").module()(x), best(x), rtol=0, atol=0)


def test_the_suffix_says_the_format(project: Path, capsys: Capture) -> None:
    assert main(["export", "runs/first", "-o", "net.safetensors", "--json"]) == DONE
    said = json.loads(capsys.readouterr().out)
    assert (said["format"], said["difference"], said["key"]) == ("safetensors", 0, key_of(BEST))
    assert load_file(project / "net.safetensors").keys() == load_file("runs/first/best/weights.safetensors").keys()


def test_data_that_moved_is_found_again(project: Path) -> None:
    (project / "halves.npz").rename(project / "elsewhere.npz")
    assert main(["export", "first", "--format", "safetensors", "--task", "elsewhere.npz"]) == DONE


def test_a_candidate_without_weights_is_code_alone(project: Path, capsys: Capture) -> None:
    """Only the best one's weights are kept: the others are written as code, or trained first."""
    key = key_of(SECOND)[:8]
    assert main(["export", "first", key, "--format", "python", "-o", str(project)]) == DONE
    assert "nn.Conv2d(1, 16, 1," in (project / "first.py").read_text()
    assert main(["export", "first", key, "--format", "pt2"]) == FAILED
    assert f"evolve train runs/first {key}" in capsys.readouterr().err
    assert main(["train", "first", key, "--seeds", "1", "--epochs", "1", "-o", "second"]) == DONE
    assert main(["export", "second", "--format", "pt2"]) == DONE
    assert "at most 0\n" in capsys.readouterr().out


def test_train_tells_mean_and_deviation_and_keeps_the_first_seed(project: Path, capsys: Capture) -> None:
    """Each seed is tested once; the first one repeats the run's own final training, weight for weight."""
    assert main(["train", "first", "--seeds", "3", "--json"]) == DONE
    said = json.loads(capsys.readouterr().out)
    values = [one["test"]["accuracy"] for one in said["seeds"]]
    assert [one["seed"] for one in said["seeds"]] == [5, 6, 7]
    assert said["mean"] == pytest.approx(statistics.fmean(values))
    assert said["deviation"] == pytest.approx(np.std(values, ddof=1))
    folder = project / said["folder"]
    assert folder == project / f"runs/trained/{key_of(BEST)[:8]}-halves"
    kept, best = load_file(folder / "weights.safetensors"), load_file("runs/first/best/weights.safetensors")
    assert all(torch.equal(kept[name], best[name]) for name in best)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (
        metrics["test"]
        == said["seeds"][0]["test"]
        == json.loads(Path("runs/first/best/metrics.json").read_text())["test"]
    )
    assert metrics["seeds"] == said["seeds"]
    assert set(said["baseline"]) == {"accuracy"}
    assert sorted(path.name for path in folder.parent.iterdir()) == [folder.name]


def test_train_takes_a_recipe_and_another_task(project: Path, capsys: Capture) -> None:
    """Transfer: the run's architecture, read at the other task's shape and trained on its data."""
    write_data(project / "larger.npz", (3, 12, 12))
    settings = ["--set", "final.lr=0.02", "--set", "final.optimizer=sgd"]
    assert main(["train", "first", "--task", "larger.npz", "--seeds", "1", "-o", "out", *settings]) == DONE
    assert "test accuracy" in capsys.readouterr().out
    metrics = json.loads((project / "out/metrics.json").read_text())
    assert (metrics["recipe"]["lr"], metrics["recipe"]["optimizer"], metrics["recipe"]["epochs"]) == (0.02, "sgd", 2)
    assert load_file("out/weights.safetensors")["conv1.weight"].shape == (16, 3, 3, 3)
    assert metrics["deviation"] is None
    assert main(["export", "out", "--format", "safetensors"]) == DONE


def test_train_takes_a_text(project: Path) -> None:
    options = ["--grammar", "tiny_cnn", "--task", "halves.npz", "--epochs", "1", "--seeds", "1", "-o", "out"]
    assert main(["train", SECOND, *options]) == DONE
    assert (project / "out/architecture.arch").read_text().strip() == SECOND
    (project / "net.arch").write_text(SECOND)
    assert main(["train", "net.arch", *options[:-1], "again"]) == DONE
    first, second = (load_file(f"{name}/weights.safetensors") for name in ("out", "again"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_failed_seeds_are_counted_and_nothing_is_saved_of_them(project: Path, capsys: Capture) -> None:
    """A training that diverges is told; where all do, the command fails."""
    options = ["--seeds", "2", "--set", "final.lr=1e30", "--set", "final.optimizer=sgd", "-o", "out"]
    assert main(["train", "first", *options]) == FAILED
    said = capsys.readouterr()
    assert said.out.count("failed: ") == 2
    assert "no seed came through the training" in said.err
    assert not (project / "out").exists()


@pytest.mark.parametrize("step", ["rename", "fsync_folder"])
def test_what_was_there_comes_back_where_the_new_cannot_take_its_place(
    step: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first seed's folder is there again where the second's fails after it was moved aside; nothing lies beside."""
    beside = {path.name for path in project.iterdir()}
    real, moved_aside = getattr(Disk, step), dict[str, bytes]()

    def fail(disk: Disk, *arguments: Path) -> None:
        aside = [path for path in project.iterdir() if path.suffix == ".old"]
        if aside and not moved_aside:
            moved_aside.update((path.name, path.read_bytes()) for path in aside[0].iterdir() if path.is_file())
            raise StorageError(f"{arguments[-1]}: no space left on device")
        real(disk, *arguments)

    monkeypatch.setattr(Disk, step, fail)
    assert main(["train", "first", "--seeds", "2", "--epochs", "1", "-o", "out"]) == FAILED
    assert len(json.loads(moved_aside["metrics.json"])["seeds"]) == 1
    assert {path.name: path.read_bytes() for path in (project / "out").iterdir() if path.is_file()} == moved_aside
    assert {path.name for path in project.iterdir()} == {*beside, "out"}


def test_own_layers_are_not_taken_on_the_word_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They come from the command line or the user's project, and are those that the network was trained with."""
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    (tmp_path / "home/evosearch.toml").write_text("")
    config = configuration.load(None, {"layers": [str(tmp_path / "own.py")]})
    header = {"digests": {"layers": "0" * 32}, "grammar_file": "tiny_cnn.lark"}
    files = {"config.toml": configuration.dumps(config), "grammar/tiny_cnn.lark": GRAMMAR}
    Run.create(tmp_path / "run", header=header, files=files).close()
    at = final.stored(tmp_path / "run")
    assert at is not None
    with pytest.raises(UsageError, match=r"layers of its own; say where they are: --layers .*own\.py"):
        final.configured(at, {})
    given = final.configured(at, {}, ["mine.py"])
    assert given.layers == (str(tmp_path / "home/mine.py"),)
    found = final.subject(given.model_copy(update={"layers": ()}), SECOND)
    with pytest.raises(RunChanged, match="the layers changed since it was trained"):
        final.same(at, found, "layers")


# --- every layer of the bundled grammars -----------------------------------------------------------------------------

EXACT = [name for name, one in FORMATS.items() if one.exact]
SEEDS = ("resnet18", "resnet10", "wrn16_4", "vit", "mlp_mixer")
# What fifty samples of take minutes, not hours; every layer of a grammar is among them.
SMALL = Limits(max_params=2_000_000, max_flops=500_000_000, max_activations=2_000_000, max_modules=200)


def exported(format: str, architecture: Architecture, folder: Path) -> None:
    """Raises ExportError where the file, loaded again, is not the network within TOLERANCE."""
    if format == "onnx":
        pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
    path = folder / f"model{FORMATS[format].suffix}"
    assert export(original_of(architecture), format, path).difference <= TOLERANCE


@pytest.mark.slow
def test_onnx_computes_what_the_network_does(original: Original, tmp_path: Path) -> None:
    """In onnxruntime, at batch sizes that no example had; its metadata say how to use it."""
    runtime = pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
    path = tmp_path / "model.onnx"
    export(original, "onnx", path)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (1, 2, 11):
        x = torch.randn(batch, *original.architecture.input)
        with torch.no_grad():
            expected = original.network(x)
        torch.testing.assert_close(torch.from_numpy(session.run(["y"], {"x": x.numpy()})[0]), expected)
    said = json.loads(session.get_modelmeta().custom_metadata_map["evosearch"])
    assert said["input"] == list(original.architecture.input)


@pytest.mark.slow
def test_eight_bits_lose_at_most_half_a_point_of_digits(tmp_path: Path) -> None:
    """In at most three tenths of the float32 file, metadata and all; a part of a network can be written by itself."""
    pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
    there, task = space("tiny_cnn", (1, 8, 8)), digits()
    one = headed(there.read(there.parse("conv(64,3);conv(64,3);maxpool;conv(64,3);conv(64,3)")), 10)
    trained = train(lambda: network.build(one), task, replace(DIGITS, epochs=6), seed=0)
    assert trained.network is not None
    original = Original(one, trained.network.eval(), task)
    x, y = task.normalise(task.validation.x), task.validation.y
    made, judged = {}, {}
    for name in ("onnx", "onnx-int8"):
        made[name] = export(original, name, tmp_path / f"{name}.onnx")
        judged[name] = task.judge(y, FORMATS[name].read(original, made[name].path)(x))
    print(f"{judged}, {made['onnx-int8'].size / made['onnx'].size:.3f} of the size", end=" ")
    assert judged["onnx"] - judged["onnx-int8"] <= 0.005
    assert made["onnx-int8"].size <= 0.3 * made["onnx"].size
    fused = {f"its numbers in floats, digits x{batch}" for batch in (1, 5)}
    assert set(made["onnx-int8"].differences) == {"digits x1", "digits x5", *fused}
    import onnx as onnx_package
    from onnx.reference import ReferenceEvaluator

    model = onnx_package.load(made["onnx-int8"].path)
    by_the_book = ReferenceEvaluator(model).run(None, {"x": x[:5]})[0]
    assert difference(FORMATS["onnx-int8"].read(original, made["onnx-int8"].path)(x[:5]), by_the_book) <= FUSED
    assert not any(one.metadata_props or one.doc_string for one in model.graph.node)
    said = {one.key: one.value for one in model.metadata_props}
    assert json.loads(said["evosearch"])["architecture"] == one.text


@pytest.mark.slow
@pytest.mark.parametrize("format", EXACT)
@pytest.mark.parametrize("name", SEEDS)
def test_seeds_are_the_same_in_every_format(name: str, format: str, tmp_path: Path) -> None:
    exported(format, seed(name), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("format", EXACT)
@pytest.mark.parametrize("name", SHAPES)
def test_fifty_samples_are_the_same_in_every_format(name: str, format: str, tmp_path: Path) -> None:
    for architecture in samples(name, 50, limits=SMALL):
        exported(format, architecture, tmp_path)
