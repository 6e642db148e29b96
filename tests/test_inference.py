"""`evolve predict`: a run's network takes a file of raw examples and gives labels in their own type."""

from __future__ import annotations

import csv
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from evosearch import inference
from evosearch.cli import DONE, FAILED, USAGE, main

QUICK = ["recipe.epochs=2", "final.epochs=6", "workers.pool=inline", "search.population=2", "workers.device=cpu"]


def searched(folder: Path, task: Path, grammar: str) -> Path:
    settings = [word for setting in QUICK for word in ("--set", setting)]
    arguments = ["run", "--task", str(task), "--grammar", grammar, "--budget", "2", "--runs", str(folder), "--quiet"]
    assert main([*arguments, "--name", "run", *settings]) == DONE
    return folder / "run"


def people(file: Path, rows: int = 60) -> None:
    rng = np.random.default_rng(0)
    lines = []
    for row in range(rows):
        age, job = int(rng.integers(20, 60)), ("smith", "nurse", "")[row % 3]
        lines.append(f"{age},{job},{'yes' if age > 40 else 'no'}\n")
    file.write_text("age,job,retired\n" + "".join(lines))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("table")
    people(folder / "people.csv")
    return searched(folder, folder / "people.csv", "mlp")


def test_raw_rows_in_labels_out(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Columns by name in any order, with the target or without; the same as the folder's own model.py says."""
    rows = tmp_path / "new.csv"
    rows.write_text("job,age\nnurse,25\n,58\nfarmer,44\n")
    assert main(["predict", str(table), str(rows), "-o", str(tmp_path / "out.csv")]) == DONE
    assert "3 rows" in capsys.readouterr().out
    with (tmp_path / "out.csv").open() as opened:
        found = list(csv.DictReader(opened))
    assert {row["prediction"] for row in found} <= {"yes", "no"}
    assert all(abs(float(row["p(yes)"]) + float(row["p(no)"]) - 1) < 1e-6 for row in found)
    code = (
        "import model\nfrom safetensors.torch import load_file\n"
        "n = model.Network(); n.load_state_dict(load_file('weights.safetensors')); n.eval()\n"
        "print(*model.predict(n, [dict(age=25, job='nurse'), dict(age=58, job=''), dict(age=44, job='farmer')]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=table / "best", capture_output=True, text=True, check=False)
    assert done.stdout.split() == [row["prediction"] for row in found], done.stderr
    capsys.readouterr()
    assert main(["predict", str(table), str(table.parent / "people.csv")]) == DONE
    assert len(capsys.readouterr().out.splitlines()) == 61


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("job\nnurse\nnurse\n", "no value for column 'age'"),
        ("age,job\nold,nurse\n", "new.csv: line 2: 'old' in column 'age'"),
    ],
)
def test_what_is_wrong_with_a_row_is_said(
    text: str, said: str, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "new.csv").write_text(text)
    assert main(["predict", str(table), str(tmp_path / "new.csv")]) == USAGE
    assert said in capsys.readouterr().err


def test_arrays_and_numbers_to_predict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Targets in their own units; another shape than the network's is refused."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 3)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, y=100 * x[:, 0] + 1000.5)
    run = searched(tmp_path, tmp_path / "data.npz", "mlp")
    predictor = inference.load(run)
    found = predictor.answers(predictor.examples(tmp_path / "data.npz"))
    assert list(found) == ["prediction"]
    model = runpy.run_path(str(run / "best/model.py"))
    network = model["Network"]()
    network.load_state_dict(load_file(run / "best/weights.safetensors"))
    theirs = model["predict"](network.eval(), x).numpy()[:, 0]
    assert np.allclose(found["prediction"], theirs, rtol=1e-4)
    np.save(tmp_path / "wide.npy", np.zeros((2, 5)))
    assert main(["predict", str(run), str(tmp_path / "wide.npy")]) == USAGE
    assert "examples of shape 5; the network takes 3" in capsys.readouterr().err
    (run / "best/data.json").unlink()
    assert main(["predict", str(run), str(tmp_path / "data.npz")]) == FAILED
    assert "data.json is not there" in capsys.readouterr().err


def test_series(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head = "@timeStamps false\n@classLabel true up down\n@data\n"
    for title in ("TRAIN", "TEST"):
        (tmp_path / f"Slope_{title}.ts").write_text(head + "1,2,3,4:up\n4,3,2,1:down\n" * 20)
    run = searched(tmp_path, tmp_path / "Slope_TRAIN.ts", "einspace_1d")
    capsys.readouterr()
    assert main(["predict", str(run), str(tmp_path / "Slope_TEST.ts")]) == DONE
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "prediction,p(up),p(down)"
    assert len(lines) == 41
    (tmp_path / "long.ts").write_text(head + "1,2,3,4,5:up\n")
    assert main(["predict", str(run), str(tmp_path / "long.ts")]) == USAGE
    assert "long.ts: line 4: 5 steps, and the longest to train on had 4" in capsys.readouterr().err
