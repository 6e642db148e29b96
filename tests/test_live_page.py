"""Runs served to a browser while they go on: every score comes, nobody else gets anything, nothing is written."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import re
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from evosearch import config as configuration
from evosearch.cli import INTERRUPTED, USAGE, main
from evosearch.cost import Cost
from evosearch.report import figures, following
from evosearch.report.following import Clock, Parts
from evosearch.report.reading import read_run
from evosearch.report.server import Server
from evosearch.store.run import JOURNAL_FILE, Run
from tests.journals import append_score
from tests.report_runs import created, searched, stamped, written
from tests.report_runs import made_up as score_of
from tests.test_report import Page


@pytest.fixture(scope="module")
def serving() -> Iterator[Callable[..., Server]]:
    """Servers in threads of their own, shut down at the end. Where no clock is given, every part is always due."""
    servers: list[Server] = []

    def serve(*arguments: Any, **more: Any) -> Server:
        server = Server(*arguments, **{"clock": Clock(lambda: 0.0, lambda: 0.0), **more})
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return server

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def thirty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of thirty evaluations, which no test changes."""
    folder = tmp_path_factory.mktemp("all") / "runs" / "mine"
    written(folder, 30)
    return folder


@pytest.fixture
def run(thirty: Path, tmp_path: Path) -> Path:
    """A run of thirty evaluations."""
    shutil.copytree(thirty, tmp_path / "runs" / "mine")
    return tmp_path / "runs" / "mine"


@pytest.fixture(scope="module")
def steady(serving: Callable[..., Server], thirty: Path) -> Server:
    """A server of a run that nothing happens to."""
    return watching(serving, thirty)


def watching(serving: Callable[..., Server], run: Path, **more: Any) -> Server:
    return serving(lambda: {run.name: run}, "runs", **more)


