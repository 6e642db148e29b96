"""Proxies: closed forms, finite differences, published values; measured before a training, or in place of one."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from evosearch import check, engine, plugins
from evosearch import config as configuration
from evosearch.engine.setup import prepare
from evosearch.errors import ConfigError
from evosearch.evaluation.proxies import WORST, Probe, measured, probe
from evosearch.features import Features
from evosearch.individual import Individual, fitness_class
from evosearch.store.run import Run
from evosearch.taps import ACTIVATIONS, NORMS, tapped
from evosearch.tasks import Task
from tests.spaces import headed, space
from tests.watch import Silent

BUNDLED = plugins.find()
PROXIES = {name: BUNDLED.get("proxy", name) for name in BUNDLED.of("proxy")}


def probe_of(network: nn.Module, x: torch.Tensor, y: torch.Tensor, loss: object = None, classes: int = 0) -> Probe:
    """Of one network, copied anew each time."""
    from copy import deepcopy

    chosen = loss or (functional.cross_entropy if classes else functional.mse_loss)
    return Probe(lambda: deepcopy(network), x, y, chosen, classes)  # type: ignore[arg-type]


def value(name: str, at: Probe) -> float:
    return measured({name: PROXIES[name]}, at)[name]


@pytest.fixture
def chain() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(*[nn.Linear(a, b, bias=False) for a, b in ((5, 7), (7, 4), (4, 3))])


@pytest.fixture
def small() -> Probe:
    """A convolution, a norm, an activation and a linear layer, in float64 so that differences are exact."""
    torch.manual_seed(4)
    network = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3)
    ).double()
    x = torch.randn(6, 2, 4, 4, dtype=torch.float64)
    return probe_of(network, x, torch.tensor([0, 1, 2, 0, 1, 2]), classes=3)


@pytest.mark.parametrize("name", PROXIES)
def test_every_bundled_proxy_keeps_its_contract(name: str) -> None:
    check.check_plugin(BUNDLED, PROXIES[name], space("mlp"))


def test_synflow_of_a_linear_chain_is_its_layers_times_its_flow(chain: nn.Sequential) -> None:
    """Each layer's share is the whole flow: log(1 + L * 1' |W_L| ... |W_1| 1)."""
    flow = torch.ones(5, dtype=torch.float64)
    for layer in chain:
        flow = layer.weight.detach().double().abs() @ flow  # type: ignore[operator]
    assert value("synflow", probe_of(chain, torch.randn(2, 5), torch.zeros(2, 3))) == pytest.approx(
        math.log1p(3 * float(flow.sum()))
    )


def test_synflow_leaves_norms_out(chain: nn.Sequential) -> None:
    normed = nn.Sequential(chain[0], nn.BatchNorm1d(7), chain[1], nn.LayerNorm(4), chain[2])
    x, y = torch.randn(2, 5), torch.zeros(2, 3)
    assert value("synflow", probe_of(normed, x, y)) == value("synflow", probe_of(chain, x, y))


@pytest.mark.parametrize("name", ["snip", "plain", "grad_norm"])
def test_first_orders_are_those_of_finite_differences(name: str, small: Probe) -> None:
    network = small.network()
    expected = 0.0
    for weight in small.weights(network):
        flat, slopes = weight.data.view(-1), []
        for at in range(len(flat)):
            ends = []
            for step in (1e-6, -2e-6):
                flat[at] += step
                ends.append(float(small.loss(network(small.x), small.y).detach()))
            flat[at] += 1e-6
            slopes.append((ends[0] - ends[1]) / 2e-6)
        slope = torch.tensor(slopes, dtype=torch.float64)
        found = {"snip": (flat * slope).abs().sum(), "plain": (flat * slope).sum(), "grad_norm": slope.norm()}
        expected += float(found[name])
    assert value(name, small) == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_grasp_of_a_quadratic_loss() -> None:
    """Of 1/2 w'Hw - b'w the gradient is Hw - b: the score is -w'H(Hw - b)."""
    torch.manual_seed(1)
    network = nn.Linear(4, 1, bias=False).double()
    root = torch.randn(4, 4, dtype=torch.float64)
    hessian, b = root @ root.T, torch.randn(4, dtype=torch.float64)

    def loss(out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        w = out.flatten()  # at the identity the outputs are the weights
        return w @ hessian @ w / 2 - b @ w

    w = network.weight.detach().flatten()
    expected = -float(w @ hessian @ (hessian @ w - b))
    at = probe_of(network, torch.eye(4, dtype=torch.float64), torch.zeros(4), loss)
    assert value("grasp", at) == pytest.approx(expected)


def test_fisher_of_a_convolution_and_a_linear_layer(small: Probe) -> None:
    """By hand: the layers' outputs kept, their gradients read, a channel counted once for each weight."""
    network = small.network()
    kept: list[torch.Tensor] = []
    for layer in (network[0], network[4]):  # type: ignore[index]
        layer.register_forward_hook(lambda _, __, out: kept.append(out))
    loss = small.loss(network(small.x), small.y)
    gradients = torch.autograd.grad(loss, kept)
    conv, linear = ((out * gradient).detach() for out, gradient in zip(kept, gradients, strict=True))
    expected = 18 * float(conv.sum((2, 3)).square().mean(0).sum()) / 2 + 48 * float(linear.square().mean(0).sum()) / 2
    assert value("fisher", small) == pytest.approx(expected)


def test_l2_is_the_sum_of_the_layers_norms(small: Probe) -> None:
    weights = small.weights(small.network())
    assert value("l2", small) == pytest.approx(sum(float(w.detach().norm()) for w in weights))


def test_naswot_counts_where_two_examples_agree() -> None:
    """K_ij is the number of units less the Hamming distance of the signs; two examples alike make it singular."""
    torch.manual_seed(2)
    network, x = nn.Sequential(nn.Linear(6, 40), nn.ReLU()), torch.randn(5, 6)
    with torch.no_grad():
        signs = (network[0](x) > 0).numpy()
    units = 40 - (signs[:, None] != signs[None]).sum(-1)
    at = probe_of(network, x, torch.zeros(5, 40))
    assert value("naswot", at) == pytest.approx(np.linalg.slogdet(units.astype(float))[1])
    twice = probe_of(network, torch.cat([x, x[:1]]), torch.zeros(6, 40))
    assert value("naswot", twice) == WORST


@pytest.mark.parametrize(
    ("figure", "wanted"),
    [(10**400, -WORST), (-(10**400), WORST), (math.inf, -WORST), (-math.inf, WORST), (math.nan, WORST), (3, 3.0)],
)
def test_figures_beyond_all_floats_have_a_value(small: Probe, figure: float, wanted: float) -> None:
    proxy: Any = lambda _: figure  # noqa: E731 - what a person's own proxy may give
    assert measured({"own": proxy}, small) == {"own": wanted}


def test_jacobians_of_a_linear_network_are_all_alike_and_of_orthogonal_inputs_not() -> None:
    """One correlation matrix of ones, with eigenvalues n and zeros; and the identity's."""
    linear = nn.Linear(8, 1, bias=False)
    alike = value("jacob_cov", probe_of(linear, torch.randn(4, 8), torch.zeros(4, 1)))
    k = 1e-5
    assert alike == pytest.approx(-(3 * (math.log(k) + 1 / k) + math.log(4 + k) + 1 / (4 + k)), rel=1e-3)

    class Squares(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.square().sum(1, keepdim=True) / 2  # its gradient is the input itself

    rows = torch.tensor([[1.0, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]])  # centred and orthogonal
    apart = value("jacob_cov", probe_of(Squares(), rows, torch.zeros(3, 1)))
    assert apart == pytest.approx(-3 * (math.log(1 + k) + 1 / (1 + k)))
    labelled = probe_of(Squares(), rows, torch.tensor([0, 0, 1]), functional.mse_loss, classes=2)
    correlations = np.array([1, 1, 0, 0]), np.array([1])
    assert value("epe", labelled) == pytest.approx(sum(abs(np.log(np.abs(c) + k).sum()) for c in correlations))


def test_gradsign_of_equal_examples_is_their_number_times_the_gradients_that_are_not_zero() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3))
    x, y = torch.randn(1, 5).repeat(7, 1), torch.zeros(7, dtype=torch.long)
    at = probe_of(network, x, y, classes=3)
    made = at.network()
    gradients = at.gradients(made, list(made.parameters()), slice(0, 1))
    assert value("gradsign", at) == 7 * sum(int((g != 0).sum()) for g in gradients)


