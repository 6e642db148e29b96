"""The former place of evosearch.store.ledger."""

from evosearch.store.ledger import *  # noqa: F403
