"""The evolve command: what it prints, what it refuses, how it ends."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import typer

from evosearch.cli import DONE, FAILED, INTERRUPTED, USAGE, main, output
from evosearch.cli.commands import tree
from evosearch.cli.search import print_summary
from evosearch.config import Config
from evosearch.cost import Cost
from evosearch.errors import RunError, SpaceExhausted
from evosearch.report import live
from evosearch.report.reading import read_run
from evosearch.score import Score
from evosearch.store.run import Run
from evosearch.watch import Progress, Summary
from tests.journals import append_score
from tests.mistakes import TINY, broken_run

Capture = pytest.CaptureFixture[str]
MODULE = (sys.executable, "-m", "evosearch")


def progress(**changes: Any) -> Progress:
    """A run's progress, three candidates in."""
    three = Progress(
        evaluated=3,
        budget=10,
        best_key="3f9a12bc" + "0" * 24,
        best_fitness=0.9512,
        best_params=41_234,
        rate=1.25,
        seconds_left=5.6,
        failures={},
        duplicates=0,
        known=0,
        recent=(0.1, 0.5, 0.9),
        earned={},
        workers=2,
        phase="search",
    )
    return replace(three, **changes)


def summary(folder: Path) -> Summary:
    return Summary(
        folder=folder,
        evaluated=10,
        distinct=10,
        best_key="3f9a12bc" + "0" * 24,
        best_text="seq(norm,linear(16))",
        fitness=0.9512,
        test_metric={"accuracy": 0.9722},
        baseline={"accuracy": 0.9639},
        seconds=131.0,
        failures={"nan": 2},
        duplicates=4,
        baseline_name="logistic regression",
    )


@dataclass
class Engine:
    """Stands in for evosearch.engine: remembers how it was called."""

    calls: list[tuple[str, Any]] = field(default_factory=list)
    interrupt: bool = False

    def start(
        self, config: Config, folder: Path, watch: Any, why: Sequence[str] = (), task: Any = None, began: float = 0
    ) -> Summary:
        self.calls.append(("start", config))
        return self._search(folder, watch)

    def resume(self, folder: Path, watch: Any, **keywords: Any) -> Summary:
        self.calls.append(("resume", keywords))
        return self._search(folder, watch)

    def _search(self, folder: Path, watch: Any) -> Summary:
        watch.started({"run": str(folder), "task": "digits"})
        watch.progress(progress())
        watch.note("a worker was replaced")
        if self.interrupt:
            folder.mkdir(parents=True)
            raise KeyboardInterrupt
        found = summary(folder)
        watch.finished(found)
        return found


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    stand_in = Engine()
    monkeypatch.setattr("evosearch.engine.start", stand_in.start)
    monkeypatch.setattr("evosearch.engine.resume", stand_in.resume)
    return stand_in


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder, made the working directory."""
    (tmp_path / "evosearch.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EVOSEARCH_RUNS", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("evaluated", "fitness", "again", "said"),
    [
        (10, 0.9512, None, "0.9512"),
        (10, 0.9512, 0.94, "0.9512; 0.9400 when trained again"),
        (10, None, None, "this network was not done within the search"),
        (0, None, 0.55, "no candidate was done within the search; 0.5500 in a training after it"),
        (0, None, None, "no candidate was done within the search"),
    ],
)
def test_the_end_says_what_validation_came_to(
    tmp_path: Path, capsys: Capture, evaluated: int, fitness: float | None, again: float | None, said: str
) -> None:
    """A known network that was still under way may win over candidates that have a score."""
    print_summary(replace(summary(tmp_path), evaluated=evaluated, fitness=fitness, again=again))
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.strip().startswith("validation"))
    assert line.split(maxsplit=1)[1].strip() == said


# --- help ------------------------------------------------------------------------------------------------------------


def test_help_groups_the_commands(capsys: Capture) -> None:
    """`evolve --help` lists the commands under the headings a person looks for, each with a whole sentence."""
    assert main(["--help"]) == DONE
    text = capsys.readouterr().out
    assert "..." not in text.partition("Search:")[2].partition("Options:")[0]
    order = [text.index(word) for word in ("Search", " run ", " resume ", "Results", " best ", "Grammars", " check ")]
    assert order == sorted(order)


@pytest.mark.parametrize("arguments", [[], ["cache"]])
def test_nothing_asked_is_answered_with_help(arguments: list[str], capsys: Capture) -> None:
    """`evolve` alone lists the commands; it is no success, so that a script sees its mistake."""
    assert main(arguments) == USAGE
    assert "Usage: evolve" in capsys.readouterr().out


def test_check_says_the_exact_figures_before_it_draws(
    project: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the weights imply is printed while the samples are still to come; a thousand are drawn unless asked."""
    from evosearch.grammar import check

    (project / "tiny.lark").write_text(TINY)
    draw, seen = check.sampled, list[str]()

    def drawn(*arguments: Any) -> Any:
        seen.append(capsys.readouterr().out)
        return draw(*arguments)

    monkeypatch.setattr(check, "sampled", drawn)
    assert main(["check", "tiny.lark"]) == DONE
    assert "expected size" in seen[0]
    assert "duplicates by text" not in seen[0]
    assert "1000 samples at 3x32x32" in capsys.readouterr().out


