"""The result of one evaluation."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from evosearch.cost import COUNTED, Cost

Status = Literal["ok", "stopped", "invalid", "over_budget", "nan", "oom", "timeout", "crashed"]
LINEAGE_EPOCHS = "lineage_epochs"  # a metric, where weights pass on: of the whole line; without it none were left
STATUSES: tuple[str, ...] = get_args(Status)


@dataclass(frozen=True, slots=True)
class Score:
    """The result of evaluating one candidate. A failure is a value too: the search learns from it.

    key: the candidate's canonical key, 32 hex digits.
    status: ok, or how it failed. Only ok has objectives.
    objectives: what was measured and the search may optimise, by name ("accuracy", "seconds"); never NaN.
    metrics: what is reported beside them ("loss", "train_accuracy", ...).
    curve: the metric on the validation split after each epoch.
    seconds: wall-clock time of the evaluation; 0 where the score was known.
    seed: the training seed. error: one line, where it failed.
    """

    key: str
    status: Status
    objectives: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    curve: tuple[float, ...] = ()
    cost: Cost = Cost()
    seconds: float = 0.0
    seed: int = 0
    error: str = ""

    @property
    def figures(self) -> Mapping[str, float]:
        """All that the search may optimise: what was measured, and the cost where there is a network that has one."""
        counted = {name: float(getattr(self.cost, name)) for name in COUNTED} if self.cost != Cost() else {}
        return {**counted, **self.objectives}

    def pack(self) -> dict[str, Any]:
        """As plain values for msgpack."""
        return {
            "key": self.key,
            "status": self.status,
            "objectives": dict(self.objectives),
            "metrics": dict(self.metrics),
            "curve": self.curve,
            "cost": self.cost.pack(),
            "seconds": self.seconds,
            "seed": self.seed,
            "error": self.error,
        }

    @classmethod
    def unpack(cls, data: Mapping[str, Any]) -> Score:
        """From plain values. What else a record carries (a proposal's number, a time) is left out."""
        own = {name: value for name, value in data.items() if name in cls.__slots__}
        return cls(**{**own, "cost": Cost(**data["cost"]), "curve": tuple(data["curve"])})


def evaluation_seed(seed: int, key: str, fidelity: float = 1.0, repeat: int = 0) -> int:
    """The seed of a candidate's evaluation, 0 <= seed < 2^63: of the given seed and the key, never of the order.

    fidelity, repeat: as a Candidate's; at their neutral values they have no part in it.
    """
    text = f"{seed}:{key}" if fidelity == 1.0 and repeat == 0 else f"{seed}:{key}:{fidelity!r}:{repeat}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
