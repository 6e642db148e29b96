"""A search that another program drives: what it proposes is a candidate like any other, whatever it says or does."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from evosearch import engine
from evosearch.cli import DONE, USAGE, main
from evosearch.report.reading import read_run
from evosearch.search.proposal import OUTSIDE
from evosearch.serving import Dialogue, serve
from evosearch.store.run import CHECKPOINT_FILE, PREVIOUS_FILE, Run
from evosearch.study import Study
from tests.conftest import ROOT

WORDS = '// input: none\nstart: word+ // more=0.8\nword: "a" | "b"\n%import common.WS\n%ignore WS\n'
INLINE: dict[str, Any] = {"pool": "inline"}
SEARCH: dict[str, Any] = {"budget": 30, "population": 5, "tournament": 2}


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVOSEARCH_CACHE", str(tmp_path / "ledger"))
    monkeypatch.chdir(tmp_path)
    Path("words.lark").write_text(WORDS)


def worth(text: str) -> float:
    return float(text.count("a")) - 0.5 * text.count("b")


def count(text: str, derivation: object, seed: int) -> float:
    return worth(text)


def study(name: str, **search: Any) -> Study:
    """A new one of sentences that the test evaluates."""
    return Study(input="none", grammar="words.lark", folder=name, search={**SEARCH, **search})


def said(to: Study, *requests: dict[str, Any] | bytes) -> list[Any]:
    """The answers to requests, behind the first line; the study is closed."""
    answers: list[Any] = []
    lines = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in requests]
    with to:
        assert serve(to, lines, answers.append) == 0
    json.dumps(answers, allow_nan=False)
    return answers[1:]


def ask(number: int) -> list[dict[str, Any]]:
    return [{"op": "ask"}] * number


def propose(text: str, **more: Any) -> dict[str, Any]:
    return {"op": "propose", "text": text, **more}


def tell(number: int, value: float) -> dict[str, Any]:
    return {"op": "tell", "number": number, "value": value}


def test_driven_by_lines_it_finds_what_a_run_finds_also_when_it_is_begun_again() -> None:
    """Three programs one after another, the second of which is gone without a word: the journal of one run."""
    whole = Study(task=count, grammar="words.lark", folder="whole", search=SEARCH, workers=INLINE)
    whole.optimize(progress=False)
    there: Study = study("asked")
    for begun in range(3):
        lines: list[bytes] = []
        answers: list[Any] = []

        def listen(answer: Any, lines: list[bytes] = lines, answers: list[Any] = answers) -> None:
            answers.append(answer)
            number = answer.get("number")
            if number is not None and len(answers) < 25:
                lines.append(json.dumps(tell(number, worth(answer["text"]))).encode())
            elif "best" in answer:
                lines.append(b'{"op": "ask"}')

        lines.append(b'{"op": "ask"}')
        assert serve(there, iter(lambda lines=lines: lines.pop(0) if lines else b"", b""), listen) == 0  # type: ignore[misc]
        if begun == 1:
            there.session.run.close()  # killed: no checkpoint
            (Path("asked") / CHECKPOINT_FILE).unlink()
        else:
            there.close()
        there = Study.resume("asked")
    assert [one.text for one in read_run(Path("asked")).candidates] == [row["text"] for row in whole.rows()]
    assert engine.verify(Path("asked")) == []
    assert answers[-1]["why"] == "budget"


def test_what_is_proposed_is_checked_deduplicated_limited_and_budgeted() -> None:
    """A refusal says why and changes nothing; what is taken is told, counted and bred from like any other."""
    there = Study(input="none", grammar="words.lark", folder="run", search={**SEARCH, "budget": 4, "lookahead": 20},
                  limits={"max_nodes": 12})  # fmt: skip
    first, *answers = said(
        there, *ask(1), propose("abc", id=7), propose("a" * 40), propose("abab"), propose("a b a b", id="x"),
        tell(1, 1.5), propose("abab"), propose("aba", parents=[1]), propose("ba", parents=[9]), *ask(2),
        {"op": "status"},
    )  # fmt: skip
    wrong, large, taken, twice, told, thrice, child, strange, last, none, status = answers
    assert first["number"] == 0
    assert wrong["id"] == 7
    assert wrong["error"]["kind"] == "architecture"
    assert (wrong["error"]["line"], wrong["error"]["column"]) == (1, 3)
    assert large["error"] == {"kind": "refused", "message": "it is over the limit max_nodes=12; propose a smaller one"}
    assert (taken["number"], taken["operator"], taken["text"]) == (1, OUTSIDE, "abab")
    assert twice["known"] == {"number": 1, "key": taken["key"], "status": "waiting"}
    assert twice["id"] == "x"
    assert told["evaluated"] == 1
    assert told["best"]["text"] == "abab"
    assert thrice["known"]["objectives"] == {"fitness": 1.5}
    assert (child["number"], child["parents"]) == (2, [1])
    assert "parent 9" in strange["error"]["message"]
    assert last["number"] == 3
    assert none["why"] == "budget"
    assert (status["proposed"], status["budget"], status["waiting"]) == (4, 4, [0, 2, 3])
    assert [one.parents for one in read_run(Path("run")).candidates] == [(), (), (1,), ()]


@pytest.mark.parametrize(
    ("strategy", "order"),
    [
        ("aging", "proposal"),
        ("aging", "arrival"),
        ("random", "proposal"),
        ("local", "proposal"),
        ("nsga2", "arrival"),
        pytest.param("predictor", "proposal", marks=pytest.mark.slow),
    ],
)
def test_a_search_that_was_fed_goes_on_from_its_journal_as_if_nothing_had_been(strategy: str, order: str) -> None:
    """Asked, fed and told in any order; then from the checkpoint, and from the journal alone, the same candidates."""
    objectives = ["fitness", "-length"] if strategy == "nsga2" else []
    there = study("run", strategy=strategy, order=order, objectives=objectives, budget=50)
    rng, out = np.random.default_rng(3), dict[int, str]()

    def outcome(text: str) -> dict[str, float]:
        return {"fitness": worth(text), **({"length": float(len(text))} if objectives else {})}

    refused, talk = 0, Dialogue(there)
    with there:
        for step in range(70):
            if step == 30:
                there.session.save()
            if out and rng.random() < 0.5:
                number = int(rng.choice(sorted(out)))
                assert "error" not in heard(talk, {"op": "tell", "number": number, "value": outcome(out.pop(number))})
            else:
                text = "".join(rng.choice(["a", "b"], int(rng.integers(1, 6))))
                answer = heard(talk, propose(text) if rng.random() < 0.5 else {"op": "ask"})
                refused += "known" in answer
                if answer.get("number") is not None:
                    out[answer["number"]] = answer["text"]
        assert refused
        state = there.session.search.state()
    assert engine.verify(Path("run")) == []
    for gone in ((), (CHECKPOINT_FILE, PREVIOUS_FILE)):
        for name in gone:
            (Path("run") / name).unlink(missing_ok=True)
        again = Study.resume("run")
        assert again.session.search.state() == state
        again.session.run.close()


def heard(there: Dialogue, request: dict[str, Any]) -> Any:
    """The answer to one request."""
    answers: list[Any] = []
    assert there.answer(json.dumps(request).encode(), answers.append) == 0
    return answers[0]


NO_REQUESTS: list[tuple[bytes, str]] = [
    (b"ask", "no line of JSON: "),
    (b'{"op": "ask"', "no line of JSON: "),
    (b"\xff\xfe", "no line of JSON: "),
    (b"[" * 100_000, "no line of JSON: "),
    (b'"ask"', '"op" is ask, propose, tell, evaluate or status'),
    (b"[]", '"op" is ask, propose, tell, evaluate or status'),
    (b'{"ask": 1}', '"op" is ask, propose, tell, evaluate or status'),
    (b'{"op": "eval"}', '"op" is ask, propose, tell, evaluate or status'),
    (b'{"op": ["ask"]}', '"op" is ask, propose, tell, evaluate or status'),
    (b'{"op": "ask", "count": 2}', "ask: count: "),
    (b'{"op": "propose"}', "propose: text: "),
    (b'{"op": "propose", "text": 7}', "propose: text: "),
    (b'{"op": "propose", "text": "ab", "parents": "0"}', "propose: parents: "),
    (b'{"op": "tell", "number": "0", "value": 1}', "tell: number: "),
    (b'{"op": "tell", "number": 0}', "tell: value: "),
    (b'{"op": "tell", "number": 0, "value": true}', "tell: value"),
    (b'{"op": "tell", "number": 0, "value": {"a": "b"}}', "tell: value"),
    (b'{"op": "tell", "number": 5, "value": 1}', "candidate 5 waits for no score here"),
    (b'{"op": "tell", "number": 123456789012345678901234567890, "value": 1}', "waits for no score here"),
    (b'{"op": "evaluate", "numbers": []}', "evaluate: numbers: "),
    (b'{"op": "evaluate", "numbers": [0]}', "evaluated elsewhere"),
]


def test_what_is_no_request_is_one_line_that_says_so() -> None:
    """Each is answered by itself, and in the end nothing has changed."""
    first, *wrong, status = said(study("run"), *ask(1), *(line for line, _ in NO_REQUESTS), {"op": "status"})
    assert first["number"] == 0
    for (line, says), answer in zip(NO_REQUESTS, wrong, strict=True):
        assert says in answer["error"]["message"], line[:80]
        assert answer["error"]["kind"] == "request"
        assert "\n" not in answer["error"]["message"]
    assert (status["proposed"], status["evaluated"]) == (1, 0)


def test_an_answer_has_the_id_of_its_request_whatever_is_wrong_with_it() -> None:
    answers = said(study("run"), {"op": "ask", "id": [1, {"a": None}]}, {"op": "nothing", "id": "b"}, {"op": "status"})
    assert [answer.get("id") for answer in answers] == [[1, {"a": None}], "b", None]


def test_values_that_are_none_are_failures_and_what_lacks_an_objective_is_invalid() -> None:
    """NaN is no JSON, but said by many; null with an error is a candidate that could not be evaluated."""
    told: list[dict[str, Any] | bytes] = [
        b'{"op": "tell", "number": 0, "value": NaN}',
        {"op": "tell", "number": 1, "value": None, "error": "fell"},
        {"op": "tell", "number": 2, "value": {"other": 1.0}},
    ]
    *_, status = said(study("run"), *ask(3), *told, {"op": "status"})
    assert status["failures"] == {"nan": 1, "crashed": 1, "invalid": 1}
    assert status["best"] is None
    errors = [(one.score or {})["error"] for one in read_run(Path("run")).candidates]
    assert errors[1] == "fell"
    assert "no objective 'fitness'" in errors[2]


def test_a_score_that_is_waited_for_is_named() -> None:
    answers = said(study("run", lookahead=2), *ask(4))
    assert [one["number"] for one in answers] == [0, 1, 2, None]
    assert (answers[3]["why"], answers[3]["waits_for"]) == ("lookahead", 0)


def test_a_space_that_is_spent_is_said() -> None:
    Path("words.lark").write_text('// input: none\nstart: "a" | "b"\n')
    answers = said(study("run", lookahead=20, draws=50), *ask(3), propose("a"))
    assert [one.get("number") for one in answers] == [0, 1, None, None]
    assert answers[2]["why"] == "exhausted"
    assert answers[3]["error"]["kind"] == "refused"


def test_the_runs_own_task_scores_what_it_is_asked_to() -> None:
    """Candidates of both sides, several at once, in the order asked for; an ordinary resume goes on with the run."""
    there = Study(task=count, grammar="words.lark", folder="run", search={**SEARCH, "budget": 10}, workers=INLINE)
    *_, scored, status = said(
        there, *ask(1), propose("aabab"), *ask(1), {"op": "evaluate", "numbers": [2, 1, 0]}, {"op": "status"}
    )
    texts = [one.text for one in read_run(Path("run")).candidates]
    assert [one["number"] for one in scored["scores"]] == [2, 1, 0]
    assert [one["objectives"]["fitness"] for one in scored["scores"]] == [worth(texts[n]) for n in (2, 1, 0)]
    assert status["evaluated"] == 3
    assert Study.resume("run", task=count).optimize(progress=False).evaluated == 10
    assert engine.verify(Path("run")) == []


def test_networks_come_with_their_size() -> None:
    there = Study(
        input=(3, 8, 8), grammar="tiny_cnn", folder="run", search={**SEARCH, "objectives": ["accuracy", "-params"]}
    )
    answers: list[Any] = []
    with there:
        serve(there, [b'{"op": "ask"}', b'{"op": "propose", "text": "nonsense("}'], answers.append)
    start, first, wrong = answers
    assert (start["input"], start["evaluates"]) == ([3, 8, 8], False)
    assert start["objectives"] == [{"name": "accuracy", "better": "larger"}, {"name": "params", "better": "smaller"}]
    assert "start" in start["grammar"]["tiny_cnn.lark"]
    assert first["params"] > 0
    assert first["fidelity"] == 1.0
    assert wrong["error"]["kind"] == "architecture"


# --- the command


def typed(monkeypatch: pytest.MonkeyPatch, *requests: dict[str, Any]) -> None:
    data = "".join(f"{json.dumps(one)}\n" for one in requests).encode()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_command_begins_a_run_and_goes_on_with_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing but JSON on stdout; the budget of the configuration is the run's."""
    Path("words.toml").write_text('grammar = "words.lark"\n[search]\nbudget = 2\npopulation = 2\ntournament = 1\n')
    typed(monkeypatch, *ask(1), tell(0, 1.0))
    assert main(["serve", "words.toml", "--input", "none"]) == DONE
    hello, first, told = lines(capsys.readouterr().out)
    assert (hello["run"], hello["budget"], hello["evaluated"]) == ("runs/words-served", 2, 0)
    assert (first["number"], told["evaluated"]) == (0, 1)
    typed(monkeypatch, *ask(2))
    assert main(["serve", "words-served"]) == DONE
    hello, second, none = lines(capsys.readouterr().out)
    assert (hello["evaluated"], second["number"], none["why"]) == (1, 1, "budget")
    assert main(["status", "words-served"]) == DONE


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere.toml"], "no run 'nowhere.toml' here or in runs"),
        (["bad.toml"], "bad.toml: "),
        (["words.toml", "--input", "3y3"], "--input 3y3: say CxHxW"),
        (["words.toml", "--input", "none", "--name", "a/b"], "--name a/b: a name, not a path"),
        (["words.toml", "--input", "none", "--set", "search.budget=-1"], "search"),
        (["run", "--input", "none"], "it goes on as it was begun"),
    ],
)
def test_what_cannot_begin_is_a_line_of_json_too(
    arguments: Sequence[str], says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("words.toml").write_text('grammar = "words.lark"\n')
    Path("bad.toml").write_text("grammar =")
    study("run").session.run.close()
    typed(monkeypatch)
    assert main(["serve", *arguments]) == USAGE
    (answer,) = lines(capsys.readouterr().out)
    assert says in answer["error"]["message"]
    assert not Path("runs").exists()


def test_a_process_that_is_ended_has_kept_everything() -> None:
    """Its code may print: that goes to stderr. SIGTERM in the middle: the run goes on from what was told."""
    Path("mine.py").write_text(
        "print('hello')\ndef fitness(text, derivation, seed):\n    print('x')\n    return len(text)\n"
    )
    Path("words.toml").write_text('grammar = "words.lark"\ntask = "mine:fitness"\n[workers]\npool = "inline"\n')
    command = [sys.executable, "-m", "evosearch", "serve", "words.toml", "--name", "mine"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["evaluates"]
        for request in ({"op": "ask"}, {"op": "evaluate", "numbers": [0]}):
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
        assert answer["evaluated"] == 1
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == b""
        assert process.wait() == 128 + signal.SIGTERM
        assert b"Traceback" not in (process.stderr.read() if process.stderr else b"")
    run = Run.open("runs/mine")
    checkpoint = run.load_checkpoint()
    assert checkpoint is not None
    assert checkpoint.state["evaluated"] == 1
    assert engine.verify(Path("runs/mine")) == []


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT}:."}
