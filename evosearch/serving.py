"""A search that another program drives or feeds: a request in JSON on each line, and an answer on a line to each.

    {"op": "ask"}                          {"number": 0, "text": "...", "key": "...", ...}
    {"op": "propose", "text": "..."}       likewise, of a candidate that the other side thought of
    {"op": "tell", "number": 0, "value": 0.5}
    {"op": "evaluate", "numbers": [0]}     the run's own task scores it
    {"op": "status"}

The first line says what is searched, before any request. docs/howto/serve.md has all of it. Each request is a method of
a `Study`: what is here reads it, and says what came of it or what was wrong with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pydantic

from evosearch import __version__, given
from evosearch.errors import ArchitectureError, CandidateRefused, EvosearchError, SpaceExhausted, UsageError

if TYPE_CHECKING:
    from evosearch.score import Score
    from evosearch.study import Study, Trial

Answer = dict[str, Any]


class _Request(pydantic.BaseModel):
    """id: whatever tells the answer to this request from others; it is in the answer."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)

    id: Any = None


class Ask(_Request):
    op: Literal["ask"]


class Propose(_Request):
    op: Literal["propose"]
    text: str
    parents: tuple[int, ...] = ()


class Tell(_Request):
    op: Literal["tell"]
    number: int
    value: float | dict[str, float] | None
    error: str = ""


class Evaluate(_Request):
    op: Literal["evaluate"]
    numbers: Annotated[tuple[int, ...], pydantic.Field(min_length=1)]


class Status(_Request):
    op: Literal["status"]


Request = Annotated[Ask | Propose | Tell | Evaluate | Status, pydantic.Field(discriminator="op")]
_REQUEST: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(Request)


def serve(study: Study, lines: Iterable[bytes], say: Callable[[Mapping[str, Any]], None]) -> int:
    """Answer each line, until there are no more or the run cannot go on; an empty one is passed over.

    say: is given the answers, plain data. Returns the exit code of it all, 0 where the lines came to their end. Raises
    EvosearchError where the run cannot begin.
    """
    dialogue = Dialogue(study)
    say(dialogue.hello())
    for line in lines:
        if line.strip() and (code := dialogue.answer(line, say)):
            return code
    return 0


def fault(error: EvosearchError, kind: str = "") -> Answer:
    """What is said of an error. kind: a word that tells a program what it is; by the error where none is given."""
    kinds = {ArchitectureError: "architecture", CandidateRefused: "refused", UsageError: "request"}
    found = next((word for kind_of, word in kinds.items() if isinstance(error, kind_of)), "run")
    told: Answer = {"kind": kind or found, "message": " ".join(str(error).split())}
    if isinstance(error, ArchitectureError) and error.line:
        told |= {"line": error.line, "column": error.column}
    return {"error": told}


