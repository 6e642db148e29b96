"""The former place of evosearch.store.run, lock and verify."""

from evosearch.store.lock import *  # noqa: F403
from evosearch.store.run import *  # noqa: F403
from evosearch.store.verify import *  # noqa: F403
