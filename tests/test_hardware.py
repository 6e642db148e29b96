"""What hardware says of a network: time, energy, memory; and searches that have them among their objectives."""

from __future__ import annotations

import fcntl
import multiprocessing
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from evosearch import config as configuration
from evosearch import engine, network
from evosearch.architecture import Limits, Space
from evosearch.cost import Cost
from evosearch.errors import ConfigError
from evosearch.evaluation import hardware, measures
from evosearch.evaluation.hardware import HardwareSettings, Spread
from evosearch.evaluation.measures import latency
from evosearch.report.reading import read_run
from evosearch.search.proposal import identify
from tests.bench.bench_device import correlation
from tests.memory import Simulation
from tests.spaces import headed, samples, space
from tests.watch import Silent

SMALL = Limits(max_flops=20_000_000, max_params=400_000, max_modules=200)
SHAPES = {"einspace": (3, 16, 16), "convnets": (3, 16, 16), "vit": (3, 16, 16), "mlp": (14,), "tiny_cnn": (1, 8, 8)}


# -- memory ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["einspace", "convnets", "vit", "mlp", "tiny_cnn"])
def test_peak_memory_is_that_of_the_source_run_line_by_line(name: str) -> None:
    """Equal to the byte; but for dropout, which in evaluation gives its input itself, and is counted as if it wrote."""
    equal = 0
    for sample in samples(name, 6, shape=SHAPES[name], seed=1, limits=SMALL):
        one = headed(sample, 10)
        held = one.memory - one.cost.bytes
        simulated = Simulation(network.source(one)).run(one.input)
        assert held == simulated or ("drop" in one.text and held > simulated)
        equal += held == simulated
    assert equal >= 4


@pytest.mark.slow
def test_peak_memory_is_within_a_twentieth_of_the_profiler_s() -> None:
    """What torch's profiler sees allocated at once, with the input, which is there before it begins.

    By itself in most plain convolutional networks; in the others a convolution takes room to work in, up to several
    times its output's. That is the kernel's and another one elsewhere, so it is not counted; with it all agree.
    """
    within = with_room = 0
    for sample in samples("tiny_cnn", 20, shape=(1, 28, 28), seed=3, limits=SMALL):
        one = headed(sample, 10)
        module = network.build(one).eval()
        x = torch.randn(1, *one.input)
        with torch.no_grad():
            module(x)
            with torch.profiler.profile(profile_memory=True) as profile:
                module(x)
        now = most = 0
        for event in profile.profiler.kineto_results.events():
            if event.name() == "[memory]":
                now += event.nbytes()
                most = max(most, now)
        counted = one.memory - one.cost.bytes
        assert counted <= 1.05 * most + x.nbytes
        within += counted >= 0.95 * most
        taken = Simulation(network.source(one), torch_s=True).run(one.input)
        with_room += abs(taken - most - x.nbytes) <= 0.05 * (most + x.nbytes)
    print(f"{within} of 20 as counted, {with_room} with the kernels' room", end=" ")
    assert within >= 13, within
    assert with_room == 20, with_room


def test_a_microcontroller_s_limit_refuses_before_anything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """320 KB, weights included: no module is made to find out, and what is within it is proposed."""

    def refused(*_: object) -> None:
        raise AssertionError("built")

    monkeypatch.setattr(nn.Conv2d, "__init__", refused)
    there = space("tiny_cnn", (1, 28, 28))
    limited = Space(there.grammar, there.vocabulary, there.input, Limits(max_memory=320 * 1024))
    found = set()
    for sample in samples("tiny_cnn", 40, shape=(1, 28, 28), seed=0):
        architecture = limited.read(limited.parse(sample.text))
        _, limit = identify(limited, limited.parse(sample.text))
        assert (limit == "max_memory") == (architecture.memory > 320 * 1024)
        found.add(limit)
    assert found == {None, "max_memory"}


# -- latency --------------------------------------------------------------------------------------------------------


def ticking(milliseconds: list[float]) -> Callable[[], float]:
    """A clock by which calls take so long, one after the other."""

    def times() -> Iterator[float]:
        now = 0.0
        for one in milliseconds:
            yield now
            now += one / 1000
            yield now

    return times().__next__


def test_latency_is_the_median_of_the_calls_with_its_range() -> None:
    """By a made-up clock; the mode and the threads are afterwards as they were."""
    module = nn.Sequential(nn.Linear(4, 4), nn.Dropout()).train()
    threads = torch.get_num_threads()
    calls = [5.0] * 8 + [1.0] * 15 + [9.0] * 8
    found = hardware.latency(module, (4,), HardwareSettings(repeats=31, threads=2), ticking(calls))
    assert found == pytest.approx((5.0 if sorted(calls)[15] == 5.0 else 1.0, found.range))
    assert found.range == pytest.approx(sorted(calls)[23] - 1.0, abs=4.1)
    assert module.training
    assert torch.get_num_threads() == threads
    with pytest.raises(ConfigError, match="repeats is 29; it must be at least 30"):
        HardwareSettings(repeats=29)