def test_zico_of_a_linear_layer() -> None:
    """The log of sum(mean |g| / deviation) of the gradients of the two halves."""
    torch.manual_seed(0)
    network, x, y = nn.Linear(4, 2, bias=False).double(), torch.randn(6, 4).double(), torch.randn(6, 2).double()
    at = probe_of(network, x, y)
    w = network.weight.detach()
    halves = torch.stack([(half @ w.T - to).T @ half / 3 for half, to in ((x[:3], y[:3]), (x[3:], y[3:]))])
    assert value("zico", at) == pytest.approx(float((halves.abs().mean(0) / halves.std(0, correction=0)).sum().log()))


def test_a_tap_sees_functions_and_modules_once_and_puts_nothing_else_in_their_place() -> None:
    seen: list[str] = []
    network, x = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.GELU(), nn.LayerNorm(3)), torch.randn(2, 3)
    plain = network(x)
    with tapped(ACTIVATIONS, lambda name, arguments, output: seen.append(name)):
        assert torch.equal(network(x), plain)
        functional.leaky_relu(x)
        torch.relu(x)
    assert seen == ["relu", "gelu", "leaky_relu", "relu"]
    with tapped(NORMS, None):
        assert torch.equal(network[3](x), x)
    assert torch.equal(network(x), plain)


