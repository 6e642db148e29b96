"""An evaluator of texts that say what shall happen. Apart from the tests, which take long to load in each worker."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from evosearch.errors import TaskError
from evosearch.score import Score
from evosearch.workers import Evaluation, Job, Resources


@dataclass(frozen=True)
class Accidents:
    """Evaluates texts that say what shall happen. `marks`: a folder where a text can leave its worker's pid."""

    marks: str = ""
    broken: str = ""

    def build(self, resources: Resources) -> Callable[[Job], Evaluation]:
        if self.broken == "error":
            raise TaskError("no such task")
        if self.broken == "exit":
            print("the disk is on fire", file=sys.stderr)
            os._exit(3)

        def evaluate(job: Job) -> Evaluation:
            word, _, argument = job.text.partition(" ")
            if self.marks:
                with Path(self.marks, f"{job.number}").open("a") as file:
                    file.write(f"{os.getpid()}\n")
            if word == "say":
                print(argument)
                return Evaluation(Score(job.key, "crashed", error="said it"), "Traceback")
            if word == "raise":
                raise ValueError(argument)
            if word == "sleep":
                time.sleep(float(argument))
            elif word == "exit":
                print("going now")
                os._exit(int(argument))
            elif word == "abort":
                os.abort()
            elif word == "kill":
                os.kill(os.getpid(), int(argument))
            elif word == "allocate":
                hoard = []
                while True:
                    hoard.append(b"x" * (1 << 25))
            elif word == "linger":
                threading.Thread(target=time.sleep, args=(600,)).start()  # which the exit of its process waits for
                return Evaluation(Score(job.key, "crashed", error="CUDA error: an illegal memory access"))
            elif word == "orphan":
                child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
                Path(argument).write_text(str(child.pid))
                os._exit(1)
            return Evaluation(Score(job.key, "ok", {"accuracy": job.number / 100}, seed=job.seed))

        return evaluate
