"""What the documents show works as they show it."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from evosearch import config, plugins
from evosearch.cli import DONE, FAILED, main
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """The README's block of code in a language; there is one of each."""
    [found] = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return str(found)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished runs/demo: the demo's configuration, with next to no budget and training."""
    folder = tmp_path_factory.mktemp("demo")
    arguments = [
        "run",
        str(ROOT / "runs/demo.toml"),
        "--budget",
        "2",
        "--runs",
        str(folder / "runs"),
        "--device",
        "cpu",
    ]
    quick = ["recipe.epochs=1", "final.epochs=8", "workers.pool=inline", "search.population=2"]
    assert main([*arguments, *(word for setting in quick for word in ("--set", setting))]) == DONE
    return folder


def run_python(code: str, folder: Path) -> str:
    """What a fresh interpreter prints that has neither the checkout nor evosearch's folder on its path."""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_readme_loads_the_best_network_without_evosearch(demo: Path) -> None:
    """The README's lines print a digit, and import nothing of evosearch."""
    code = block("python")
    printed = run_python(f"{code}\nassert not [name for name in sys.modules if name.startswith('evosearch')]", demo)
    assert re.fullmatch(r"\[\d\]\n", printed)
    statements = [line for line in code.splitlines() if line]
    assert len(statements) <= 10


def test_evosearch_loads_the_same_network(demo: Path) -> None:
    """`evosearch.load` and model.py give the same outputs for the same input."""
    import torch

    import evosearch

    examples = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours = evosearch.load(demo / "runs/demo")(examples)
        code = block("python").split("stroke")[0]
        namespace = "\n".join(
            [code, "examples = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))",
             "with torch.no_grad(): print(network(examples).double().flatten().tolist())"]
        )  # fmt: skip
        theirs = eval(run_python(namespace, demo))  # noqa: S307 - a list of numbers that the line above printed
    assert torch.allclose(ours.double().flatten(), torch.tensor(theirs, dtype=torch.float64), atol=1e-6)


def test_weights_that_are_gone_are_missed(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An export of the best network says which file is gone; `show` and `train` say it of the grammar."""
    shutil.copytree(demo / "runs/demo", tmp_path / "again")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "again/best/weights.safetensors").unlink()
    assert main(["export", "again", "--format", "safetensors"]) == FAILED
    assert "again/best/weights.safetensors is gone" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "again/grammar")
    for command in ("show", "train"):
        assert main([command, "again"]) == FAILED
        assert "einspace.lark: the" in capsys.readouterr().err


def test_the_readme_shows_the_grammar_that_init_writes() -> None:
    """The first grammar is the very file of `evolve init`, ten lines at most."""
    starter = (ROOT / "evosearch/cli/starters/first.lark").read_text(encoding="utf-8")
    assert block("lark") == starter
    assert len(starter.splitlines()) <= 10


def test_every_file_that_a_document_names_is_there() -> None:
    """Links between the documents lead somewhere."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    missing = [
        f"{page.name}: {target}"
        for page in pages
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", _prose(page))
        if not (page.parent / target).exists()
    ]
    assert missing == []


def _prose(page: Path) -> str:
    """A page without its indented code, in which brackets are no links."""
    lines = page.read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.startswith("    "))


def test_the_folder_tree_is_the_real_one() -> None:
    """Every file and folder in the README's tree and in the design's is there."""
    for page, heading in (
        (README, "## The folders"),
        ((ROOT / "docs/design.md").read_text("utf-8"), "## 1. The folders"),
    ):
        tree = page.split(heading)[1].split("\n\n")[1]
        for line in tree.splitlines():
            indent = len(line) - len(line.lstrip())
            names = re.split(r"\s{2,}", line.strip())[0].split(", ")
            for name in names:
                assert (ROOT / ("evosearch" if indent > 4 else "") / name).exists(), line


def test_every_key_of_the_configuration_has_an_entry() -> None:
    """docs/config.md says of each key what it is, at the beginning of a line of its own."""
    page = (ROOT / "docs/config.md").read_text(encoding="utf-8")
    titled = (part.split("\n", 1) for part in page.split("\n## ")[1:])
    sections = {title.strip("[]"): body for title, body in titled}
    single = [name for name in config.Config.model_fields if name not in config.tables()]
    keys = {**config.tables(), "The top level": tuple(single)}
    del keys["final"]  # those of [recipe], as its section says
    for title, names in keys.items():
        heads = re.findall(r"^- ((?:`\w+`(?:, )?)+): ", sections[title], re.MULTILINE)
        assert {name for head in heads for name in re.findall(r"\w+", head)} == {*names}, title


def test_a_table_row_has_its_cells_and_no_more() -> None:
    """A bar inside a cell is escaped, so that every row of docs/cli.md has two cells."""
    rows = [line for line in (ROOT / "docs/cli.md").read_text("utf-8").splitlines() if line.startswith("| `")]
    assert rows
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {3}


@pytest.mark.parametrize("name", ["cli.md", "config.md"])
def test_the_reference_is_up_to_date(name: str) -> None:
    """docs/cli.md and docs/config.md are what `make reference` writes."""
    pages = runpy.run_path(str(ROOT / "docs/reference.py"))["PAGES"]
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == pages[name](), "run `make reference`"


def test_the_smallest_plug_in_of_each_kind_keeps_its_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The files that docs/design.md shows, one of each kind whose file has a class, are tried."""
    page = (ROOT / "docs/design.md").read_text(encoding="utf-8")
    files = re.findall(r'```python title="([^"]+)"\n(.*?)```', page, re.DOTALL)
    for name, body in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(body, encoding="utf-8")
    assert {Path(name).parent.name for name, _ in files} == {"", "mutate", *plugins.CLASSES}
    grammar = (ROOT / "grammars/mlp.lark").read_text("utf-8").replace("relu", "soft_shrink")
    (tmp_path / "shrunk.lark").write_text(grammar, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert main(["check", "shrunk.lark", "--operators", ".", "--layers", "soft_shrink.py", "--samples", "50"]) == DONE
    kept = re.findall(r"^(\w+) \w+: keeps its contract$", capsys.readouterr().out, re.MULTILINE)
    assert sorted(kept) == sorted(["layer", "mutate", *plugins.CLASSES])
