"""The former place of evosearch.formats."""

from evosearch.formats import *  # noqa: F403
