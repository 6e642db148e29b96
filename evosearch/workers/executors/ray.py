"""A Ray cluster: actors that stay on their node, each with its cores and its share of a GPU, placed by Ray's scheduler.

An actor that ends with its node is replaced wherever there is room; what it was at work on is tried once more.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from concurrent.futures import BrokenExecutor, Executor, Future
from functools import partial
from importlib import import_module, util
from typing import TYPE_CHECKING, Any

from evosearch.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from evosearch.workers import WorkerSettings

ADDRESS = "RAY_ADDRESS"  # Ray's own variable: which cluster; by default the one that this machine is part of


class Seat:
    """What an actor runs: it stays, and with it the evaluators that its process has built."""

    def run(self, call: Callable[[], Any]) -> Any:
        return call()


class Ray(Executor):
    """An Executor over actors; `size` of them, as many as the cluster has cores or GPU shares for.

    Raises ConfigError where there is no Ray, or no cluster.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        if util.find_spec("ray") is None:
            raise ConfigError("workers.executor: ray is not installed; pip install 'evosearch[ray]'")
        ray: Any = import_module("ray")
        if not ray.is_initialized():
            try:
                ray.init(address=os.environ.get(ADDRESS, "auto"), log_to_driver=False, logging_level=logging.ERROR)
            except ConnectionError as error:
                raise ConfigError("workers.executor: no Ray cluster here; `ray start --head` begins one") from error
        there, share = ray.cluster_resources(), 1 / max(1, settings.per_device)
        gpus = there.get("GPU", 0.0) if settings.device != "cpu" else 0.0
        room = gpus / share if gpus else there.get("CPU", 1.0) // settings.threads
        self.size = settings.workers or max(1, int(room))
        self._ray = ray
        self._seat = ray.remote(num_cpus=settings.threads, num_gpus=share if gpus else 0, max_restarts=0)(Seat)
        self._lock = threading.RLock()
        self._idle, self._actors = list[Any](), list[Any]()
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        for _ in range(self.size):
            self._start()

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        with self._lock:
            self._waiting.append((future := Future[Any](), partial(call, *arguments, **named)))
        self._give()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Ends the actors at once; the cluster stays."""
        with self._lock:
            for actor in self._actors:
                self._ray.kill(actor)
            self._actors = []

    def _start(self) -> None:
        actor = self._seat.remote()
        with self._lock:
            self._actors.append(actor)
        actor.run.remote(int).future().add_done_callback(partial(self._done, actor, None))  # once it has its place

    def _done(self, actor: Any, future: Future[Any] | None, done: Future[Any]) -> None:
        """An actor has done its job; or it is gone, and another one takes its seat."""
        error = done.exception()
        gone = isinstance(error, self._ray.exceptions.RayActorError)
        with self._lock:
            if actor not in self._actors:
                return
            (self._actors.remove if gone else self._idle.append)(actor)
            if gone:
                threading.Thread(target=self._start, daemon=True).start()  # Ray's own thread must not wait for Ray
        if future is not None and error is None:
            future.set_result(done.result())
        elif future is not None:
            future.set_exception(BrokenExecutor("a node or its actor ended") if gone else error)
        self._give()

    def _give(self) -> None:
        with self._lock:
            while self._idle and self._waiting:
                actor, (future, call) = self._idle.pop(), self._waiting.popleft()
                actor.run.remote(call).future().add_done_callback(partial(self._done, actor, future))
