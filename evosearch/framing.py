"""The former place of evosearch.store.framing."""

from evosearch.store.framing import *  # noqa: F403
