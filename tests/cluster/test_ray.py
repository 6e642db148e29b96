"""A Ray cluster of three nodes on this machine: the journal is the one-process run's, whatever becomes of a node."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evosearch import config as configuration
from evosearch import engine
from evosearch.store.run import Run
from evosearch.workers import WorkerSettings
from tests.chaos.sessions import config as words_config
from tests.chaos.sessions import words
from tests.conftest import ROOT
from tests.journals import equal_journals
from tests.test_engine import SMALL
from tests.watch import Silent

RAY: Any = pytest.importorskip("ray")
pytestmark = pytest.mark.cluster


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head without cores and three nodes of one core each, which find evosearch where this process does."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("EVOSEARCH_PARCELS", str(tmp_path / "parcels"))
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    made: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 80 << 20})
    for _ in range(3):
        made.add_node(num_cpus=1, object_store_memory=80 << 20)
    monkeypatch.setenv("RAY_ADDRESS", made.address)
    yield made
    RAY.shutdown()
    made.shutdown()


def on_ray(settings: configuration.Config) -> configuration.Config:
    return settings.model_copy(update={"workers": WorkerSettings(executor="ray", device="cpu")})


def test_a_table_search_on_three_nodes_one_of_which_is_killed(cluster: Any, tmp_path: Path) -> None:
    """300 evaluations; a node ends in the middle, and what was at work there is tried again."""
    settings = words_config(words(tmp_path / "words", 5), budget=300, seed=1)
    engine.start(settings, tmp_path / "here", Silent())
    scores = []

    class Killing(Silent):
        def progress(self, progress: engine.Progress) -> None:
            scores.append(progress.evaluated)
            if progress.evaluated > 100 and len(cluster.list_all_nodes()) == 4:
                cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)

    engine.start(on_ray(settings), tmp_path / "there", Killing())
    assert len(cluster.list_all_nodes()) == 3
    assert equal_journals(Run.open(tmp_path / "here"), Run.open(tmp_path / "there"))


def test_a_training_search_whose_driver_is_killed_goes_on_elsewhere(cluster: Any, tmp_path: Path) -> None:
    """30 evaluations of digits: begun on Ray, killed, resumed in one process of this machine."""
    settings = configuration.load(
        None, {**SMALL, "search.budget": 30, "search.lookahead": 8, "workers.pool": "processes"}
    )
    engine.start(settings, tmp_path / "here", Silent())
    (tmp_path / "config.toml").write_text(configuration.dumps(on_ray(settings)))
    there = tmp_path / "runs" / "there"
    command = [
        sys.executable,
        "-m",
        "evosearch",
        "run",
        str(tmp_path / "config.toml"),
        "--runs",
        str(tmp_path / "runs"),
    ]
    driver = subprocess.Popen([*command, "--name", "there", "--quiet"])
    until = time.monotonic() + 120
    while time.monotonic() < until and driver.poll() is None:
        time.sleep(0.2)
        if there.is_dir() and sum(record["kind"] == "score" for record in Run.open(there).records()) >= 10:
            driver.kill()
    assert driver.wait() < 0
    engine.resume(there, Silent(), executor="local", workers=1)
    assert equal_journals(Run.open(tmp_path / "here"), Run.open(there))
