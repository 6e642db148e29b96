"""What can go wrong, as one tree. Each message says what, where, and what to do.

    EvosearchError                 the base; the command line prints it as one line and exits with `exit_code`
    ├── UsageError                 wrong input from a person: a flag, a config, a file that is not there   (exit 2)
    │   ├── ConfigError            a configuration key or value
    │   ├── GrammarError           a grammar file; carries file, line, column and the caret line
    │   │   └── LayerError         a grammar's word that no layer answers to, or with the wrong arguments
    │   ├── ArchitectureError      an architecture text: not in the language, or its shapes do not fit
    │   │   └── ShapeError         a layer's rule does not hold at this input shape
    │   ├── CandidateRefused       a candidate from outside that a search does not take: known, or over a limit
    │   ├── OperatorError          an operator file that cannot be loaded or breaks its contract
    │   └── TaskError              a task or its data: missing, torn, of the wrong kind
    ├── SpaceExhausted             no new candidate found, or none within a limit                          (exit 1)
    ├── RunError                   a run folder that cannot be used                                        (exit 1)
    │   ├── RunExists              there is something already where a new one should be
    │   ├── RunLocked              another live process writes it
    │   ├── RunCorrupt             a frame, checksum or digest that does not check
    │   └── RunChanged             the run's grammar, operators, task or recipe are not those given now
    ├── WorkerError                no worker process can start, or they keep dying before any work              (exit 1)
    ├── StorageError               the disk refused: full, read-only, torn                                 (exit 1)
    └── ExportError                a layer that an export format cannot say                                (exit 1)

A candidate that fails is not an exception: it is a Score with a status, and the search learns from it.
"""

from __future__ import annotations


class EvosearchError(Exception):
    """Base of all errors that a user can cause or cure."""

    exit_code = 1


class UsageError(EvosearchError):
    exit_code = 2


class ConfigError(UsageError):
    pass


class GrammarError(UsageError):
    """A mistake in a grammar file.

    `str(error)` is one line, `file:line:column: message`; `caret` is the source line with a caret under the column.
    """

    def __init__(self, message: str, *, file: str = "", line: int = 0, column: int = 0, source_line: str = "") -> None:
        self.message, self.file, self.line, self.column, self.source_line = message, file, line, column, source_line
        where = ":".join(str(part) for part in (file, line, column) if part)
        super().__init__(f"{where}: {message}" if where else message)

    @property
    def caret(self) -> str:
        """The source line and, below it, a caret under the column; empty where the mistake has no line."""
        if not self.source_line or not self.column:
            return ""
        return f"{self.source_line}\n{' ' * (self.column - 1)}^"


class LayerError(GrammarError):
    pass


class ArchitectureError(UsageError):
    """An architecture text that is not in the language, or whose shapes do not fit.

    line, column, caret: where, and the source line with a caret under the column; empty where the text is not to blame.
    """

    line: int = 0
    column: int = 0
    caret: str = ""


class ShapeError(ArchitectureError):
    """A layer's rule does not hold at an input shape. The sampler takes it as 'try the next alternative'.

    Raised with a template and its values, put together only when shown: the sampler raises thousands a second and
    shows none. Tuples of sizes are shown as 3x32x32.
    """

    def __str__(self) -> str:
        template, *values = self.args
        shown = ["x".join("*" if s is None else str(s) for s in v) if isinstance(v, tuple) else v for v in values]
        return str(template).format(*shown) if values else str(template)


class CandidateRefused(UsageError):
    """known: the key of the candidate that it is, where the run has it already."""

    def __init__(self, message: str, *, known: str = "") -> None:
        self.known = known
        super().__init__(message)


class OperatorError(UsageError):
    pass


class TaskError(UsageError):
    pass


class SpaceExhausted(EvosearchError):
    pass


class RunError(EvosearchError):
    pass


class RunExists(RunError):
    pass


class RunLocked(RunError):
    pass


class RunCorrupt(RunError):
    pass


class RunChanged(RunError):
    pass


class WorkerError(EvosearchError):
    pass


class StorageError(EvosearchError):
    pass


class ExportError(EvosearchError):
    pass
