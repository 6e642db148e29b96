"""A run as MLflow shows it: `--log mlflow` writes the figures of `evosearch.logs.scalars` by MLflow's own client.

Where to is said as MLflow reads it: MLFLOW_TRACKING_URI names the server, MLFLOW_EXPERIMENT_NAME the experiment
(evosearch where it is not set). The MLflow run has the name of the run's folder, the configuration as its parameters,
and the tag `evosearch.run`, by which a resumed run finds it again. The metric `evaluated` is the number of evaluations.
"""

from __future__ import annotations

import os
import time
from importlib import util
from typing import TYPE_CHECKING, Any

from evosearch.errors import UsageError
from evosearch.logs.tracking import Tracking, name_of, settings_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evosearch.logs import Session
    from evosearch.logs.scalars import Point

TAG = "evosearch.run"
COUNT = "evaluated"
EVERY = 1.0  # seconds in which points are sent together: each sending is a request, or a file written
METRICS, PARAMETERS = 1_000, 100  # that MLflow takes in one request
LONGEST = 6_000  # characters of a parameter
DATABASES = ("sqlite", "mysql", "postgresql", "mssql")


def require() -> None:
    """Raise UsageError where MLflow's client is not installed, or cannot write where it is told to."""
    if util.find_spec("mlflow") is None:
        raise UsageError(
            "--log mlflow needs MLflow's client: pip install 'evosearch[mlflow]'; CSV and JSON Lines need nothing"
        )
    import mlflow
    from mlflow.environment_variables import MLFLOW_ALLOW_FILE_STORE

    where = mlflow.get_tracking_uri()
    kind = where.partition(":")[0].partition("+")[0]
    if kind in DATABASES and util.find_spec("sqlalchemy") is None:
        raise UsageError(
            f"--log mlflow would write to {where}, which takes the whole MLflow: pip install mlflow, "
            "or set MLFLOW_TRACKING_URI to a server, as http://127.0.0.1:5000"
        )
    if kind in ("file", where) and not MLFLOW_ALLOW_FILE_STORE.get():
        raise UsageError(
            f"--log mlflow would write to the folder {where}, and MLflow wants to be told that this is meant: "
            "set MLFLOW_ALLOW_FILE_STORE=true, or MLFLOW_TRACKING_URI to a server"
        )


class Mlflow(Tracking):
    def open(self, session: Session) -> int:
        from mlflow import MlflowClient

        self.client: Any = MlflowClient()
        self.waiting: list[Point] = []
        self.sent_at = time.monotonic()
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "evosearch"
        experiment = self.client.get_experiment_by_name(name)
        where = experiment.experiment_id if experiment is not None else self.client.create_experiment(name)
        own = name_of(session.run)
        found = self.client.search_runs([where], f"tags.`{TAG}` = '{own}'", max_results=1)
        if found:
            self.id = found[0].info.run_id
            self.client.update_run(self.id, status="RUNNING")
            return int(found[0].data.metrics.get(COUNT, 0))
        self.id = self.client.create_run(where, tags={TAG: own}, run_name=session.folder.name).info.run_id
        self._describe(settings_of(session.run))
        return 0

    def send(self, points: Sequence[Point]) -> None:
        self.waiting += points
        if len(self.waiting) >= METRICS or time.monotonic() - self.sent_at >= EVERY:
            self._send_waiting()

    def close(self) -> None:
        self._send_waiting()
        self.client.set_terminated(self.id)

    def _send_waiting(self) -> None:
        """In requests that end with an evaluation's last figure: so the count says what is there."""
        from mlflow.entities import Metric

        request: list[Any] = []
        for point in self.waiting:
            values = {**point.values, COUNT: point.step}
            if len(request) + len(values) > METRICS:
                self.client.log_batch(self.id, metrics=request)
                request = []
            request += [
                Metric(name, float(value), round(1000 * point.at), point.step) for name, value in values.items()
            ]
        if request:
            self.client.log_batch(self.id, metrics=request)
        self.waiting, self.sent_at = [], time.monotonic()

    def _describe(self, settings: dict[str, Any]) -> None:
        from mlflow.entities import Param

        found = [Param(name, str(value)[:LONGEST]) for name, value in settings.items()]
        for at in range(0, len(found), PARAMETERS):
            self.client.log_batch(self.id, params=found[at : at + PARAMETERS])