def _hold(path: str, held: Any, done: Any) -> None:
    with Path(path).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        held.set()
        done.wait(10)


def test_a_measurement_waits_for_another_process_s() -> None:
    """One lock for the machine, whoever measures."""
    path = next(Path(tempfile.gettempdir()).glob("evosearch-measuring-*.lock"), None)
    with hardware.alone():
        path = path or next(Path(tempfile.gettempdir()).glob("evosearch-measuring-*.lock"))
        with path.open("w") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    context = multiprocessing.get_context("fork")
    held, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(str(path), held, done))
    other.start()
    held.wait(10)
    with path.open("w") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    done.set()
    other.join()


@pytest.mark.slow
def test_two_interleaved_series_agree_or_say_their_range() -> None:
    """Medians of two series in turn are within a tenth of each other, or of what their interquartile ranges say."""
    one = headed(next(samples("tiny_cnn", 1, shape=(1, 28, 28), seed=3, limits=SMALL)), 10)
    module = network.build(one)
    series: tuple[list[Spread], list[Spread]] = ([], [])
    for turn in range(6):
        series[turn % 2].append(hardware.latency(module, one.input, HardwareSettings()))
    first, second = (sorted(found)[1] for found in series)
    apart = abs(first.median - second.median)
    print(f"{first} and {second}", end=" ")
    assert apart <= 0.1 * second.median + first.range + second.range


# -- tables ---------------------------------------------------------------------------------------------------------


def test_a_table_s_latency_is_the_sum_over_layers(tmp_path: Path) -> None:
    """Written and read again; a phone's own file has the same three columns. A layer that it lacks is named."""
    there = space("mlp", (14,))
    one = headed(there.read(there.parse("linear(16);relu;residual(linear(16);relu)")), 3)
    rows = hardware.layers_of(one)
    assert sorted(rows) == sorted(
        [("linear 16", "14"), ("relu", "16"), ("linear 16", "16"), ("relu", "16"), ("mean_linear 3", "16")]
    )
    costs = {row: Spread(float(number + 1), 0.1) for number, row in enumerate(sorted(set(rows)))}
    hardware.write_table(costs, tmp_path / "mine.csv")
    table = hardware.read_table(tmp_path / "mine.csv")
    assert table.latency(one) == pytest.approx(sum(costs[row].median for row in rows))
    other = headed(there.read(there.parse("linear(32)")), 3)
    with pytest.raises(ConfigError, match=r"mine\.csv: no row for (mean_linear 3 at 32|linear 32 at 14); measure"):
        table.latency(other)


def test_each_different_layer_is_measured_once() -> None:
    there = space("mlp", (14,))
    one = headed(there.read(there.parse("linear(16);relu;linear(16);relu")), 3)
    found = hardware.measured_layers([one, one], HardwareSettings())
    assert set(found) == set(hardware.layers_of(one))
    assert all(spread.median > 0 for spread in found.values())


@pytest.mark.slow
def test_a_table_ranks_networks_as_measurements_do() -> None:
    """Spearman at least 0.9 over thirty networks; a machine at work on something else may need a second look."""
    found = [correlation()[0] for _ in range(2)]
    print(f"Spearman {found}", end=" ")
    assert max(found) >= 0.9


# -- energy ---------------------------------------------------------------------------------------------------------


