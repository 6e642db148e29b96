"""A run as TensorBoard shows it: `--log tensorboard` writes scalars under the run's `tensorboard/`.

    fitness/evaluated, fitness/best        of each evaluation that succeeded, and the best so far
    cost/params, cost/flops, cost/seconds  of each evaluation
    failures/STATUS                        how many there were until then
    q/MUTATION                             what the policy holds each mutation to be worth, once a second at most

The step is the number of evaluations so far. Each session writes a file of its own, straight to the disk: a kill loses
nothing that was shown, and a resumed run's curves go on. The records are made by TensorBoard's own writer; torch's
SummaryWriter puts a thread before it, which holds points back and ends in a traceback where the disk is full.
"""

from __future__ import annotations

import io
import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib import util
from typing import TYPE_CHECKING, Any

from evosearch.errors import UsageError

if TYPE_CHECKING:
    from evosearch.logs import Scored, Session
    from evosearch.store.run import Record

FOLDER = "tensorboard"
EVERY = 1.0  # seconds between two looks at what the policy has learned


def require() -> None:
    """Raise UsageError where TensorBoard is not installed: before a run, not in it."""
    if util.find_spec("tensorboard") is None:
        raise UsageError(
            "--log tensorboard needs tensorboard: pip install 'evosearch[tensorboard]'; CSV and JSON Lines need nothing"
        )


class Tensorboard:
    """The scalars of one session."""

    def __init__(self, session: Session, clock: Callable[[], float] = time.monotonic) -> None:
        self.run, self.objective, self.sign, self.worth = session.run, session.objective, session.sign, session.worth
        self.step, self.best, self.failures = session.evaluated, session.best, Counter(session.failures)
        self.clock = clock
        self.looked = -EVERY
        self.descriptor = -1
        begun = time.time()
        name = f"events.out.tfevents.{begun:010.0f}.{socket.gethostname()}.{os.getpid()}.{time.monotonic_ns():x}"
        self.path = session.folder / FOLDER / name
        self._open(begun)

    def add(self, scored: Sequence[Scored]) -> None:
        """Show scores that were journaled, and what each mutation is held to be worth now. Raises StorageError."""
        events = []
        for one in scored:
            self.step += 1
            events.append((self.step, float(one.score["at"]), self._values(one.score)))
        if events and self.clock() - self.looked >= EVERY:
            self.looked = self.clock()
            step, at, _ = events[-1]
            events.append((step, at, {f"q/{name}": value for name, value in sorted(self.worth().items())}))
        self._write(events)

    def close(self) -> None:
        if self.descriptor >= 0:
            descriptor, self.descriptor = self.descriptor, -1
            os.close(descriptor)

    def _values(self, score: Record) -> dict[str, float]:
        """The scalars of one evaluation, by tag."""
        values: dict[str, float] = {}
        ok = score["status"] == "ok"
        fitness = {**score["cost"], **score["objectives"]}.get(self.objective) if ok else None
        if fitness is not None:
            values["fitness/evaluated"] = fitness
            if self.best is None or self.sign * fitness > self.sign * self.best:
                self.best = fitness
        if self.best is not None:
            values["fitness/best"] = self.best
        values |= {f"cost/{name}": score["cost"][name] for name in ("params", "flops")}
        values["cost/seconds"] = score["seconds"]
        if score["status"] != "ok":
            self.failures[score["status"]] += 1
            values[f"failures/{score['status']}"] = self.failures[score["status"]]
        return values

    def _open(self, begun: float) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        disk = self.run.disk
        disk.mkdir(self.path.parent)
        self.descriptor = disk.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND)
        self._records([Event(wall_time=begun, file_version="brain.Event:2")])

    def _write(self, events: Sequence[tuple[int, float, Mapping[str, float]]]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._records(
            [
                Event(
                    wall_time=at,
                    step=step,
                    summary=Summary(value=[Summary.Value(tag=tag, simple_value=v) for tag, v in values.items()]),
                )
                for step, at, values in events
            ]
        )

    def _records(self, events: Sequence[Any]) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        framed = io.BytesIO()
        writer = RecordWriter(framed)
        for event in events:
            writer.write(event.SerializeToString())
        self.run.disk.write(self.descriptor, self.path, framed.getvalue())
