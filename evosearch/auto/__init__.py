"""Settings that follow from the data, the machine and the time: `plan(facts)` says each with its reason."""

from __future__ import annotations

from evosearch.auto.facts import Facts, facts_of
from evosearch.auto.plan import Choice, Plan, plan
from evosearch.auto.rules import fitting

__all__ = ["Choice", "Facts", "Plan", "facts_of", "fitting", "plan"]
