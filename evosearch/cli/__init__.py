"""The `evolve` command: parses arguments, calls one function, prints.

`evosearch.cli.commands` holds the table of commands; each group's file imports what it needs when it is called, so that
`evolve --help` starts at once. Errors become one line on stderr and an exit code:

    0    done
    1    failed: a run that cannot go on, a disk that refuses, a space without new candidates
    2    wrong usage or input: a flag, a config, a grammar, a task, a file that is not there
    130  interrupted (Ctrl-C); what was evaluated is kept. 143, 129: the same by SIGTERM, SIGHUP
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import TextIO

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
COMPLETION = "_EVOLVE_COMPLETE"  # set by the shell's completion, as typer names it
WORKING = (
    "run",
    "resume",
    "serve",
    "work",
    "train",
    "compress",
    "refine",
    "bench",
    "ablate",
)  # commands whose work matters more than their words


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one `evolve` command and return its exit code; never raises for what a person can cause or cure."""
    from evosearch.cli import output

    _open_streams()
    arguments = sys.argv[1:] if arguments is None else arguments
    with _ending_in_order(), output.for_json_alone() if "--json" in arguments else contextlib.nullcontext():
        return _run(arguments)


def _run(arguments: Sequence[str]) -> int:
    import typer

    from evosearch.cli import output
    from evosearch.cli.commands import tree
    from evosearch.errors import EvosearchError

    out, command = output.target(), tree(next(iter(arguments), ""))
    if os.environ.get("EVOSEARCH_DEBUG"):
        return _code(command(arguments, prog_name="evolve", standalone_mode=False))
    try:
        return _code(command(arguments, prog_name="evolve", standalone_mode=False))
    except EvosearchError as error:
        return _fail(str(error), error.exit_code)
    except typer.TyperException as error:  # a wrong flag, a missing argument
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.message)
            return USAGE
        context = getattr(error, "ctx", None)
        hint = f"; see {context.command_path} --help" if context else ""
        return _fail(f"{error.format_message().rstrip('.')}{_what_is_missing(error)}{hint}", USAGE)
    except Terminated as error:
        return _fail(f"ended by {error}", error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", INTERRUPTED)
    except SystemExit as stop:  # how typer leaves where a pipe is closed, after `evolve list | head` has read enough
        if COMPLETION in os.environ and not stop.code:  # what a shell asks for its completion ends this way
            return DONE
        if not isinstance(stop.__context__, BrokenPipeError):
            return _fail(f"code of your own ended the command: sys.exit({stop.code!r}); raise an error there", FAILED)
        if not _is_closed(out):
            return _fail("a pipe between processes broke; try again, and report it where that does not help", FAILED)
        if next(iter(arguments), "") in WORKING:
            return _fail("stdout was closed before the work was done; what was done is kept", FAILED)
        return DONE
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}", FAILED)
    except Exception as error:  # noqa: BLE001 - the last one: no command ends in a trace, which is one variable away
        what = f"{type(error).__name__}: {error}"
        return _fail(f"internal error: {what}; please report it, with what EVOSEARCH_DEBUG=1 prints", FAILED)


def _open_streams() -> None:
    """Streams that can be written to, whatever the command was started with.

    Where a descriptor of the three is closed, the next file that is opened would get its number, and with it whatever
    a library prints. A locale without our letters is no reason to fail either.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed, as a service starts it
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace" if name == "stdout" else "backslashreplace")


class Terminated(KeyboardInterrupt):
    """Another process asked this one to end. What Ctrl-C gives up in order, workers and files, is given up so too."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


@contextlib.contextmanager
def _ending_in_order() -> Iterator[None]:
    """Have the signals that ask a process to end raise Terminated, where nobody has said what they do."""

    def end(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_IGN)  # the second one would interrupt what the first one has put in order
        raise Terminated(number)

    here = threading.current_thread() is threading.main_thread()
    numbers = [one for one in (signal.SIGTERM, signal.SIGHUP) if here and signal.getsignal(one) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def _is_closed(out: TextIO) -> bool:
    """Whether nobody reads stdout any more; then it is led nowhere, so that the interpreter's last flush is quiet."""
    poll = select.poll()
    poll.register(out.fileno(), select.POLLOUT)
    if not any(event & select.POLLERR for _, event in poll.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
    return True


def _what_is_missing(error: Exception) -> str:
    """What an argument or an option that was not given is, as its help says it; empty of any other mistake.

    By its name, since typer gives this error none that may be imported.
    """
    said = getattr(getattr(error, "param", None), "help", None) if type(error).__name__ == "MissingParameter" else None
    if not said:
        return ""
    return f" ({said[0].lower() if said.split()[0].istitle() else said[0]}{said[1:].rstrip('.')})"


def _code(result: object) -> int:
    return result if isinstance(result, int) else DONE


def _fail(message: str, code: int) -> int:
    from evosearch.report.text import clean

    print(f"evolve: {clean(' '.join(message.split()))}", file=sys.stderr, flush=True)
    return code
