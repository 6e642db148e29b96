"""Every block of docs/grammars.md is run, and says the truth."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

from evosearch.errors import GrammarError
from evosearch.grammar import load
from tests.conftest import ROOT

GUIDE = ROOT / "docs" / "grammars.md"
BLOCK = re.compile(r"^```(\S+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_every_block_of_the_authoring_guide_does_what_the_guide_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    said: str | None = None
    ran = 0
    for language, info, body in BLOCK.findall(GUIDE.read_text(encoding="utf-8")):
        ran += 1
        if language == "text":
            assert said is not None, body
            assert said.strip() == body.strip()
            said = None
            continue
        assert said is None or not said.strip(), said  # what a block says, the next one shows
        said = None
        if language == "lark":
            file = re.search(r"file=(\S+)", info)
            assert file, body
            Path(file[1]).write_text(body, encoding="utf-8")
            if "mistake" in info:
                with pytest.raises(GrammarError) as caught:
                    load(file[1])
                said = f"{caught.value}\n{caught.value.caret}"
            elif file[1] != "blocks.lark":  # it has no start: it is there to be imported
                load(file[1])
        elif language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as output:
                exec(compile(body, str(GUIDE), "exec"), names)
            said = output.getvalue()
        else:
            assert language == "console"
            for line in body.splitlines():
                command = line.removeprefix("$ evolve ").split()
                done = subprocess.run(
                    [sys.executable, "-m", "evosearch", *command], capture_output=True, text=True, check=False
                )
                assert done.returncode == 0, done.stderr
    assert ran > 20