class Dialogue:
    """What was given out and waits for its score, and how requests are answered."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.out: dict[int, Trial] = {}

    def hello(self) -> Answer:
        """What is searched, and how far it is."""
        session = self.study.session
        setup, stands = session.setup, session.standing
        return {
            "evosearch": __version__,
            "run": str(self.study.folder),
            "evaluates": not given.elsewhere(self.study.config.task),
            "objectives": [
                {"name": one.name, "better": "larger" if one.sign > 0 else "smaller"} for one in setup.objectives
            ],
            "input": list(setup.space.input) if setup.space.input is not None else None,
            "limits": {name: most for name, most in asdict(setup.space.limits).items() if most is not None},
            "budget": session.search.settings.budget,
            "proposed": stands.proposed,
            "evaluated": stands.evaluated,
            "grammar": dict(setup.grammar.source),
        }

    def answer(self, line: bytes, say: Callable[[Mapping[str, Any]], None]) -> int:
        """Do what a line asks for, and say what came of it. Returns an exit code where the run cannot go on, else 0."""
        echo: Answer = {}
        try:
            request = _read(line, echo)
            echo = {} if request.id is None else {"id": request.id}
            answer = getattr(self, f"_{request.op}")(request)
        except UsageError as error:
            say({**echo, **fault(error), **self._known(error)})
        except EvosearchError as error:
            say({**echo, **fault(error)})
            return error.exit_code
        else:
            say({**echo, **answer})
        return 0

    def _ask(self, request: Ask) -> Answer:
        return self._given_out(self.study.ask)

    def _propose(self, request: Propose) -> Answer:
        return self._given_out(lambda: self.study.propose(request.text, request.parents))

    def _tell(self, request: Tell) -> Answer:
        self.study.tell(self._trial(request.number), request.value, request.error)
        del self.out[request.number]
        return self._stands()

    def _evaluate(self, request: Evaluate) -> Answer:
        numbers = list(dict.fromkeys(request.numbers))
        scores = self.study.evaluate(*(self._trial(number) for number in numbers))
        for number in numbers:
            del self.out[number]
        return {"scores": [_told(number, one) for number, one in zip(numbers, scores, strict=True)], **self._stands()}

    def _status(self, request: Status) -> Answer:
        stands = self.study.session.standing
        return {
            **self._stands(),
            "proposed": stands.proposed,
            "budget": self.study.session.search.settings.budget,
            "failures": dict(stands.failures),
            "waiting": sorted(stands.waiting),
        }

    def _given_out(self, give: Callable[[], Trial | None]) -> Answer:
        """A candidate, or why there is none now: the budget is spent, the space is, or a score is waited for."""
        search = self.study.session.search
        try:
            trial = give()
        except SpaceExhausted as error:
            return {"number": None, "why": "exhausted", "message": str(error)}
        if trial is not None:
            self.out[trial.number] = trial
            return _candidate(trial)
        if search.proposed >= search.settings.budget:
            return {"number": None, "why": "budget", "message": f"all {search.settings.budget} were given out"}
        oldest = min(search.unfolded)
        told = f"candidate {oldest} must be told first: search.lookahead={search.settings.lookahead}"
        return {"number": None, "why": "lookahead", "waits_for": oldest, "message": told}

    def _trial(self, number: int) -> Trial:
        if number not in self.out:
            raise UsageError(f"candidate {number} waits for no score here: ask gives those that do, one after another")
        return self.out[number]

    def _stands(self) -> Answer:
        stands = self.study.session.standing
        return {"evaluated": stands.evaluated, "best": stands.best}

    def _known(self, error: UsageError) -> Answer:
        """What the run knows of a candidate that was refused since it has it already."""
        if not isinstance(error, CandidateRefused) or not error.known:
            return {}
        known: Answer = {}
        for record in self.study.session.run.records():
            if record["kind"] == "proposal" and record["key"] == error.known:
                known = {"number": record["number"], "key": error.known, "status": "waiting"}
            elif record["kind"] == "score" and record["number"] == known.get("number"):
                known |= {"status": record["status"], "objectives": record["objectives"], "error": record["error"]}
        return {"known": known}


def _read(line: bytes, echo: Answer) -> Any:
    """The request in a line. Raises UsageError. echo: gets the id of one that is JSON, but no request."""
    try:
        return _REQUEST.validate_json(line)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        with_id = _json(line)
        if isinstance(with_id, dict) and "id" in with_id:
            echo["id"] = with_id["id"]
        if first["type"] == "json_invalid":
            raise UsageError(f"no line of JSON: {first['ctx']['error']}") from None
        if not first["loc"]:  # it is none of them
            raise UsageError('say what to do: "op" is ask, propose, tell, evaluate or status') from None
        field = ".".join(str(part) for part in first["loc"][1:])
        raise UsageError(f"{first['loc'][0]}: {field}: {first['msg'][0].lower()}{first['msg'][1:]}") from None


def _json(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _candidate(trial: Trial) -> Answer:
    cost = {} if trial.architecture is None else trial.architecture.cost.pack()
    return {
        "number": trial.number,
        "text": trial.text,
        "key": trial.key,
        "seed": trial.seed,
        "operator": trial.operator,
        "parents": list(trial.parents),
        "fidelity": trial.fidelity,
        **cost,
    }


def _told(number: int, score: Score) -> Answer:
    found: Answer = {"number": number, "status": score.status}
    if score.status != "ok":
        return {**found, "error": score.error}
    return {**found, "objectives": dict(score.objectives), "metrics": dict(score.metrics), "seconds": score.seconds}