def test_version(capsys: Capture) -> None:
    """`evolve --version` is the package's."""
    from evosearch import __version__

    assert main(["--version"]) == DONE
    assert capsys.readouterr().out.strip() == f"evolve {__version__}"


@pytest.mark.parametrize(
    ("instruction", "words", "offered"),
    [
        ("complete_bash", "evolve st", "status"),
        ("complete_bash", "evolve run --bud", "--budget"),
        ("complete_bash", "evolve cache m", "merge"),
        ("source_bash", "", "complete -o default -F _evolve_completion evolve"),
    ],
)
def test_a_shell_is_told_how_to_go_on(
    instruction: str, words: str, offered: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Completion of commands and options; whatever stands on stderr then would stand in a person's line."""
    monkeypatch.setenv("_EVOLVE_COMPLETE", instruction)
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    assert main([]) == DONE
    captured = capsys.readouterr()
    assert offered in captured.out
    assert captured.err == ""


# --- run and resume --------------------------------------------------------------------------------------------------


def test_run_prints_the_road_and_the_result(project: Path, engine: Engine, capsys: Capture) -> None:
    """Without a terminal: plain lines, then the test figure beside the baseline's, then where to look."""
    assert main(["run", "--name", "first"]) == DONE
    out = capsys.readouterr().out
    assert " 3/10  best 0.9512  (3f9a12bc, 41.2 k parameters)  1.2/s  5.6 s left" in out
    assert "test accuracy 0.9722   (logistic regression on the same split: 0.9639)" in out
    assert "2 nan" in out
    assert "evolve best runs/first" in out
    assert "\x1b" not in out


def test_flags_reach_the_config(project: Path, engine: Engine, capsys: Capture) -> None:
    """Every flag of `run` is a key of the configuration."""
    (project / "run.toml").write_text('name = "x"\n[search]\nbudget = 5\npopulation = 4\n')
    flags = (
        "--seed 3 --budget 7 --strategy random --max-params 1000 --max-flops 2000 --epochs 2 --workers 1 --device cpu "
        "--per-device 3 --order arrival --target price"
    )
    assert main(["run", "run.toml", *flags.split(), "--set", "search.tournament=3", "--start", "none"]) == DONE
    [(_, config)] = engine.calls
    assert (config.seed, config.search.budget, config.search.strategy) == (3, 7, "random")
    assert (config.limits.max_params, config.limits.max_flops, config.recipe.epochs) == (1000, 2000, 2)
    assert (config.workers.workers, config.workers.device, config.workers.per_device) == (1, "cpu", 3)
    assert (config.search.order, config.data.target) == ("arrival", "price")
    assert (config.search.population, config.search.tournament, config.seeds) == (4, 3, ())


def test_code_that_exits_is_no_success(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """A person's own code that calls `sys.exit` ends a run with a line that says so, and exit code 1."""
    monkeypatch.setattr("evosearch.engine.start", lambda *_: sys.exit("no licence"))
    assert main(["run"]) == FAILED
    assert "sys.exit('no licence'); raise an error there" in capsys.readouterr().err


def test_a_taken_name_gets_a_number(project: Path, engine: Engine, capsys: Capture) -> None:
    """The config's name is numbered where the folder is there already, so that `make demo` runs again."""
    (project / "run.toml").write_text('name = "demo"\n')
    (project / "runs/demo").mkdir(parents=True)
    assert main(["run", "run.toml"]) == DONE
    assert "runs/demo-2" in capsys.readouterr().out


def test_json_is_all_that_stdout_holds(project: Path, engine: Engine, capsys: Capture) -> None:
    """`--json` leaves stdout to the result; the progress goes to stderr."""
    assert main(["run", "--json"]) == DONE
    captured = capsys.readouterr()
    assert json.loads(captured.out)["test_metric"] == {"accuracy": 0.9722}
    assert "3/10" in captured.err


def test_quiet_prints_the_result_only(project: Path, engine: Engine, capsys: Capture) -> None:
    """`--quiet` says nothing on the way but what went otherwise than asked."""
    assert main(["run", "--quiet"]) == DONE
    captured = capsys.readouterr()
    assert "3/10" not in captured.out + captured.err
    assert "a worker was replaced" in captured.err
    assert "test accuracy" in captured.out


def test_an_interrupted_run_says_how_to_go_on(project: Path, engine: Engine, capsys: Capture) -> None:
    """Ctrl-C ends with 130 and the command that resumes."""
    engine.interrupt = True
    assert main(["run", "--name", "first"]) == INTERRUPTED
    assert capsys.readouterr().err == "evolve: interrupted; go on with: evolve resume runs/first\n"


def test_resume_passes_on_what_was_asked(project: Path, engine: Engine, capsys: Capture) -> None:
    """`resume` finds a run by its name and hands on budget, workers and device."""
    Run.create(project / "runs/first", header={}, files={}).close()
    assert main(["resume", "first", "--budget", "20", "--workers", "1", "--device", "cpu"]) == DONE
    [(_, keywords)] = engine.calls
    wanted = {"budget": 20, "workers": 1, "device": "cpu", "layers": (), "operators": ()}
    assert keywords == {**wanted, "log": None, "time": None, "task": None, "executor": None}


ONLY = '// input: image\nstart: "linear" -> linear16\n'


def test_a_dry_run_tells_the_cost_and_the_first_candidates(project: Path, capsys: Capture) -> None:
    """Three times the forward pass for each example and epoch; the candidates are those that the run begins with."""
    (project / "only.lark").write_text(ONLY)
    arguments = "run --grammar only.lark --epochs 2 --budget 7 --device cpu --dry-run --json"
    assert main(arguments.split()) == DONE
    found = json.loads(capsys.readouterr().out)
    [only] = found["candidates"]
    training = 3 * 2 * 1078 * only["flops"]
    assert found["estimate"].pop("seconds") > 0
    assert found["estimate"].pop("search_seconds") > 0
    assert found["estimate"].pop("processes") >= 1
    assert found["estimate"].pop("measured_flops") == only["flops"]
    assert found["estimate"] == {
        "candidates": 7, "epochs": 2, "examples": 1078, "samples": 100,
        "median_flops": training, "mean_flops": training, "total_flops": 7 * training,
    }  # fmt: skip
    assert only["flops"] == 8 * 2 * 8 * 16 + 2 * 1 * 10  # the layer in each of eight rows, the head on its one channel
    assert main(["run", "--grammar", "only.lark", "--dry-run"]) == DONE
    assert "FLOPs by the median of 100 samples" in capsys.readouterr().out


def test_the_first_candidates_are_those_of_the_run(project: Path, capsys: Capture) -> None:
    from evosearch import engine
    from tests.chaos.sessions import config, words
    from tests.watch import Silent

    settings = config(words(project / "table", letters=3), 8, 3)
    engine.start(settings, project / "run", Silent())
    proposed = [record["text"] for record in Run.open(project / "run").records() if record["kind"] == "proposal"]
    where = ["--grammar", settings.grammar, "--task", settings.task, "--seed", "3", "--budget", "8"]
    assert main(["run", *where, "--dry-run", "--json"]) == DONE
    assert [one["text"] for one in json.loads(capsys.readouterr().out)["candidates"]] == proposed[:5]


# --- errors ----------------------------------------------------------------------------------------------------------


def test_a_fault_of_our_own_is_one_line_too(project: Path, engine: Engine, capsys: Capture) -> None:
    """An unforeseen exception is named and asked to be reported, without a traceback."""

    def faulty(folder: Path, watch: Any) -> Summary:
        raise ZeroDivisionError("division by zero")

    engine._search = faulty  # type: ignore[method-assign]
    assert main(["run"]) == FAILED
    error = capsys.readouterr().err
    assert error.startswith("evolve: internal error: ZeroDivisionError")
    assert error.count("\n") == 1


def test_a_search_that_finds_nothing_fails(project: Path, engine: Engine, capsys: Capture) -> None:
    """What the engine raises leaves with its own exit code, and text from outside cannot move the cursor."""

    def exhausted(folder: Path, watch: Any) -> Summary:
        raise SpaceExhausted("none within max_params=10;\nraise it \x1b[2J")

    engine._search = exhausted  # type: ignore[method-assign]
    assert main(["run", "--max-params", "10"]) == FAILED
    assert capsys.readouterr().err == "evolve: none within max_params=10; raise it [2J\n"


def test_a_command_alone_is_the_command_among_all() -> None:
    """One that is named is made without the others; whatever names none gets them all."""
    tree.cache_clear()  # a command keeps the help option of the first context that it was asked in
    everything = tree()
    for name in everything.commands:
        alone = tree(name)
        assert list(alone.commands) == [name]
        both = [whole.commands[name] for whole in (everything, alone)]
        assert len({one.get_help(typer.Context(one, info_name=name)) for one in both}) == 1
        assert [parameter.name for parameter in alone.params] == [parameter.name for parameter in everything.params]
    assert list(tree("--version").commands) == list(tree("statu").commands) == list(everything.commands)


@pytest.mark.parametrize("arguments", ["--help", "sample einspace -n 300 --input 1x8x8", "list --json"])
def test_a_closed_pipe_is_no_error(arguments: str, project: Path) -> None:
    """`evolve list | true` ends quietly and well: its reader has what it wanted."""
    command = f"{' '.join(MODULE)} {arguments} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.stderr, done.returncode) == ("", DONE)


@pytest.mark.parametrize(
    ("step", "arguments"),
    [
        ("engine.start", "run --task fit:fitness --grammar word.lark"),
        ("engine.refinement.milliseconds", "refine norm --latency 3ms"),
    ],
)
def test_a_search_that_nobody_reads_fails(step: str, arguments: str, project: Path) -> None:
    """`evolve run | true` stops before its end, so that it is no success."""
    (project / "talks.py").write_text(
        "import sys\nimport evosearch.engine.refinement\nfrom evosearch import cli, engine\n"
        f"{step} = lambda *_: print('x' * 10**6, flush=True)\n"
        f"sys.exit(cli.main({arguments.split()}))\n"
    )
    (project / "fit.py").write_text("def fitness(text, derivation, seed):\n    return 0.0\n")
    (project / "word.lark").write_text('// input: none\nstart: "a" | "b"\n')
    command = f"{sys.executable} talks.py | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == FAILED
    assert done.stderr == "evolve: stdout was closed before the work was done; what was done is kept\n"


def test_a_poor_locale_is_no_error(project: Path) -> None:
    """Where stdout cannot say a letter there is another, and JSON has it escaped."""
    command = [*MODULE, "show", "norm", "--grammar", "mlp"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert "?? norm" in done.stdout
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, env=environment, check=True)
    assert "\u2514" in json.loads(done.stdout)["nodes"][-1]["drawn"]


# --- views -----------------------------------------------------------------------------------------------------------


def test_plain_lines_come_when_something_is_better_or_time_has_passed() -> None:
    """The plain view prints a better candidate at once, and otherwise one line in a while."""
    import io

    out, now = io.StringIO(), [0.0]
    view = live.PlainView(out, clock=lambda: now[0], every=5.0)

    def lines(**changes: Any) -> int:
        view.progress(progress(**changes))
        return out.getvalue().count("\n")

    assert lines(evaluated=1) == 1
    assert lines(evaluated=2) == 1
    now[0] = 4.9
    assert lines(evaluated=3) == 1
    now[0] = 5.1
    assert lines(evaluated=4) == 2
    assert lines(evaluated=5, best_key="b" * 32) == 3
    assert lines(evaluated=10, best_key="b" * 32) == 4


def test_a_line_says_what_part_of_an_evaluation_the_best_is_of() -> None:
    """Where there are rungs: a longer one gets a line of its own, though the best network is the same."""
    import io

    out = io.StringIO()
    view = live.PlainView(out, clock=lambda: 0.0)
    for by in ("", "3 of 9 epochs", "3 of 9 epochs", "9 of 9 epochs"):
        view.progress(progress(best_by=by))
    lines = [line.partition("best ")[2].partition("  (")[0] for line in out.getvalue().splitlines()]
    assert lines == ["0.9512", "0.9512 by 3 of 9 epochs", "0.9512 by 9 of 9 epochs"]


def test_starting_workers_are_said_once() -> None:
    """Before the first score there is nothing to repeat."""
    import io

    out, now = io.StringIO(), [0.0]
    view = live.PlainView(out, clock=lambda: now[0])
    for _ in range(5):
        view.progress(progress(evaluated=0, best_key=None, best_fitness=None))
        now[0] += 60
    assert out.getvalue() == "starting the workers\n"


def test_a_resumed_run_does_not_repeat_itself_while_its_workers_start() -> None:
    """Where nothing has changed since the last line, no line is printed, however long it takes."""
    import io

    out, now = io.StringIO(), [0.0]
    view = live.PlainView(out, clock=lambda: now[0])
    for _ in range(5):
        view.progress(progress(rate=0.0, seconds_left=None))
        now[0] += 60
    assert out.getvalue().count("\n") == 1


@pytest.mark.parametrize("width", [80, 200])
def test_the_panel_fits(width: int) -> None:
    """The live panel takes 80 columns where there are so many, and no more than 24 lines, whatever the numbers."""
    from rich.console import Console

    console = Console(width=width, height=24, force_terminal=True, color_system=None, record=True)
    view = live.LiveView(console)
    view.title = "runs/" + "x" * 200
    many = {f"mutation_with_a_long_name_{n}": (1000 + n, 0.123) for n in range(20)}
    failures = {"crashed": 1000, "invalid": 20, "nan": 12345, "oom": 3, "over_budget": 7, "stopped": 9, "timeout": 1}
    view._last = progress(
        evaluated=99_999,
        budget=100_000,
        seconds_left=1e6,
        failures=failures,
        duplicates=10**6,
        known=10**6,
        recent=tuple(n / 50 for n in range(50)),
        earned=many,
        workers=128,
        device="cuda",
        memory=(900 << 30, 1152 << 30),
    )
    console.print(view._panel())
    lines = console.export_text().splitlines()
    assert any("128 on cuda, 900.0 of 1152.0 GiB" in line for line in lines)
    assert len(lines) <= 24
    assert max(map(len, lines)) == min(80, width - 4)  # room for ^C, which a terminal writes behind the last


def test_each_drawing_of_the_panel_is_one_write() -> None:
    """What is erased and what takes its place reach the terminal together, so that nothing flickers."""
    import io

    from rich.console import Console

    writes: list[str] = []

    class Screen(io.StringIO):
        def write(self, text: str) -> int:
            writes.append(text)
            return len(text)

    console = Console(file=Screen(), width=80, height=24, force_terminal=True, color_system=None)
    view = live.LiveView(console)
    view.started({"run": "runs/first"})
    view.progress(progress())
    assert view._live is not None
    view._live.refresh()
    writes.clear()
    view._live.refresh()
    view.close()
    drawn = writes[0]
    height = drawn.count("│") // 2 + 2
    assert drawn.count("\x1b[2K") == height  # each line of the panel is erased,
    assert drawn.count("\x1b[1A") == height - 1  # from the last one up,
    assert drawn.endswith("╯")  # and drawn again to its end
    assert not re.search(r"\x1b\[(?:[0-9;]*[HJ]|\?1049)", drawn)  # the screen is never cleared


def test_the_panel_says_no_rate_before_there_is_one() -> None:
    """Before the first score and after the last one, neither a rate of zero nor a time of zero is shown."""
    from rich.console import Console

    console = Console(width=80, color_system=None, record=True)
    view = live.LiveView(console)
    view._last = progress(evaluated=0, rate=0.0, seconds_left=0.0)
    console.print(view._panel())
    shown = console.export_text()
    assert " 0/" in shown
    assert "left" not in shown
    assert "0.0/min" not in shown


def test_facts_are_broken_at_blanks_on_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line that a terminal would break goes on under its own text; a long word and a pipe get it whole."""
    monkeypatch.setenv("COLUMNS", "40")
    facts = [("saved", "architecture.arch, metrics.json, model.py"), ("text", "conv(64,1);" * 5)]
    output.facts(facts)
    assert max(map(len, capsys.readouterr().out.splitlines())) > 40
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    output.facts(facts)
    assert capsys.readouterr().out.splitlines() == [
        "saved  architecture.arch, metrics.json,",
        "       model.py",
        "text   " + "conv(64,1);" * 5,
    ]


@pytest.mark.parametrize(
    ("values", "bars"),
    [
        ((0.0, 1.0), "▁█"),
        ((), ""),
        ((0.5, 0.5), "▁▁"),
        ((0.0, float("nan"), 0.5, 1.0), "▁ ▅█"),
        ((9.0, *(0.5,) * 40), "▁" * 40),
    ],
)
def test_sparkline(values: tuple[float, ...], bars: str) -> None:
    """Least value lowest bar, greatest value highest; not a number, a gap."""
    assert live.sparkline(values) == bars


# --- reading commands ------------------------------------------------------------------------------------------------


CONFIG = """\
grammar = "tiny"
task = "digits"
seed = 0
[search]
budget = 3
strategy = "aging"
objectives = ["accuracy"]
"""


@pytest.fixture
def finished(project: Path) -> Path:
    """A small run, written by hand: three candidates, one of them failed."""
    folder = project / "runs/first"
    header = {"grammar_file": "tiny.lark", "outputs": 10}
    with Run.create(folder, header=header, files={"config.toml": CONFIG}) as run:
        for number, (letter, status, accuracy) in enumerate([("a", "ok", 0.5), ("b", "nan", 0.0), ("c", "ok", 0.9)]):
            key, text = letter * 32, f"seq(norm,linear({16 + number}))"
            made = {"operator": "redraw", "parents": [0]} if number == 2 else {"operator": "x", "parents": []}
            run.append_proposal({"number": number, "key": key, "text": text, "seed": 1, **made})
            objectives = {"accuracy": accuracy, "params": 100.0 + number} if status == "ok" else {}
            score = Score(key, status, objectives, cost=Cost(params=100 + number), seconds=1.0, curve=(accuracy,))  # type: ignore[arg-type]
            append_score(run, {"number": number, **score.pack()})
    return folder


def test_status_says_where_a_run_stands(finished: Path, capsys: Capture) -> None:
    """`status` counts, and names the best so far; by name and by folder alike."""
    assert main(["status", "first"]) == DONE
    text = capsys.readouterr().out
    assert "3 of 3" in text
    assert "1 nan" in text
    assert "0.9000  cccccccc  102 parameters" in text
    assert main(["status", str(finished), "--json"]) == DONE
    state = json.loads(capsys.readouterr().out)
    assert (state["evaluated"], state["failures"], state["best"]["key"]) == (3, {"nan": 1}, "c" * 32)
    assert state["phase"] == "stopped"


def test_list_shows_every_run(finished: Path, capsys: Capture) -> None:
    """One line a run; one that cannot be read is listed as such."""
    broken_run(finished.parent.parent)
    assert main(["list", "--json"]) == DONE
    phases = {Path(run["folder"]).name: run["phase"] for run in json.loads(capsys.readouterr().out)}
    assert phases == {"first": "stopped", "broken": "unreadable"}
    assert main(["list"]) == DONE
    assert "first" in capsys.readouterr().out


def test_best_prints_the_network(finished: Path, capsys: Capture) -> None:
    """`best` gives key, text and figures; as JSON too."""
    assert main(["best", "first"]) == DONE
    assert "seq(norm,linear(18))" in capsys.readouterr().out
    assert main(["best", "first", "--json"]) == DONE
    assert json.loads(capsys.readouterr().out)["fitness"] == 0.9


def test_a_running_run_is_seen_as_such(finished: Path, capsys: Capture) -> None:
    """The lock of a live process tells; a lock file left behind does not."""
    with Run.open(finished, write=True):
        assert main(["status", "first", "--json"]) == DONE
        assert json.loads(capsys.readouterr().out)["phase"] == "running"
    (finished / "LOCK").write_text("pid 1\n")
    assert main(["status", "first", "--json"]) == DONE
    assert json.loads(capsys.readouterr().out)["phase"] == "stopped"


def test_verify_names_what_does_not_check(finished: Path, capsys: Capture) -> None:
    """`verify` exits 1, naming the file and the cure; as JSON too."""
    with (finished / "journal.msgpack").open("ab") as journal:
        journal.write(b"\x07\x00")
    assert main(["verify", "first"]) == FAILED
    text = capsys.readouterr().out
    assert "runs/first/journal.msgpack: offset" in text
    assert "evolve repair" in text
    assert main(["verify", "first", "--json"]) == FAILED
    assert json.loads(capsys.readouterr().out)[0]["file"] == "journal.msgpack"


def test_verify_does_not_blame_a_run_for_what_was_given(project: Path, capsys: Capture) -> None:
    """A folder of operators that is not there is the caller's mistake, not the journal's."""
    (project / "bits.lark").write_text('// input: none\nstart: bit bit\nbit: "0" -> zero | "1" -> one\n')
    (project / "bits.csv").write_text("arch,fitness\n00,0\n01,1\n10,1\n11,2\n")
    arguments = "run --grammar bits.lark --task table:bits.csv --budget 3 --name bits --set search.population=2"
    assert main([*arguments.split(), "--quiet"]) == DONE
    assert main(["verify", "bits"]) == DONE
    capsys.readouterr()
    assert main(["verify", "bits", "--operators", "nowhere"]) == USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "nowhere: no such folder of operators" in captured.err


def test_why_shows_what_an_operator_changed(finished: Path, capsys: Capture) -> None:
    """`why` names the parent and its fitness, marks the change, and gives a failed one's error and log."""
    assert main(["why", "first", "ccc"]) == DONE
    text = capsys.readouterr().out
    assert "made by    redraw of 0 (aaaaaaaa, accuracy 0.5000)" in text
    assert "seq(norm,linear([-16-]{+18+}))" in text
    assert "came to    accuracy 0.9000" in text
    assert "0.9000 to 0.9000, 1 epoch\n" in text
    (finished / "candidates" / ("b" * 32)).mkdir(parents=True)
    (finished / "candidates" / ("b" * 32) / "error.txt").write_text("loss is not finite\n")
    assert main(["why", "first", "b"]) == DONE
    text = capsys.readouterr().out
    assert "came to    nan" in text
    assert "loss is not finite" in text
    (finished / "candidates" / ("b" * 32) / "log").write_text("Traceback\n  in step 3: \x1b[2Jnot finite\n")
    assert main(["why", "first", "b"]) == DONE
    assert "Traceback\n  in step 3: [2Jnot finite\n" in capsys.readouterr().out


def test_lineage_goes_from_the_sample_to_the_candidate(finished: Path, capsys: Capture) -> None:
    """`lineage` lists ancestors first, each with its gain over the one before."""
    assert main(["lineage", "first", "c"]) == DONE
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert rows == [["0", "aaaaaaaa", "x", "0.5000", "100"], ["2", "cccccccc", "redraw", "0.9000", "+0.4000", "102"]]


def test_pareto_keeps_what_nothing_beats(finished: Path, capsys: Capture) -> None:
    """`pareto` drops a candidate that another beats in accuracy and size; failed ones are not on it."""
    assert main(["pareto", "first", "--json"]) == DONE
    assert [one["number"] for one in json.loads(capsys.readouterr().out)] == [0, 2]
    assert main(["pareto", "first", "--against", "watts"]) == USAGE
    assert "there are accuracy, activations, flops, modules, params" in capsys.readouterr().err


def test_pareto_tells_seconds_of_whatever_was_evaluated(project: Path, capsys: Capture) -> None:
    """Those of a function too, which has no such objective; below a second they are no zeros."""
    header = {"grammar_file": "tiny.lark"}
    with Run.create(project / "runs/first", header=header, files={"config.toml": CONFIG}) as run:
        for number, (letter, value, seconds) in enumerate([("a", 0.9, 0.25), ("b", 0.5, 0.125), ("c", 0.4, 0.5)]):
            made: dict[str, Any] = {"operator": "x", "parents": []}
            run.append_proposal({"number": number, "key": letter * 32, "text": letter, "seed": 1, **made})
            score = Score(letter * 32, "ok", {"accuracy": value}, seconds=seconds)
            append_score(run, {"number": number, **score.pack()})
    assert main(["pareto", "first", "--against", "seconds"]) == DONE
    rows = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert rows == [["accuracy", "seconds"], ["0.5000", "0.125"], ["0.9000", "0.25"]]
    assert main(["pareto", "first"]) == USAGE
    assert "--against params: there are accuracy, seconds" in capsys.readouterr().err


def test_why_shows_the_text_where_nothing_was_changed(finished: Path, capsys: Capture) -> None:
    """Of a candidate on its next rung, which is its parent."""
    with Run.open(finished, write=True) as run:
        made: dict[str, Any] = {"operator": "promote", "parents": [2], "fidelity": 1.0, "key": "d" * 32, "seed": 1}
        run.append_proposal({"number": 3, "text": "seq(norm,linear(18))", **made})
    assert main(["why", "first", "ddd"]) == DONE
    told = capsys.readouterr().out
    assert "change" not in told
    assert re.search(r"(?m)^text +seq\(norm,linear\(18\)\)$", told)


def test_a_key_is_found_by_its_first_digits(finished: Path, capsys: Capture) -> None:
    """A key that none or several candidates have is an error that says so."""
    assert main(["why", "first", "f"]) == FAILED
    assert "no candidate's key begins with 'f'" in capsys.readouterr().err
    with pytest.raises(RunError, match="3 keys begin with ''"):
        read_run(finished).candidate("")


# --- grammars --------------------------------------------------------------------------------------------------------


def test_sample_draws_the_same_again(project: Path, capsys: Capture) -> None:
    """Equal seeds draw equal sentences, within the limits asked for."""
    (project / "tiny.lark").write_text(TINY)

    def drawn(*more: str) -> list[dict[str, Any]]:
        assert main(["sample", "tiny.lark", "-n", "4", "--input", "1x8x8", "--json", *more]) == DONE
        found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
        return found

    assert drawn() == drawn()
    assert len(drawn()) == 4
    assert {row["params"] for row in drawn("--max-params", "500")} <= set(range(501))


def test_show_draws_a_tree(project: Path, capsys: Capture) -> None:
    """`show TEXT` gives each layer with its output shape and parameters: norm over 1 channel, linear 8 -> 16."""
    (project / "tiny.lark").write_text(TINY)
    arguments = ["show", "seq(norm,linear(16))", "--grammar", "tiny.lark", "--input", "1x8x8"]
    assert main(arguments) == DONE
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[1:4]] == [
        ["input", "1x8x8"],
        ["norm", "1x8x8", "2"],
        ["linear", "16", "1x8x16", "144", "2,048"],
    ]
    assert main([*arguments, "--json"]) == DONE
    assert json.loads(capsys.readouterr().out)["params"] == 146
    assert main([*arguments, "--svg", "net.svg"]) == DONE
    assert (project / "net.svg").read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("text", "grammar"),
    [
        ("maxpool;avgpool", "tiny_cnn"),
        ("norm", "mlp"),
        ("|none~0|+|none~0|none~1|+|nor_conv_1x1~0|avg_pool_3x3~1|skip_connect~2|", "nasbench201"),
        (";".join(["conv(16,3)"] * 40), "tiny_cnn"),
    ],
)
def test_show_takes_any_text(text: str, grammar: str, project: Path, capsys: Capture) -> None:
    """A sentence is one whatever it is made of, and however long."""
    assert main(["show", text, "--grammar", grammar, "--json"]) == DONE
    assert json.loads(capsys.readouterr().out)["text"] == text


