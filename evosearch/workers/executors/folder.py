"""Processes `evolve work RUN` on whatever machines share the run's folder; nobody here starts any."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evosearch.workers.folder import FolderPool

if TYPE_CHECKING:
    from pathlib import Path

    from evosearch.workers import EvaluatorSpec, WorkerSettings


def pool(spec: EvaluatorSpec, settings: WorkerSettings, candidates: Path | None) -> FolderPool:
    """See `evosearch.workers.open_pool`."""
    return FolderPool(spec, settings, candidates)
