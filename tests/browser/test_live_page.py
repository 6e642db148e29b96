"""A run's live page in a headless Chromium: what a person sees while a run goes on, and what another page does not.

`make browser` runs it; see test_report_page.py for what it needs.
"""

from __future__ import annotations

import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from evosearch.report.following import Clock
from evosearch.report.server import Server
from evosearch.store.run import Run
from tests.browser.test_report_page import AXE, SIZES
from tests.report_runs import written
from tests.test_live_page import append, scored, serving

pytestmark = pytest.mark.browser

__all__ = ["serving"]

SECONDS = 2.0  # from a score that is on the disk to its place on the page


class Watched:
    """A page in a fresh browser window, with all that it said and asked for."""

    def __init__(self, browser: Any, url: str, size: str = "wide") -> None:
        width, height = SIZES[size]
        self.context = browser.new_context(viewport={"width": width, "height": height})
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(url)
        self.page.wait_for_selector("html[data-version]", state="attached", timeout=20_000)

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def until(self, expression: str, seconds: float = 20.0) -> float:
        """Ask until a condition holds on the page, whose policy lets nothing wait in it; how long it took."""
        began = time.monotonic()
        while not self.holds(expression):
            assert time.monotonic() - began < seconds, expression
            time.sleep(0.02)
        return time.monotonic() - began

    def holds(self, expression: str) -> bool:
        """Whether a condition holds; not while the page loads itself anew."""
        try:
            return bool(self.page.evaluate(f"document.documentElement.dataset.version && {expression}"))
        except Exception as error:
            if "context was destroyed" not in str(error):
                raise
            return False


@pytest.fixture
def run(tmp_path: Path) -> Path:
    written(tmp_path / "runs" / "mine", 30)
    return tmp_path / "runs" / "mine"


def evaluated(number: int) -> str:
    return f"document.querySelector('#summary').textContent.includes('Evaluated{number:,}')"