def test_show_tells_a_run_from_a_text(finished: Path, capsys: Capture) -> None:
    """A run may lie where the path has a bracket; one whose grammar is gone asks for it."""
    folder = finished.rename(finished.with_name("first (copy)"))
    (finished.parent.parent / "tiny.lark").write_text(TINY)
    assert main(["show", str(folder), "aaa", "--grammar", "tiny.lark", "--input", "1x8x8"]) == DONE
    assert "linear" in capsys.readouterr().out
    assert main(["show", str(folder), "ccc"]) == FAILED
    error = capsys.readouterr().err
    assert "grammar is gone" in error
    assert "--grammar" in error


def test_check_shows_the_place(project: Path, capsys: Capture) -> None:
    """A wrong grammar: file, line and column, then the line with a caret under the column; exit 2."""
    (project / "bad.lark").write_text(TINY.replace('"norm" -> norm', '"norm" -> nrom'))
    assert main(["check", "bad.lark"]) == USAGE
    first, *rest = capsys.readouterr().err.splitlines()
    assert "bad.lark:3:" in first
    assert "nrom" in first
    assert "norm" in first
    assert rest[-1].strip() == "^" if rest else True


def test_init_gives_a_project_that_works(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `init` writes is checked, sampled and read as a config."""
    assert main(["init", str(tmp_path / "new")]) == DONE
    monkeypatch.chdir(tmp_path / "new")
    assert main(["check", "grammars/first.lark"]) == DONE
    assert main(["sample", "first", "--input", "1x8x8"]) == DONE
    assert main(["run", "evosearch.toml", "--dry-run"]) == DONE


def test_bench_compares_with_random_search(project: Path, capsys: Capture) -> None:
    """Over all sixteen sentences of a table, every search finds the best one; RI is against the mean of them all."""
    (project / "bits.lark").write_text('// input: none\nstart: bit bit bit bit\nbit: "0" -> zero | "1" -> one\n')
    sentences = [f"{number:04b}" for number in range(16)]
    rows = [f"{text},{text.count('1')}" for text in sentences]
    (project / "bits.csv").write_text("\n".join(["arch,fitness", *rows]) + "\n")
    arguments = "bench table:bits.csv --grammar bits.lark --seeds 2 --budgets 16 --jobs 1 --csv out.csv --svg out.svg"
    assert main([*arguments.split(), "--policies", "uniform", "--json"]) == DONE
    found = {row["entrant"]: row["mean"] for row in json.loads(capsys.readouterr().out)}
    assert found["aging uniform"] == 4.0
    assert found["random"] <= 4.0
    assert (project / "out.csv").read_text().count("\n") == 3
    assert (project / "out.svg").read_text().startswith("<svg")


def test_no_colour_where_none_is_wanted() -> None:
    """NO_COLOR is respected even on a terminal."""
    done = subprocess.run(
        [*MODULE, "--help"], capture_output=True, text=True, check=True, env={**os.environ, "NO_COLOR": "1"}
    )
    assert "\x1b[3" not in done.stdout
