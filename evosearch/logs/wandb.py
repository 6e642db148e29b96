"""A run as Weights & Biases shows it: `--log wandb` writes the figures of `evosearch.logs.scalars` by its own client.

Where to is said as that client reads it: WANDB_PROJECT names the project (evosearch where it is not set), WANDB_MODE
whether it is sent at once or kept (`offline`) in the run's folder under `wandb/`, for `wandb sync`. The run there has
the name of the run's folder, the configuration, and an id that follows from the run: so a resumed run goes on in it.
"""

from __future__ import annotations

import os
from importlib import util
from typing import TYPE_CHECKING, Any

from evosearch.errors import UsageError
from evosearch.logs.tracking import Tracking, name_of, settings_of
from evosearch.store.disk import content

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evosearch.logs import Session
    from evosearch.logs.scalars import Point

MARK = "wandb/evaluated"  # a file of the run's folder: how many evaluations were handed over


def require() -> None:
    """Raise UsageError where the client is not installed, or nobody is logged in. May ask for a key in a terminal."""
    if util.find_spec("wandb") is None:
        raise UsageError(
            "--log wandb needs the client of Weights & Biases: pip install 'evosearch[wandb]'; CSV and JSON Lines need "
            "nothing"
        )
    import wandb

    try:
        wandb.login()
    except wandb.errors.Error as error:
        raise UsageError(f"--log wandb: {error}; or keep it on this machine: WANDB_MODE=offline") from None


class Wandb(Tracking):
    def open(self, session: Session) -> int:
        import wandb

        self.mark = session.folder / MARK
        session.run.disk.mkdir(self.mark.parent)
        self.kept: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or "evosearch",
            id=name_of(session.run),
            name=session.folder.name,
            dir=str(session.folder),
            config=settings_of(session.run),
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(console="off", silent=True),
        )
        if self.kept.offline:  # it knows nothing of what earlier sessions kept
            return int(content(self.mark) or b"0")
        return max(0, int(self.kept.step) - 1)

    def send(self, points: Sequence[Point]) -> None:
        for point in points:
            self.kept.log({**point.values, "at": point.at}, step=point.step)
        if points:
            disk = self.run.disk
            with disk.replacing(self.mark, durable=False) as beside:
                disk.write_new(beside, b"%d\n" % points[-1].step, durable=False)

    def close(self) -> None:
        self.kept.finish()