@pytest.mark.parametrize("name", PROXIES)
def test_a_network_that_its_input_does_not_reach_has_a_figure(name: str) -> None:
    """No error, and no infinity: NAS-Bench-201's cell of zeros."""
    there = space("nasbench201", (3, 16, 16))
    cell = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
    architecture = headed(there.read(there.parse(cell)), 10)
    from evosearch import network

    torch.manual_seed(0)
    at = probe_of(network.build(architecture), torch.randn(10, 3, 16, 16), torch.arange(10), classes=10)
    assert math.isfinite(value(name, at))
    assert value("synflow", at) == 0


# (cell, log synflow) of CIFAR-10 as NASLib publishes them (Apache-2.0); operations by their first letters.
PUBLISHED = (
    ("3113a1", 84.46),
    ("a33asn", 25.22),
    ("s1a311", 62.57),
    ("1n3ns1", 80.29),
    ("ns1an3", 49.11),
)


def cell_of(letters: str) -> str:
    names = {"n": "none", "s": "skip_connect", "1": "nor_conv_1x1", "3": "nor_conv_3x3", "a": "avg_pool_3x3"}
    a, b, c, d, e, f = (names[letter] for letter in letters)
    return f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"


@pytest.mark.parametrize(("letters", "published"), PUBLISHED)
def test_synflow_is_the_published_one(letters: str, published: float) -> None:
    """The benchmark's own network: within 0.4 in the logarithm, as another initialisation gives it."""
    from evosearch import network

    there = space("nasbench201", (3, 32, 32))
    torch.manual_seed(0)
    built = network.build(headed(there.read(there.parse(cell_of(letters))), 10))
    at = probe_of(built, torch.randn(2, 3, 32, 32), torch.tensor([0, 1]), classes=10)
    assert value("synflow", at) == pytest.approx(published, abs=0.4)


