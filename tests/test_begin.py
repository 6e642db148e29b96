"""`evolve init --task`: a config that runs on a person's data as it is, and says why each setting is as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evosearch import config
from evosearch.cli import DONE, USAGE, main


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_table_gets_a_config_that_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{age},{'smith' if age % 3 else 'nurse'},{'yes' if age > 40 else 'no'}" for age in range(20, 80)]
    Path("people.csv").write_text("age,job,retired\n" + "\n".join(rows))
    assert main(["init", "--task", "people.csv", "--target", "job", "project"]) == DONE
    text = Path("project/evosearch.toml").read_text()
    assert "# classification of 'job'" in text
    keys = [number for number, line in enumerate(text.splitlines()) if " = " in line and not line.startswith("#")]
    unreasoned = [text.splitlines()[number] for number in keys if not text.splitlines()[number - 1].startswith("#")]
    assert all(line.startswith(("task = ", "target = ")) for line in unreasoned)
    assert Path("project/grammars/tables.lark").is_file()
    read = config.load(Path("project/evosearch.toml"))
    assert read.data.target == "job"
    assert read.grammar == str((tmp_path / "project/grammars/tables.lark").resolve())
    quick = ["recipe.epochs=1", "final.epochs=1", "workers.pool=inline", "limits.max_flops=none"]
    settings = [word for setting in quick for word in ("--set", setting)]
    assert main(["run", "project/evosearch.toml", "--budget", "3", "--quiet", *settings]) == DONE
    capsys.readouterr()
    assert main(["init", "--task", "people.csv", "project"]) == USAGE
    assert "is there already" in capsys.readouterr().err


def test_images_get_the_grammar_of_images() -> None:
    rng = np.random.default_rng(0)
    np.savez("images.npz", x=rng.integers(0, 256, (60, 12, 12)).astype(np.uint8), y=np.arange(60) % 3)
    assert main(["init", "--task", "images.npz"]) == DONE
    assert config.load(Path("evosearch.toml")).grammar.endswith("grammars/images.lark")


def test_what_is_set_is_kept() -> None:
    rng = np.random.default_rng(0)
    np.savez("rows.npz", x=rng.normal(size=(90, 5)), y=np.arange(90) % 3)
    words = ["data.validation=0.3", "seed=4", "recipe.lr=0.5", "grammar=mlp"]
    assert main(["init", "--task", "rows.npz", *(word for one in words for word in ("--set", one))]) == DONE
    read = config.load(Path("evosearch.toml"))
    assert (read.data.validation, read.seed, read.recipe.lr) == (0.3, 4, 0.5)
    assert read.grammar == str(Path("grammars/mlp.lark").resolve())
    assert "[recipe]\nlr = 0.5\n# " in Path("evosearch.toml").read_text()


def test_what_has_no_data_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    Path("words.py").write_text("def fitness(text, derivation, seed):\n    return 1.0\n")
    assert main(["init", "--task", "words:fitness"]) == USAGE
    assert "no data to train on" in capsys.readouterr().err
    assert not Path("evosearch.toml").exists()
