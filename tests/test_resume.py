"""A run that is killed and resumed is the run it would have been. The short form; `make chaos` has the long one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.chaos.sessions import config, kills, session, words


def test_a_run_that_is_killed_ends_as_the_run_that_nobody_killed(tmp_path: Path) -> None:
    table = words(tmp_path / "table", letters=4)
    session(config(table, 10, 0), tmp_path / "warm")  # the forked sessions need not import everything anew
    kills(
        lambda seed, folder, acknowledged: session(config(table, 60, seed), folder, acknowledged),
        tmp_path, runs=2, seeds=1, times=2, rng=np.random.default_rng(5),
    )  # fmt: skip