def test_entropies_are_those_of_the_channels_covariance() -> None:
    """Noise that is kept is spread over all channels: log C; what has one direction only: 0. Each stage by itself."""
    torch.manual_seed(0)
    flat = nn.Conv2d(16, 16, 1, bias=False)
    nn.init.constant_(flat.weight, 0.1)
    pieces = [nn.Identity(), flat, nn.Conv2d(16, 4, 3, bias=False)]
    at = Probe(lambda: nn.Sequential(*pieces), torch.randn(32, 16, 12, 12), torch.zeros(32), None, 0, lambda: pieces)  # type: ignore[arg-type]
    first, second, third = at.entropies()
    assert first == pytest.approx(math.log(16), abs=0.01)
    assert second == pytest.approx(0, abs=1e-4)
    assert 0 <= third <= math.log(4)
    assert value("az_expressivity", at) == pytest.approx(math.log(16) + third, abs=0.05)
    assert value("az_progressivity", at) == pytest.approx(-math.log(16), abs=0.01)


@pytest.mark.parametrize("stride", [1, 2])
def test_an_orthogonal_stage_is_trained_best(stride: int) -> None:
    """Its Jacobian keeps sizes: 0; one that triples them 2 - 3 - 1/3. What changes nothing is passed over."""
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 4 * stride**2, stride, stride, bias=False)
    nn.init.orthogonal_(layer.weight)
    x = torch.randn(64, 4, 32, 32)

    def trainability(factor: float) -> float:
        scaled = nn.Conv2d(4, 4 * stride**2, stride, stride, bias=False)
        scaled.weight.data = factor * layer.weight.data
        pieces = [nn.Identity(), scaled]
        return value("az_trainability", Probe(lambda: scaled, x, torch.zeros(64), None, 0, lambda: pieces))  # type: ignore[arg-type]

    assert trainability(1.0) == pytest.approx(0, abs=0.03)
    assert trainability(3.0) == pytest.approx(2 - 3 - 1 / 3, abs=0.3)


def test_the_aggregate_chooses_what_is_bad_in_nothing() -> None:
    """Against the formula, sum of log(rank / n), over a whole population; each is drawn by its place in it."""
    rng = np.random.default_rng(0)
    made = fitness_class(2)
    pairs = [(9.0, 0.1), (0.1, 9.0), (5.0, 5.0), (0.0, 0.0)]
    population = [
        Individual(None, f"{at}", "", made(pair), (), "", at)  # type: ignore[arg-type]
        for at, pair in enumerate(pairs)
    ]
    select = BUNDLED.get("select", "log_rank")
    assert {one.born for one in select(population, 20, rng, size=64)} == {2}
    assert len({one.born for one in select(population, 200, rng, size=1)}) == 4


# --- in a run -------------------------------------------------------------------------------------------------------


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: object) -> list[dict[str, Any]]:
    monkeypatch.setenv("EVOSEARCH_CACHE", str(folder / "cache"))
    base = {
        "grammar": "tiny_cnn", "task": "digits", "search.budget": 6, "recipe.epochs": 1, "final.epochs": 1,
        "workers.pool": "inline", "workers.device": "cpu", "limits.max_params": 50_000, "limits.max_flops": 2_000_000,
    }  # fmt: skip
    engine.start(configuration.load(None, {**base, **settings}), folder / "run", Silent())
    assert engine.verify(folder / "run") == []
    return [record for record in Run.open(folder / "run").records() if record["kind"] == "score"]


def test_proxies_stand_beside_the_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the recipe names them: in the metrics, so in logs and report; a training's score is what it was without."""
    scores = run(tmp_path / "a", monkeypatch, **{"recipe.proxies": ["synflow", "naswot"]})
    plain = run(tmp_path / "b", monkeypatch)
    for one, other in zip(scores, plain, strict=True):
        assert {"synflow", "naswot"} <= set(one["metrics"])
        assert one["objectives"]["accuracy"] == other["objectives"]["accuracy"]
        assert "synflow" not in one["objectives"]
    header = (tmp_path / "a" / "run" / "evaluations.csv").read_text().splitlines()[0].split(",")
    assert {"metric_synflow", "metric_naswot"} <= set(header)


