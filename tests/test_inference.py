"""`evolve predict`: a run's network takes a file of raw examples and gives labels in their own type."""

from __future__ import annotations

import csv
import json
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from evosearch import inference
from evosearch.cli import DONE, FAILED, USAGE, main
from evosearch.errors import TaskError
from evosearch.tasks import TaskSettings
from evosearch.tasks.kinds import BUNDLED

QUICK = ["recipe.epochs=2", "final.epochs=6", "workers.pool=inline", "search.population=2", "workers.device=cpu"]


def searched(folder: Path, task: Path, grammar: str, *more: str) -> Path:
    settings = [word for setting in (*QUICK, *more) for word in ("--set", setting)]
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
        "import sys\nsys.modules['evosearch'] = None\nimport model\nn = model.load()\n"
        "print(*model.predict(n, [dict(age=25, job='nurse'), dict(age=58, job=''), dict(age=44, job='farmer')]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=table / "best", capture_output=True, text=True, check=False)
    assert done.stdout.split() == [row["prediction"] for row in found], done.stderr
    capsys.readouterr()
    assert main(["predict", str(table), str(table.parent / "people.csv")]) == DONE
    assert len(capsys.readouterr().out.splitlines()) == 61


def test_a_folder_of_train_is_asked_as_a_run_is(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first seed of a run's best network is the run's own network, and says the same."""
    people_file = str(table.parent / "people.csv")
    assert main(["train", str(table), "--seeds", "1", "-o", str(tmp_path / "trained")]) == DONE
    capsys.readouterr()
    assert main(["predict", str(table), people_file]) == DONE
    by_run = capsys.readouterr().out
    assert main(["predict", str(tmp_path / "trained"), people_file]) == DONE
    assert capsys.readouterr().out == by_run


def test_one_row_by_itself_and_rows_with_other_columns(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing value, a new word, columns that are not asked for, another separator: each is taken as it is."""
    said = []
    for text in ("age,job\n25,nurse\n", "note;job;id;age\nx;nurse;7;25.0\n", "job,age\npilot,\n"):
        (tmp_path / "new.csv").write_text(text)
        capsys.readouterr()
        assert main(["predict", str(table), str(tmp_path / "new.csv")]) == DONE
        said.append(capsys.readouterr().out.splitlines())
    assert all(len(lines) == 2 for lines in said)
    assert said[0] == said[1]


def test_numbers_as_they_were_said_to_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Trained and asked with `data.decimal = ","`: a file of 1.877 and 0,5, model.py with such cells and numbers."""
    amounts = [(37.5 * n, f"{37.5 * n:,.1f}".translate(str.maketrans(",.", ".,"))) for n in range(60)]
    rows = "".join(f"{text};{'no' if value < 1100 else 'yes'}\n" for value, text in amounts)
    (tmp_path / "sums.csv").write_text("sum;high\n" + rows)
    run = searched(tmp_path, tmp_path / "sums.csv", "mlp", "data.decimal=,")
    found = []
    for text in ("1.877", "1.877,0", "1877", "+1.877,00"):
        (tmp_path / "new.csv").write_text(f"sum;high\n{text};\n0,5;\n")
        capsys.readouterr()
        assert main(["predict", str(run), str(tmp_path / "new.csv")]) == DONE
        found.append(capsys.readouterr().out)
    assert len(set(found)) == 1
    model = runpy.run_path(str(run / "best/model.py"))
    given = [
        model["preprocess"]([{"sum": cell}, {"sum": low}]).tolist() for cell, low in (("1.877", "0,5"), (1877, 0.5))
    ]
    assert given[0] == given[1]
    assert inference.load(run).examples(tmp_path / "new.csv").tolist() == [[1877.0], [0.5]]


def test_what_is_exported_has_its_encoder_beside(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It makes of rows what model.py makes of them, and needs NumPy alone."""
    assert main(["export", str(table), "-o", str(tmp_path / "my-net.pt2")]) == DONE
    assert "my_net_rows.py: preprocess(rows)" in capsys.readouterr().out
    code = (
        "import sys\nsys.modules['torch'] = sys.modules['evosearch'] = None\n"
        "import my_net_rows as mine\n"
        "rows = [dict(age=25, job='nurse'), dict(age='58', job=''), dict(age=None, job='farmer')]\n"
        "found = mine.preprocess(rows)\nassert found.dtype == 'float32', found.dtype\n"
        "print(mine.LABELS, found.tolist())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    model = runpy.run_path(str(table / "best/model.py"))
    rows = [{"age": 25, "job": "nurse"}, {"age": "58", "job": ""}, {"age": None, "job": "farmer"}]
    assert done.stdout == f"{model['LABELS']} {model['preprocess'](rows).tolist()}\n"


def test_images_of_any_size_from_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Trained on a folder of photographs of two sizes; asked about a folder, and about one; best/ says the same."""
    image = pytest.importorskip("PIL.Image")
    for number in range(24):
        colour, size = (("red", "blue")[number % 2], ((12, 9), (8, 14))[number % 4 // 2])
        place = tmp_path / "photos" / colour
        place.mkdir(parents=True, exist_ok=True)
        image.new("RGB", size, colour).save(place / f"{number}.png")
    run = searched(tmp_path, tmp_path / "photos", "tiny_cnn", "data.size=8")
    capsys.readouterr()
    assert main(["predict", str(run), str(tmp_path / "photos")]) == DONE
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["file"] for row in rows] == sorted(map(str, (tmp_path / "photos").rglob("*.png")))
    image.new("L", (30, 31), 200).save(tmp_path / "one.png")
    assert main(["predict", str(run), str(tmp_path / "one.png")]) == DONE
    (one,) = csv.DictReader(capsys.readouterr().out.splitlines())
    assert set(one) == {"file", "prediction", "p(blue)", "p(red)"}
    model = runpy.run_path(str(run / "best/model.py"))
    network = model["load"]()
    grey = np.full((8, 8, 3), 200, np.uint8)
    assert model["predict"](network, [grey, grey]) == [one["prediction"]] * 2
    one_size = {**(found := inference.load(run)).description, "size": 0}
    with pytest.raises(TaskError, match=r"blue/1\.png: 12x9 pixels, and the network takes 8x8; scale it to that"):
        replace(found, description=one_size).examples(tmp_path / "photos")
    (tmp_path / "empty").mkdir()
    assert main(["predict", str(run), str(tmp_path / "empty")]) == USAGE
    assert "no images in this folder" in capsys.readouterr().err
    (tmp_path / "words.txt").write_text("")
    assert main(["predict", str(run), str(tmp_path / "words.txt")]) == USAGE
    assert "an image, a folder of images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("job\nnurse\nnurse\n", "new.csv: no column 'age'; there are job"),
        ("age,job\n", "new.csv: no rows below the header"),
        ("", "new.csv: it is empty; a table has a line for each example"),
        ("age,job\nold,nurse\n", "new.csv: line 2: 'old' in column 'age'"),
    ],
)
def test_what_is_wrong_with_a_row_is_said(
    text: str, said: str, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "new.csv").write_text(text)
    assert main(["predict", str(table), str(tmp_path / "new.csv")]) == USAGE
    assert said in capsys.readouterr().err


def test_a_folder_is_no_table(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(table), str(tmp_path)]) == USAGE
    assert "it is a folder, and this network takes the rows of a table; give one CSV" in capsys.readouterr().err


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
    theirs = model["predict"](model["load"](run / "best/weights.safetensors"), x).numpy()[:, 0]
    assert np.allclose(found["prediction"], theirs, rtol=1e-4)
    np.save(tmp_path / "wide.npy", np.zeros((2, 5)))
    assert main(["predict", str(run), str(tmp_path / "wide.npy")]) == USAGE
    assert "examples of shape (5,); the network takes (3,)" in capsys.readouterr().err
    np.save(tmp_path / "gap.npy", np.array([[1, 2, 3], [1, np.nan, 3]]))
    assert main(["predict", str(run), str(tmp_path / "gap.npy")]) == USAGE
    assert "gap.npy: row 1: a value is not a finite number" in capsys.readouterr().err
    for name, said in (("no.npy", "no such file"), ("data.json", "no examples for this network, which takes a .npz")):
        (tmp_path / "data.json").write_text("[]")
        assert main(["predict", str(run), str(tmp_path / name)]) == USAGE
        assert said in capsys.readouterr().err
    whole = (tmp_path / "data.npz").read_bytes()
    broken = {"empty.npy": b"", "empty.npz": b"", "torn.npz": whole[:300], "bad.npz": whole[:200] + b"?" + whole[201:]}
    for name, content in broken.items():
        (tmp_path / name).write_bytes(content)
        assert main(["predict", str(run), str(tmp_path / name)]) == USAGE
        assert f"{name}: cannot be read, torn perhaps: " in capsys.readouterr().err
    np.savez(tmp_path / "objects.npz", x=np.array([{"a": 1}], dtype=object))
    assert main(["predict", str(run), str(tmp_path / "objects.npz")]) == USAGE
    assert "objects.npz: holds Python objects; save plain numbers" in capsys.readouterr().err
    (run / "best/data.json").unlink()
    assert main(["predict", str(run), str(tmp_path / "data.npz")]) == FAILED
    assert "data.json is not there" in capsys.readouterr().err


def test_large_targets_keep_their_digits() -> None:
    """Seconds since 1970 with a deviation of ten: float32 has steps of 128 there."""
    network = torch.nn.Identity()
    description = {
        "input": [1], "mean": [0.0], "std": [1.0], "labels": [], "kind": "regression", "columns": [],
        "target_mean": [1_700_000_000.3], "target_std": [10.1],
    }  # fmt: skip
    predictor = inference.Predictor(network, description, TaskSettings(), BUNDLED.named("regression"))
    found = predictor.answers(np.array([[0.0], [1.0], [-1.0]]))["prediction"]
    assert found == pytest.approx([1_700_000_000.3, 1_700_000_010.4, 1_699_999_990.2], abs=0.01, rel=0)
    plain = {**description, "target_mean": [0.5], "target_std": [2.0]}
    assert replace(predictor, description=plain).answers(np.array([[0.1]]))["prediction"] == [0.7]


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
    for short, whole in (("1,2", "1,2,1,2"), ("4,3,2", "4,3,2,4")):
        (tmp_path / "short.ts").write_text(f"{head}{short}:up\n{whole}:up\n")
        assert main(["predict", str(run), str(tmp_path / "short.ts")]) == DONE
        assert len(set(capsys.readouterr().out.splitlines()[1:])) == 1
    (tmp_path / "long.ts").write_text(head + "1,2,3,4,5:up\n")
    assert main(["predict", str(run), str(tmp_path / "long.ts")]) == USAGE
    assert "long.ts: line 4: 5 steps, and the longest to train on had 4" in capsys.readouterr().err
    before = json.loads((run / "best/data.json").read_text())  # as earlier versions wrote it, which filled with means
    del before["circular"]
    (run / "best/data.json").write_text(json.dumps(before))
    (tmp_path / "short.ts").write_text(head + "1,2:up\n1,2,1.5,1.5:up\n")
    assert main(["predict", str(run), str(tmp_path / "short.ts")]) == DONE
    assert len(set(capsys.readouterr().out.splitlines()[1:])) == 1


def test_series_of_unequal_length(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file, a program and the folder's own script say the same of them; so does a search that is gone on with."""
    head = "@timeStamps false\n@classLabel true up down\n@data\n"
    lengths = range(3, 9)
    rows = "".join(f"{joined(range(n))}:up\n{joined(range(n, 0, -1))}:down\n" for n in lengths)
    for title in ("TRAIN", "TEST"):
        (tmp_path / f"Slope_{title}.ts").write_text(head + rows * 5)
    run = searched(tmp_path, tmp_path / "Slope_TRAIN.ts", "series")
    assert main(["show", str(run)]) == DONE
    assert "stem: masked" in capsys.readouterr().out
    (tmp_path / "new.ts").write_text(f"{head}0,1,2,3:up\n5,4,3:down\n0,1,2,3,4,5,6,7:up\n")
    assert main(["predict", str(run), str(tmp_path / "new.ts")]) == DONE
    said = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    series = [np.arange(4.0), np.array([5.0, 4, 3]), np.arange(8.0)]
    asked = inference.load(run).asked([one[:, None] for one in series])
    assert [row["prediction"] for row in said] == asked["prediction"]
    model = runpy.run_path(str(run / "best/model.py"))
    theirs = model["predict_proba"](model["load"](), [one[:, None] for one in series])
    for number, label in enumerate(("up", "down")):
        expected = [float(row[f"p({label})"]) for row in said]
        assert asked[f"p({label})"] == pytest.approx(expected, abs=1e-6)
        assert theirs[:, number].tolist() == pytest.approx(expected, abs=1e-6)
    assert main(["resume", str(run), "--budget", "3", "--quiet"]) == DONE
    assert main(["export", str(run), "-o", str(tmp_path / "out.pt2"), "--format", "pt2"]) == DONE


def joined(values: range) -> str:
    return ",".join(map(str, values))
