"""A Dask cluster as an executor of one's own: `Client.get_executor()` is one."""

from __future__ import annotations

import os
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import pytest

from evosearch import engine
from evosearch.store.run import Run
from evosearch.workers import WorkerSettings
from tests.chaos.sessions import config as words_config
from tests.chaos.sessions import words
from tests.conftest import ROOT
from tests.journals import equal_journals
from tests.watch import Silent

distributed: Any = pytest.importorskip("distributed")
pytestmark = pytest.mark.cluster


def dask() -> Executor:
    """What a person's `module:factory` is, of a cluster that runs already: the scheduler's address is DASK_ADDRESS."""
    executor: Executor = distributed.Client(os.environ["DASK_ADDRESS"]).get_executor(retries=3)
    return executor


def test_a_search_on_a_dask_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVOSEARCH_PARCELS", str(tmp_path / "parcels"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    settings = words_config(words(tmp_path / "words", 5), budget=100, seed=2)
    engine.start(settings, tmp_path / "here", Silent())
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        monkeypatch.setenv("DASK_ADDRESS", cluster.scheduler_address)
        there = WorkerSettings(executor=f"{__name__}:dask", device="cpu", workers=2)
        engine.start(settings.model_copy(update={"workers": there}), tmp_path / "there", Silent())
        distributed.Client.current().close()
    assert equal_journals(Run.open(tmp_path / "here"), Run.open(tmp_path / "there"))
