"""--config and init: a run as one file; the command line wins over it, and every mistake names the file."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from annotated_types import Ge
from run_documents import make_document

import tune_main
from search.errors import UserError
from search.settings import OPTIONS, SearchSettings, kind_of
from search.setup.settings_file import read_settings_file, settings_text, write_settings_file


def write(folder: Path, text: str) -> Path:
    path = folder / "my.toml"
    path.write_text(text)
    return path


def test_a_new_file_gives_the_data_set_alone(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    write_settings_file(tmp_path / "run.toml", str(photos))
    assert 'dataset = "photos"\n' in (tmp_path / "run.toml").read_text()
    assert read_settings_file(tmp_path / "run.toml") == {"dataset": str(photos)}


def test_a_folder_elsewhere_is_written_in_full(tmp_path: Path) -> None:
    for name in ("here", "photos"):
        (tmp_path / name).mkdir()
    write_settings_file(tmp_path / "here" / "run.toml", str(tmp_path / "photos"))
    assert read_settings_file(tmp_path / "here" / "run.toml") == {"dataset": str(tmp_path / "photos")}


def test_every_option_is_there_explained_and_may_be_uncommented(tmp_path: Path) -> None:
    text = settings_text("my.toml", {"dataset": "digits"})
    words = text.replace("\n# ", " ")
    assert all(option.help in words for option in OPTIONS.values())
    assert all(len(line) <= 120 for line in text.splitlines())
    whole = re.sub(r"^#(?=\w)", "", text, flags=re.MULTILINE)
    given = read_settings_file(write(tmp_path, whole))
    assert set(given) == set(OPTIONS)
    del given["network"]  # which --require is not for
    shown = SearchSettings(**given)
    for name, field in SearchSettings.model_fields.items():
        if field.default is not None and name not in ("run_name", "dataset", "data_dir", "results_dir"):
            assert getattr(shown, name) == field.default


def test_examples_are_values_that_people_use_and_defaults_where_they_are_known() -> None:
    shown = tomllib.loads(re.sub(r"^#(?=\w)", "", settings_text("my.toml", {}), flags=re.MULTILINE))["settings"]
    assert shown["reduction_factor"] == SearchSettings(run_name="r").resolved().reduction_factor
    for name, field in SearchSettings.model_fields.items():
        if field.default is None and kind_of(name) is int:
            lowest = [bound.ge for bound in field.metadata if isinstance(bound, Ge)]
            assert all(shown[name] > bound for bound in lowest), f"{name}: a value that nobody wants"


def test_relative_paths_start_at_the_files_folder(tmp_path: Path) -> None:
    path = write(
        tmp_path, '[settings]\ndataset = "a"\nspace = "b.toml"\nstorage = "sqlite:///c.db"\nresults_dir = "/d"\n'
    )
    here = Path.cwd()
    assert read_settings_file(path) == {
        "dataset": str(tmp_path / "a"),
        "space": tmp_path / "b.toml",
        "storage": f"sqlite:///{tmp_path}/c.db",
        "results_dir": Path("/d"),
    }
    assert Path.cwd() == here


def test_the_run_toml_of_a_run_can_be_taken(tmp_path: Path) -> None:
    document = make_document("old", seed=7, space=Path("/gone/space.toml"), results_dir=Path("/r"))
    (tmp_path / "run.toml").write_text(document.to_toml())
    given = read_settings_file(tmp_path / "run.toml")
    assert given.pop("space") == tmp_path / "space.toml"
    assert "run_name" not in given
    expected = document.settings.model_dump(exclude={"run_name", "space"}, exclude_none=True)
    assert given == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[settings]\nnum_trials = 0\n", "`num_trials` (--trials) must be at least 1; got 0."),
        ("[settings]\nnum_trials = '3'\n", "`num_trials` (--trials) must be a whole number; got '3'."),
        ("[settings]\ntrails = 3\n", "unknown key `trails`"),
        ("[settings]\nnum_trails = 3\n", "Did you mean `num_trials`?"),
        ("num_trials = 3\n[settings]\n", "num_trials is outside the table [settings]. Move it there."),
        (
            "num_trials = 3\n",
            "has no table [settings]. Give a file that `tune_main.py init` wrote, or a run's run.toml.",
        ),
        ("settings = 3\n", "has no table [settings]."),
        ("[settings]\nseed = \n", "is not TOML (Invalid value (at line 2, column 8)). Correct it."),
    ],
)
def test_a_mistake_names_the_file_and_the_value(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    path = write(tmp_path, text)
    assert tune_main.main(["--config", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"tune_main.py: error: --config {path}")
    assert message in line


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no.toml cannot be read \(No such file or directory\). Give a TOML file"):
        read_settings_file(tmp_path / "no.toml")


def test_the_command_line_wins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, "[settings]\nnum_trials = 0\ngrace_period = 9\nmax_epochs = 8\n")
    words = ["--config", str(path), "--trials", "4"]
    assert tune_main.main(words) == 2, "what the file and the options say together is checked"
    assert "got grace_period 9 with max_epochs 8" in capsys.readouterr().err
    assert tune_main.main([*words, "--epochs", "9", "--results-dir", "/dev/null"]) == 2
    assert (
        capsys.readouterr().err == "tune_main.py: error: --results-dir /dev/null: /dev/null is a file. Give a folder.\n"
    )


def test_a_resumed_run_has_its_settings_already(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tune_main.main(["--resume", str(tmp_path), "--config", "run.toml"]) == 2
    assert capsys.readouterr().err.endswith("Leave out --config.\n")


def test_init_writes_a_new_file_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a b.toml"
    assert tune_main.main(["init", "digits", "--out", str(path)]) == 0
    assert capsys.readouterr().out == f"wrote {path}. Edit it, then: python tune_main.py --config '{path}'\n"
    assert tomllib.loads(path.read_text()) == {"settings": {"dataset": "digits"}}
    for words, message in [
        (["digits", "--out", str(path)], "exists already. Give another file: --out FILE."),
        (["nowhere"], "nowhere is not a folder. Give a folder of images or auto, cifar10, digits."),
        (["digits", "--out", str(tmp_path / "no" / "a.toml")], "cannot be written (No such file or directory)."),
    ]:
        assert tune_main.main(["init", *words]) == 2
        assert message in capsys.readouterr().err