def test_energy_is_read_from_rapl_s_counters_or_refused(tmp_path: Path) -> None:
    for name, joules in (("intel-rapl:0", 3), ("intel-rapl:1", 4)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text(str(joules * 1_000_000))
    assert hardware.meter("cpu", tmp_path)() == 7.0
    with pytest.raises(ConfigError, match="there are no RAPL counters in"):
        hardware.meter("cpu", tmp_path / "none")
    with pytest.raises(ConfigError, match="NVML does not tell what the card takes"):
        hardware.meter("cuda")


def test_energy_of_a_card_is_nvml_s_or_refused_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    class NVMLError(Exception): ...

    def refused(_: object) -> int:
        raise NVMLError("Not Supported")

    nvml = ModuleType("pynvml")
    told = {"NVMLError": NVMLError, "nvmlInit": lambda: None, "nvmlDeviceGetHandleByIndex": lambda index: index}
    for name, value in {**told, "nvmlDeviceGetTotalEnergyConsumption": lambda _: 2500}.items():
        monkeypatch.setattr(nvml, name, value, raising=False)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert hardware.meter("cuda")() == 2.5
    monkeypatch.setattr(nvml, "nvmlDeviceGetTotalEnergyConsumption", refused)
    with pytest.raises(ConfigError, match=r"does not tell what the card takes \(Not Supported\); leave it out here"):
        hardware.meter("cuda")


# -- objectives -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "taken", "reward"),
    [("mnas_soft", 2.0, 0.8), ("mnas_soft", 4.0, 0.8 * 2**-0.07), ("mnas_hard", 1.0, 0.8), ("mnas_hard", 4.0, 0.4)],
)
def test_rewards_are_mnasnet_s(name: str, taken: float, reward: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand, at a target of 2 ms and an accuracy of 0.8."""
    monkeypatch.setattr(latency, "spread_of", lambda *_: Spread(taken, 0.0))
    (measure,) = measures.asked([name], {}, HardwareSettings(target=2.0))
    task: Any = SimpleNamespace(measure=SimpleNamespace(sign=1))
    trained: Any = SimpleNamespace(metric=0.8, network=nn.Identity())
    assert measure.value(trained, task) == pytest.approx(reward)


def test_bytes_and_bit_operations_follow_from_the_cost() -> None:
    """Four bytes a parameter and 1,024 bit operations a multiply-accumulate, less what formats spare."""
    assert (Cost(params=10, flops=200).bytes, Cost(params=10, flops=200).bitops) == (40, 102_400)
    assert (Cost(10, 200, spared_bits=240, spared_bitops=96_000).bytes) == 10
    assert (Cost(10, 200, spared_bits=240, spared_bitops=96_000).bitops) == 6_400
    assert "spared_bits" not in Cost(10, 200).pack()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hardware")
    asked = ["accuracy", "latency", "mnas_soft", "ece", "piece", "log_loss", "memory", "bytes", "bitops", "robustness"]
    settings = {
        "grammar": "tiny_cnn", "task": "digits", "recipe.epochs": 1, "final.epochs": 1, "search.budget": 3,
        "search.population": 2, "search.strategy": "nsga2", "search.objectives": asked, "workers.pool": "inline",
        "workers.device": "cpu", "limits.max_memory": 3_000_000, "limits.max_flops": 1_000_000, "hardware.target": 2.0,
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVOSEARCH_CACHE", str(tmp_path_factory.mktemp("ledger")))
        engine.start(configuration.load(None, settings), folder / "run", Silent())
        engine.resume(folder / "run", Silent(), budget=4)
    return folder / "run"


def test_a_search_has_them_among_its_objectives(run: Path) -> None:
    """Each is there with the table's sign; the range, the threads and the batch of a latency stand beside it."""
    reading = read_run(run)
    assert engine.verify(run) == []
    assert "-latency" in reading.header["objectives"]
    assert "+mnas_soft" in reading.header["objectives"]
    for one in reading.ranked():
        assert one.score is not None
        assert one.objectives["memory"] <= 3_000_000
        assert one.objectives["bytes"] == 4 * one.cost["params"]
        assert one.objectives["bitops"] == 512 * one.cost["flops"]
        assert one.objectives["piece"] >= one.objectives["ece"] - 1e-6
        assert one.score["metrics"]["latency_iqr"] >= 0
        assert one.score["metrics"]["latency_threads"] == one.score["metrics"]["latency_batch"] == 1


def test_what_this_machine_cannot_measure_is_refused_with_its_reason() -> None:
    base = {"grammar": "tiny_cnn", "task": "digits", "workers.device": "cpu"}
    config = configuration.load(None, {**base, "search.objectives": ["accuracy", "table_latency"]})
    with pytest.raises(ConfigError, match="table_latency: say which table"):
        engine.prepare(config)


def test_a_network_of_doubles_is_timed_as_any() -> None:
    """A recipe of precision float64 leaves such a one."""
    module = nn.Linear(4, 2).double()
    assert hardware.latency(module, (4,), HardwareSettings()).median > 0


def test_scores_hang_on_what_a_table_of_layers_says_and_not_on_where_it_lies(tmp_path: Path) -> None:
    """The ledger has no figure of another table for a search."""

    def recipe(name: str, content: str) -> str:
        file = tmp_path / name
        file.write_text(content)
        asked = {"search.objectives": ["accuracy", "table_latency"], "hardware.table": str(file)}
        settings = {"grammar": "tiny_cnn", "task": "digits", "workers.device": "cpu", **asked}
        return engine.prepare(configuration.load(None, settings)).digests["recipe"]

    first = recipe("one.csv", "layer,input,ms\nrelu,1 8 8,0.5\n")
    assert recipe("moved.csv", "layer,input,ms\nrelu,1 8 8,0.5\n") == first
    assert recipe("one.csv", "layer,input,ms\nrelu,1 8 8,0.7\n") != first


def test_what_nobody_asks_for_changes_nothing() -> None:
    """Neither the recipe's digest nor what a score holds: the ledger's scores stay known."""
    base = {"grammar": "tiny_cnn", "task": "digits", "workers.device": "cpu"}
    plain = engine.prepare(configuration.load(None, base))
    threads = engine.prepare(configuration.load(None, {**base, "hardware.threads": 2}))
    asked = {**base, "search.objectives": ["accuracy", "latency"]}
    timed = engine.prepare(configuration.load(None, asked))
    two = engine.prepare(configuration.load(None, {**asked, "hardware.threads": 2}))
    assert plain.digests == threads.digests
    assert len({one.digests["recipe"] for one in (plain, timed, two)}) == 3
