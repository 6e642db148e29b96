"""What all tests share: hypothesis profiles, one thread for each test process, a ledger of scores of their own."""

from __future__ import annotations

import gc
import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Before torch or numba load: two test processes with two threads each would only wait for one another.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

# Some hundred processes are started by tests. Each would compile the package anew where the environment, as containers'
# often do, has Python keep no compiled code.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A test process holds some million objects that stay (torch, spaces that were read). To look through all of them took a
# twentieth of its time and more: what is loaded is left out, and the rest is looked through a tenth as often. Young
# objects are looked through as ever.
gc.set_threshold(*gc.get_threshold()[:2], 100)


def pytest_collection_finish() -> None:
    gc.freeze()


# The quick suite draws the same examples every time, so that a red build is red again; `slow` looks further.
settings.register_profile(
    "quick", deadline=None, derandomize=True, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("thorough", deadline=None, max_examples=1000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("EVOSEARCH_HYPOTHESIS", "quick"))

ROOT = Path(__file__).resolve().parent.parent


NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def _ledgers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ledgers")


@pytest.fixture(autouse=True)
def _own_ledger(_ledgers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's own scores. A test's folder is made by the ledger, if it has one."""
    monkeypatch.setenv("EVOSEARCH_CACHE", str(_ledgers / str(next(NUMBERS))))


@pytest.fixture
def hears_signals() -> Iterator[None]:
    """Signals end what a test starts, also where the suite runs behind `nohup` or `&`, which have them ignored."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)}
    for number, handler in before.items():
        if handler is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def root() -> Path:
    """The checkout's root folder."""
    return ROOT