def asked(server: Server, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    """The answer to a request of a path behind the token; its body is in `read`."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.putrequest(method, f"/{server.token}/{path}", skip_host="Host" in named)
    for name, value in named.items():
        connection.putheader(name, value)
    connection.endheaders()
    return connection.getresponse()


def page(server: Server, path: str) -> Page:
    answer = asked(server, path)
    assert answer.status == 200
    return Page(answer.read().decode())


def updates(server: Server, path: str, seen: dict[str, Any]) -> dict[str, Any] | None:
    """What is new to a page that has seen so much."""
    query = "&".join(f"{name}={seen[name]}" for name in ("begun", "version", "scored"))
    answer = asked(server, f"{path}updates?{query}")
    assert answer.status in (200, 204)
    return None if answer.status == 204 else json.loads(answer.read())


def scored(folder: Path, count: int = 1) -> list[int]:
    """Propose and score so many more candidates, as a run at work does; their numbers."""
    with Run.open(folder, write=True) as run:
        return [append(run) for _ in range(count)]


def append(run: Run) -> int:
    """Propose and score one more candidate; its number."""
    number = run.proposals
    key = hashlib.blake2b(b"%d more" % number, digest_size=16).hexdigest()
    made = {"number": number, "key": key, "text": "norm", "parents": [number - 1], "operator": "redraw"}
    run.append_proposal({**made, "seed": number, "state": None})
    proposal = SimpleNamespace(key=key, number=number, seed=number)
    append_score(run, stamped(score_of(proposal, Cost(100, 100, 100, 1), 0.0), number))  # type: ignore[arg-type]
    return number


def listing(folder: Path) -> dict[str, Any]:
    return {str(path): (path.stat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in folder.rglob("*")}


# --- what is shown


def test_a_page_that_stays_open_is_told_of_every_score_and_of_nothing_twice(
    serving: Callable[..., Server], run: Path
) -> None:
    server = watching(serving, run)
    opened = page(server, "mine/")
    seen = opened.data["live"]
    assert (seen["scored"], len(opened.data["rows"])) == (30, 30)
    assert updates(server, "mine/", seen) is None
    (number,) = scored(run)
    new = updates(server, "mine/", seen)
    assert new is not None
    ((first, key, status, value, *_, text),) = new["rows"]
    told = read_run(run).candidates[number]
    assert (first, key, status, text) == (number, told.key, "ok", "norm")
    assert value == pytest.approx(told.objectives["accuracy"])
    assert ">31</dd>" in new["parts"]["summary"]
    assert "progress" in new["order"]
    assert updates(server, "mine/", new) is None


def test_a_run_without_scores_has_a_page_to_which_sections_come(serving: Callable[..., Server], tmp_path: Path) -> None:
    run = tmp_path / "new"
    created(run, configuration.validate({"search": {"budget": 5}}, "test")).close()
    server = watching(serving, run)
    seen = page(server, "new/").data["live"]
    scored(run, 3)
    new = updates(server, "new/", seen)
    assert new is not None
    assert len(new["rows"]) == 3
    assert "trade-offs" in new["order"]
    Page(f"<main>{new['parts']['trade-offs']}</main>")


def test_an_end_a_resumption_and_another_run_in_its_place_are_followed(
    serving: Callable[..., Server], tmp_path: Path
) -> None:
    """While it is written it runs; with best/ it has finished; it goes on; a new run of that name is another page."""
    run = tmp_path / "mine"
    shutil.copytree(searched(tmp_path / "done", budget=20).folder, run)
    (run / "best").rename(tmp_path / "best")
    server = watching(serving, run)
    seen = page(server, "mine/").data["live"]
    with Run.open(run, write=True):
        running = updates(server, "mine/", seen)
    assert running is not None
    assert "running" in running["parts"]["summary"]
    (tmp_path / "best").rename(run / "best")
    ended = updates(server, "mine/", running)
    assert ended is not None
    assert "finished" in ended["parts"]["summary"]
    scored(run, 2)
    again = updates(server, "mine/", ended)
    assert again is not None
    assert len(again["rows"]) == 2
    shutil.rmtree(run)
    assert asked(server, f"mine/updates?begun={again['begun']}").status == 503
    written(run, 5)
    another = updates(server, "mine/", again)
    assert another is not None
    assert another["begun"] != again["begun"]
    assert page(server, "mine/").data["live"]["scored"] == 5


def test_a_folder_is_a_page_of_all_runs_in_it(serving: Callable[..., Server], run: Path) -> None:
    """New ones come, those that cannot be read are said to be so, and each leads to its page."""
    from evosearch.cli.watch import _runs_in

    server = serving(lambda: _runs_in(run.parent), "runs")
    opened = page(server, "")
    assert [a["href"] for a in opened.named("a")] == ["#runs", "mine/"]
    written(run.parent / "a & <b>", 3)
    (run.parent / "torn").mkdir()
    (run.parent / "torn" / JOURNAL_FILE).write_bytes(b"nothing")
    new = updates(server, "", opened.data["live"])
    assert new is not None
    table = Page(new["parts"]["runs"])
    assert [row[0] for row in table.rows[1:]] == ["a & <b>", "mine", "torn"]
    assert table.rows[3][1] == "unreadable"
    addresses = [a["href"] for a in table.named("a")]
    assert page(server, addresses[0]).data["live"]["scored"] == 3
    assert asked(server, addresses[2]).status == 503
    assert updates(server, "", new) is None


def test_a_journal_that_does_not_check_is_said_and_the_server_goes_on(
    serving: Callable[..., Server], run: Path
) -> None:
    server = watching(serving, run)
    seen = page(server, "mine/").data["live"]
    whole = (run / JOURNAL_FILE).read_bytes()
    (run / JOURNAL_FILE).write_bytes(whole + b"x" * 100)
    answer = asked(server, f"mine/updates?begun={seen['begun']}")
    assert answer.status == 503
    assert b"does not check" in answer.read()
    (run / JOURNAL_FILE).write_bytes(whole)
    assert updates(server, "mine/", seen) is None


def test_a_page_far_behind_is_told_bit_by_bit(
    serving: Callable[..., Server], run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And beyond what a page can list, of new bests alone."""
    monkeypatch.setattr(following, "AT_ONCE", 8)
    monkeypatch.setattr(following, "LISTED", 20)
    server = watching(serving, run)
    seen = {**page(server, "mine/").data["live"], "scored": 0}
    numbers, answers = [], 0
    while (new := updates(server, "mine/", seen)) is not None:
        numbers += [row[0] for row in new["rows"]]
        seen, answers = new, answers + 1
    bests = {step.candidate.number for step in figures.improvements(read_run(run))}
    assert answers == 4
    assert numbers == [n for n in range(30) if n < 20 or n in bests]


def test_a_part_that_takes_long_to_make_is_made_seldom() -> None:
    """At most a twentieth of the time goes into each; what is not due is made later, and then comes."""
    now, made = [0.0], list[tuple[str, int]]()

    def maker(name: str, seconds: float) -> Callable[[int], str]:
        def make(subject: int) -> str:
            now[0] += seconds
            made.append((name, subject))
            return f"{name} {subject}"

        return make

    parts = Parts({"light": maker("light", 0.0), "heavy": maker("heavy", 1.0)}, Clock(lambda: now[0], lambda: now[0]))
    for stamp in range(1, 100):
        parts.make(stamp, stamp)
        now[0] += 1.0
    heavy = [subject for name, subject in made if name == "heavy"]
    assert len(made) - len(heavy) == 99
    assert 5 <= len(heavy) <= 6
    version = parts.version
    now[0] += 20
    parts.make(99, 99)
    assert parts.newer(version) == {"heavy": "heavy 99"}
    parts.make(99, 99)
    assert made[-1] == ("heavy", 99)
    assert made.count(("heavy", 99)) == 1


# --- who may look


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:{port}"}, 200),
        ({"Host": "evil.example:{port}"}, 403),
        ({"Host": "127.0.0.1"}, 403),
        ({"Host": "127.0.0.1:1"}, 403),
        ({"Host": ""}, 403),
        ({"Origin": "http://127.0.0.1:{port}"}, 200),
        ({"Origin": "http://localhost:{port}", "Host": "localhost:{port}"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "https://127.0.0.1:{port}"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec_Fetch_Site": "same-origin"}, 200),
        ({"Sec_Fetch_Site": "none"}, 200),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "script"}, 403),
        ({"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "cors", "Sec_Fetch_Dest": "empty"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}, 200),
    ],
)
def test_only_its_own_pages_may_ask(headers: dict[str, str], status: int, steady: Server) -> None:
    """A name that leads here from elsewhere, another page's request: refused. A link that somebody follows is not."""
    filled = {name: value.format(port=steady.server_port) for name, value in headers.items()}
    assert asked(steady, "mine/", **filled).status == status


@pytest.mark.parametrize("path", ["", "/", "/mine/", "/{other}/mine/", "/{token}x/mine/", "/{start}/mine/", "//mine/"])
def test_without_the_token_there_is_nothing(path: str, steady: Server, thirty: Path) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", steady.server_port, timeout=30)
    connection.request("GET", path.format(other="A" * 32, token=steady.token, start=steady.token[:-1]) or "*")
    answer = connection.getresponse()
    assert answer.status == 403
    assert answer.read().count(b"\n") == 1


def test_two_hosts_are_none(steady: Server, thirty: Path) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", steady.server_port, timeout=30)
    connection.putrequest("GET", f"/{steady.token}/mine/")
    connection.putheader("Host", "evil.example")
    connection.endheaders()
    assert connection.getresponse().status == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
def test_nothing_can_be_changed(method: str, steady: Server, thirty: Path) -> None:
    before = listing(thirty)
    answer = asked(steady, "mine/", method, Content_Length="5")
    assert (answer.status, answer.getheader("Allow")) == (405, "GET, HEAD")
    assert listing(thirty) == before


def test_nothing_is_written_and_nothing_beside_the_runs_is_given(serving: Callable[..., Server], run: Path) -> None:
    server = watching(serving, run)
    before = listing(run.parent.parent)
    for path in ("mine/", "mine/updates", "", "updates"):
        assert asked(server, path).status == 200
    for path in (
        "mine", "nothing/", "mine/config.toml", "../mine/", "..%2F..%2Fetc/", "mine/..%2F", "%00/", "mine/updates/",
    ):  # fmt: skip
        assert asked(server, path).status == 404
    assert listing(run.parent.parent) == before
    head = asked(server, "mine/", "HEAD")
    assert head.read() == b""
    assert int(head.getheader("Content-Length") or 0) > 10_000


def test_the_page_asks_its_server_alone(steady: Server) -> None:
    """Its policy allows its own style and scripts and requests to where it came from; no page may frame it."""
    answer = asked(steady, "mine/")
    text = answer.read().decode()
    (policy,) = [a["content"] for a in Page(text).named("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    blocks = re.findall(r"<(?:style|script)>(.*?)</(?:style|script)>", text, re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        assert f"'sha256-{base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert policy.endswith("; connect-src 'self'")
    assert set(re.findall(r"https?://[^\s\"'<)]+", text)) == {"http://www.w3.org/2000/svg"}
    assert answer.getheader("X-Frame-Options") == "DENY"
    assert answer.getheader("Cache-Control") == "no-store"
    assert answer.getheader("Server") == "evolve"


def test_of_another_address_any_address_is_its_name_and_no_other_name(run: Path) -> None:
    server = Server(lambda: {"mine": run}, "runs", "0.0.0.0")
    port = server.server_port
    server.server_close()
    assert server.is_own(f"192.0.2.7:{port}")
    assert server.is_own(f"localhost:{port}")
    assert not server.is_own(f"evil.example:{port}")
    assert not server.is_own("192.0.2.7:1")


# --- the command


def served(monkeypatch: pytest.MonkeyPatch) -> list[Server]:
    """Servers that the command would serve with; each ends at once, as by Ctrl-C."""
    found: list[Server] = []

    def end(server: Server, poll_interval: float) -> None:
        found.append(server)
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "serve_forever", end)
    return found


def test_the_command_prints_the_address(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a run its page, of a folder the page of all; only this machine is listened to."""
    found = served(monkeypatch)
    for what, path in ((str(run), "mine/"), (str(run.parent), "")):
        assert main(["watch", what]) == INTERRUPTED
        server = found[-1]
        assert server.server_address[0] == "127.0.0.1"
        assert capsys.readouterr().out == f"http://127.0.0.1:{server.server_port}/{server.token}/{path}\n"
    assert len({server.token for server in found}) == 2
    assert len(found[0].token) >= 32


def test_other_machines_are_let_in_after_two_questions_alone(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found, questions = served(monkeypatch), list[str]()
    assert main(["watch", str(run), "--host", "0.0.0.0"]) == USAGE
    assert "nobody is there to be asked" in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    for wanted, answers in ((INTERRUPTED, [False]), (INTERRUPTED, [True, False]), (INTERRUPTED, [True, True])):
        left = list(answers)

        def confirm(text: str, abort: bool, left: list[bool] = left) -> bool:
            questions.append(text)
            if not left.pop(0) and abort:
                raise typer.Abort
            return True

        monkeypatch.setattr(typer, "confirm", confirm)
        assert main(["watch", str(run), "--host", "0.0.0.0"]) == wanted
        assert len(found) == (answers == [True, True])
        assert left == []
    assert len(questions) == 5


def test_what_cannot_be_watched_is_said(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run.parent.parent)
    assert main(["watch", "nothing"]) == USAGE
    assert "no run 'nothing'" in capsys.readouterr().err
    taken = Server(dict, "")
    assert main(["watch", "mine", "--port", str(taken.server_port)]) == USAGE
    assert "choose another" in capsys.readouterr().err
    taken.server_close()
