"""The former place of evosearch.store.disk."""

from evosearch.store.disk import *  # noqa: F403