def test_a_search_for_proxies_trains_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But the one that it found: no candidate has a curve, and the best is the one of the largest figure."""
    scores = run(tmp_path, monkeypatch, **{"search.objectives": ["synflow"], "search.budget": 12})
    assert all(score["status"] == "ok" and not score["curve"] for score in scores)
    best = max(scores, key=lambda score: score["objectives"]["synflow"])
    assert json.loads((tmp_path / "run" / "best" / "metrics.json").read_text())["key"] == best["key"]


def test_a_surrogate_sees_proxies_of_every_draft() -> None:
    """A column for each, of the network as it will be trained; the digest of scores is that of a run without."""
    settings = {"grammar": "tiny_cnn", "task": "digits", "search.screen": 3}
    plain = prepare(configuration.load(None, settings))
    setup = prepare(configuration.load(None, {**settings, "search.proxies": ["l2"]}))
    search = setup.search()
    assert search.screen is not None
    assert setup.digests["recipe"] == plain.digests["recipe"]
    derivation = setup.space.draw(np.random.default_rng(0))
    row = search.screen.model.features(derivation)
    assert (row[:-1] == Features(setup.space)(derivation)).all()
    assert isinstance(setup.task, Task)
    architecture, recipe = setup.space.read(derivation), setup.config.recipe
    at = probe(architecture, setup.task, recipe, recipe.training_seed(architecture.key))
    assert row[-1] == pytest.approx(np.log1p(value("l2", at)), rel=1e-6)


def test_a_proxy_that_raises_says_so_once_and_its_networks_count_as_the_worst(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "proxy").mkdir()
    (tmp_path / "proxy/broken.py").write_text('def broken(probe):\n    """Never a figure."""\n    return 1 / 0\n')
    settings = {"grammar": "tiny_cnn", "task": "digits", "search.screen": 3, "search.proxies": ["broken"]}
    setup = prepare(configuration.load(None, {**settings, "operators": [str(tmp_path)]}))
    search, rng = setup.search(), np.random.default_rng(0)
    assert search.screen is not None
    rows = [search.screen.model.features(setup.space.draw(rng)) for _ in range(3)]
    assert {row[-1] for row in rows} == {np.float32(-np.log1p(-WORST))}
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(told) == 1
    assert "broken.py" in told[0]
    assert "ZeroDivisionError" in told[0]


@pytest.mark.slow
def test_a_run_that_goes_on_measures_its_drafts_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ended half-way, it expects of each candidate what the run expected that nobody ended."""
    settings: dict[str, object] = {
        "search.objectives": ["l2"], "search.screen": 3, "search.proxies": ["naswot"], "search.lookahead": 1,
        "search.surrogate": "ridge", "search.population": 5,
    }  # fmt: skip
    run(tmp_path / "whole", monkeypatch, **settings, **{"search.budget": 50})
    run(tmp_path / "half", monkeypatch, **settings, **{"search.budget": 40})
    engine.resume(tmp_path / "half/run", Silent(), budget=50)
    half, whole = (list(Run.open(tmp_path / name / "run").records()) for name in ("half", "whole"))
    expected = [one["expected"] for one in half if one.get("expected")]
    assert len(expected) == 50 - 33
    assert expected == [one["expected"] for one in whole if one.get("expected")]


def test_proxies_of_what_is_not_trained_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bits.csv").write_text("arch,val\na,1\nb,2\n")
    (tmp_path / "bits.lark").write_text('// input: none\nstart: "a" -> a | "b" -> b\n')
    settings = {"grammar": "bits.lark", "task": "table:bits.csv", "recipe.proxies": ["naswot"]}
    with pytest.raises(ConfigError, match="proxies are of networks that are trained, and bits scores candidates"):
        engine.start(configuration.load(None, settings), tmp_path / "run", Silent())