def test_a_score_is_on_the_page_within_two_seconds(
    browser: Any, serving: Callable[..., Server], run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the figures, in the table and in the chart; nothing else is asked for, and nothing is said."""
    server = serving(lambda: {"mine": run}, "runs", clock=Clock())
    with Watched(browser, server.url("mine")) as watched:
        took = []
        for _ in range(8):
            (number,) = scored(run)
            began = time.monotonic()
            watched.until(evaluated(number + 1))
            watched.page.select_option("#order", "number")
            watched.until(f"document.querySelector('#found').textContent === '{number + 1} found'")
            took.append(time.monotonic() - began)
        with capsys.disabled():
            print(f"\nfrom score to page: median {statistics.median(took):.2f} s, longest {max(took):.2f} s")
        assert min(took) < SECONDS
        watched.page.fill("#find", str(number))
        watched.page.locator("#candidates tbody a").click()
        assert "norm" in watched.page.locator("dialog[open] pre").last.inner_text()
        assert watched.page.locator("#live").inner_text() == "Live"
        assert watched.said == []
        base = server.url()
        assert [url for url in watched.requests if not url.startswith((base, "data:"))] == []


def test_the_runs_end_its_resumption_and_another_run_are_shown(
    browser: Any, serving: Callable[..., Server], run: Path, tmp_path: Path
) -> None:
    """Also that the folder is gone for a while: the page says so, and goes on."""
    server = serving(lambda: {"mine": run}, "runs", clock=Clock())
    with Watched(browser, server.url("mine")) as watched:
        with Run.open(run, write=True) as opened:
            watched.until("document.querySelector('#summary').textContent.includes('running')")
            opened.write_best({"metrics.json": "{}", "architecture.arch": "norm"})
        watched.until("!document.querySelector('#summary').textContent.includes('running')")
        (number,) = scored(run)
        watched.until(evaluated(number + 1))
        shutil.move(run, tmp_path / "away")
        watched.until("document.querySelector('#live').textContent.includes('cannot be read')")
        shutil.move(tmp_path / "away", run)
        watched.until("document.querySelector('#live').textContent === 'Live'")
        shutil.rmtree(run)
        written(run, 12)
        watched.until(evaluated(12))
        assert [text for text in watched.said if "Failed to load resource" not in text] == []


def test_a_server_that_has_ended_is_missed(browser: Any, run: Path) -> None:
    """The command itself, ended by a signal: the page stays as it is and says that nobody answers."""
    command = [sys.executable, "-m", "evosearch", "watch", str(run)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        with Watched(browser, process.stdout.readline().strip()) as watched:
            process.terminate()
            assert process.wait() == 128 + signal.SIGTERM
            watched.until("document.querySelector('#live').textContent.includes('No answer')")
            assert watched.holds(evaluated(30))


def test_what_a_person_does_meanwhile_is_left_as_it_is(browser: Any, serving: Callable[..., Server], run: Path) -> None:
    """An opened table stays open, the focus where it was, a search typed, marked text marked, the dialog open."""
    server = serving(lambda: {"mine": run}, "runs", clock=Clock())
    with Watched(browser, server.url("mine")) as watched:
        page = watched.page
        page.locator("#progress details summary").first.click()
        page.fill("#find", "redraw")
        page.locator("#progress details a").first.focus()
        focused = page.evaluate("document.activeElement.getAttribute('href')")
        (number,) = scored(run)
        watched.until(evaluated(number + 1))
        assert page.locator("#progress details").first.get_attribute("open") is not None
        assert page.evaluate("document.activeElement.getAttribute('href')") == focused
        assert page.input_value("#find") == "redraw"
        page.evaluate("getSelection().selectAllChildren(document.querySelector('#summary h1'))")
        (number,) = scored(run)
        watched.until(f"document.querySelector('html').dataset.version && page.data.rows.length === {number + 1}")
        time.sleep(1.2)
        assert page.evaluate("String(getSelection())") == "mine"
        page.evaluate("getSelection().removeAllRanges()")
        watched.until(evaluated(number + 1))
        page.evaluate("location.hash = '#c3'")
        (number,) = scored(run)
        watched.until(evaluated(number + 1))
        assert page.locator("dialog[open] h2").inner_text() == "Candidate 3"
        assert watched.said == []


def test_five_thousand_candidates_stay_smooth(
    browser: Any, serving: Callable[..., Server], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """While scores come one upon another, no step of the page takes a quarter of a second; the last one is shown."""
    run = tmp_path / "long"
    written(run, 5000)
    server = serving(lambda: {"long": run}, "runs", clock=Clock())
    began = time.monotonic()
    with Watched(browser, server.url("long")) as watched:
        opened = time.monotonic() - began
        watched.page.evaluate("""() => {
            window.tasks = [];
            new PerformanceObserver((list) => list.getEntries().forEach((one) => window.tasks.push(one.duration)))
                .observe({ type: "longtask" });
            document.querySelector("#progress").scrollIntoView();
            setTimeout(() => { for (const began = performance.now(); performance.now() - began < 150;); });
        }""")
        watched.until("window.tasks.length > 0")  # a step that takes long is seen
        watched.page.evaluate("window.tasks.length = 0")
        stop = threading.Event()

        def score() -> None:
            with Run.open(run, write=True) as opened:
                while not stop.wait(0.05):
                    append(opened)

        thread = threading.Thread(target=score)
        thread.start()
        time.sleep(10)
        stop.set()
        thread.join()
        (number,) = scored(run)
        last = watched.until(evaluated(number + 1))
        tasks = watched.page.evaluate("window.tasks")
        with capsys.disabled():
            print(
                f"\nopened in {opened:.2f} s; {number - 4999} scores in 10 s: {len(tasks)} tasks over 50 ms, "
                f"the longest {max(tasks, default=0):.0f} ms; the last score shown after {last:.2f} s"
            )
        assert max(tasks, default=0) < 250
        assert watched.said == []


class _Elsewhere(BaseHTTPRequestHandler):
    """A page of somebody else's that knows the address and tries everything."""

    target = ""

    def do_GET(self) -> None:
        body = f"""<!doctype html><iframe src="{self.target}"></iframe><script src="{self.target}updates"></script>
<script>
  window.found = [];
  const tries = [["GET", {{}}], ["POST", {{}}], ["GET", {{ mode: "no-cors" }}], ["DELETE", {{}}]];
  Promise.allSettled(tries.map(([method, more]) => fetch("{self.target}updates", {{ method, ...more }})
    .then((answer) => answer.text()).then((text) => window.found.push(text)))).then(() => {{ window.done = true; }});
</script>""".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def elsewhere(serving: Callable[..., Server], run: Path) -> Iterator[tuple[Server, str]]:
    server = serving(lambda: {"mine": run}, "runs", clock=Clock())
    handler = type("Elsewhere", (_Elsewhere,), {"target": server.url("mine")})
    other = HTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    yield server, f"http://127.0.0.1:{other.server_port}/"
    other.shutdown()
    other.server_close()


def test_a_page_from_elsewhere_gets_nothing(browser: Any, elsewhere: tuple[Server, str], run: Path) -> None:
    """Not by fetch, nor in a frame, nor as a script, though it knows the token; and nothing is changed."""
    _, url = elsewhere
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    context = browser.new_context()
    page = context.new_page()
    answers: list[tuple[str, int]] = []
    page.on("response", lambda answer: answers.append((answer.url, answer.status)))
    page.goto(url)
    page.wait_for_function("window.done", timeout=20_000)
    assert all(text == "" for text in page.evaluate("window.found"))
    own = [status for address, status in answers if not address.startswith(url)]
    assert set(own) <= {403, 405}
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    context.close()


@pytest.mark.parametrize("size", SIZES)
def test_the_page_of_all_leads_to_each(browser: Any, serving: Callable[..., Server], run: Path, size: str) -> None:
    """A run that begins meanwhile comes; nothing is wider than the window; axe-core finds no serious fault."""
    from evosearch.cli.watch import _runs_in

    server = serving(lambda: _runs_in(run.parent), "runs", clock=Clock())
    with Watched(browser, server.url(), size) as watched:
        written(run.parent / "other", 3)
        watched.until("document.querySelectorAll('#runs tbody tr').length === 2")
        assert watched.page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
        if AXE.is_file():
            found = watched.page.evaluate(f"{AXE.read_text()};axe.run(document)")
            assert [one["id"] for one in found["violations"] if one["impact"] in ("serious", "critical")] == []
        watched.page.click("text=other")
        watched.page.wait_for_selector("#progress")
        assert watched.said == []
