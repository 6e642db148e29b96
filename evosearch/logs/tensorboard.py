"""A run as TensorBoard shows it: `--log tensorboard` writes the figures of `evosearch.logs.scalars` under the run's
`tensorboard/`.

Each session writes a file of its own, straight to the disk: a kill loses nothing that was shown, and a resumed run's
curves go on. The records are made by TensorBoard's own writer; torch's SummaryWriter puts a thread before it, which
holds points back and ends in a traceback where the disk is full.
"""

from __future__ import annotations

import io
import os
import socket
import time
from collections.abc import Callable, Sequence
from importlib import util
from typing import TYPE_CHECKING, Any

from evosearch.errors import UsageError
from evosearch.logs.scalars import Point, Scalars

if TYPE_CHECKING:
    from evosearch.logs import Scored, Session

FOLDER = "tensorboard"


def require() -> None:
    """Raise UsageError where TensorBoard is not installed: before a run, not in it."""
    if util.find_spec("tensorboard") is None:
        raise UsageError(
            "--log tensorboard needs tensorboard: pip install 'evosearch[tensorboard]'; CSV and JSON Lines need nothing"
        )


class Tensorboard:
    """The scalars of one session."""

    def __init__(self, session: Session, clock: Callable[[], float] = time.monotonic) -> None:
        self.run, self.scalars = session.run, Scalars(session, clock)
        self.descriptor = -1
        begun = time.time()
        name = f"events.out.tfevents.{begun:010.0f}.{socket.gethostname()}.{os.getpid()}.{time.monotonic_ns():x}"
        self.path = session.folder / FOLDER / name
        self._open(begun)

    def add(self, scored: Sequence[Scored]) -> None:
        """Show scores that were journaled, and what each mutation is held to be worth now. Raises StorageError."""
        self._write(list(self.scalars.points(scored)))

    def close(self) -> None:
        if self.descriptor >= 0:
            descriptor, self.descriptor = self.descriptor, -1
            os.close(descriptor)

    def _open(self, begun: float) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        disk = self.run.disk
        disk.mkdir(self.path.parent)
        self.descriptor = disk.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND)
        self._records([Event(wall_time=begun, file_version="brain.Event:2")])

    def _write(self, points: Sequence[Point]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._records(
            [
                Event(
                    wall_time=at,
                    step=step,
                    summary=Summary(value=[Summary.Value(tag=tag, simple_value=v) for tag, v in values.items()]),
                )
                for step, at, values in points
            ]
        )

    def _records(self, events: Sequence[Any]) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        framed = io.BytesIO()
        writer = RecordWriter(framed)
        for event in events:
            writer.write(event.SerializeToString())
        self.run.disk.write(self.descriptor, self.path, framed.getvalue())
