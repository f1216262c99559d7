"""`catalog.choices`: the models on offer, and where what was typed comes from and goes to."""

import re
import shutil
from pathlib import Path

import pytest

from catalog import hub
from catalog.choices import model_choices, source_and_export
from catalog.costs import costs_table
from catalog.errors import ModelFolderError
from catalog.measurements import measured_runs
from catalog.model_folder import require_source_dir
from catalog.shapes import SHAPES
from tests.test_costs import LARGE, TWO_B, rows
from tests.test_parameters import nested

ROOT = Path(__file__).resolve().parent.parent


def test_the_practice_model_comes_first_and_needs_no_download():
    first = model_choices()[0]
    assert (first.download, first.needs_export) == ("none", True)
    assert require_source_dir(ROOT / first.source)


def test_paths_inside_the_current_folder_are_shown_relative_to_it(monkeypatch):
    monkeypatch.chdir(ROOT)
    practice = model_choices()[0]
    assert practice.source == str(Path("tiny_model/weights"))
    assert re.fullmatch(r"models/practice-model-[0-9a-f]{6}/INT4", Path(practice.load_from).as_posix())


def test_my_own_folder_is_exported_if_it_is_not_an_export_yet(tiny_dir, int4_dir):
    original = model_choices(tiny_dir)[-1]
    assert (original.source, original.needs_export, original.download) == (str(tiny_dir), True, "none")
    export = model_choices(int4_dir)[-1]
    assert (export.load_from, export.needs_export) == (str(int4_dir), False)
    assert costs_table([export], LARGE).splitlines()[2].endswith("| converted |")


def test_own_folders_of_the_same_name_do_not_share_an_export(tiny_dir, tmp_path):
    twins = [shutil.copytree(tiny_dir, tmp_path / parent / "checkpoint") for parent in ("a", "b")]
    assert len({model_choices(twin)[-1].load_from for twin in twins}) == 2


def test_an_own_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(ModelFolderError):
        model_choices(tmp_path)


def test_a_name_on_the_hub_is_looked_up_only_when_it_was_typed(monkeypatch):
    asked = []
    answers = {"someone/fine-tuned": hub.HubModel(nested(SHAPES["2.5-3b"]), 7_600_000_000, exported=False),
               "someone/converted": hub.HubModel(SHAPES["2b"], 1_900_000_000, exported=True)}
    monkeypatch.setattr(hub, "look_up", lambda name: asked.append(name) or answers[name])
    model_choices()
    assert asked == []
    tuned, converted = model_choices("someone/fine-tuned")[-1], model_choices("someone/converted")[-1]
    assert asked == [*answers]
    assert (tuned.needs_export, tuned.download, converted.needs_export) == (True, "7.6 GB", False)
    assert Path(tuned.load_from).parts[-3:] == ("models", "someone--fine-tuned", "INT4")
    memory = f"{measured_runs()['2b'].memory_bytes / 1e9:.1f} GB"
    assert rows(costs_table([converted]))["someone/converted"]["Memory to run"] == memory


def test_a_listed_name_that_is_typed_comes_last_once(monkeypatch):
    monkeypatch.setattr(hub, "look_up", lambda name: pytest.fail("the hub was asked"))
    choices = model_choices(TWO_B)
    assert choices[-1].source == TWO_B
    assert sorted(choice.source for choice in choices) == sorted(choice.source for choice in model_choices())


# ---- what was typed in a terminal ------------------------------------------------------------------------------------

def found(typed):
    """(what to export, what to load), as absolute paths where they are in this repository."""
    return tuple(str((ROOT / name).resolve()) if (ROOT / name).is_dir() or "models/" in name else name
                 for name in source_and_export(typed))


def test_practice_model_is_the_default():
    source, load_from = found(None)
    assert source == str(ROOT / "tiny_model/weights")
    assert load_from.startswith(str(ROOT / "models"))


@pytest.mark.parametrize("typed, load_from", [
    ("Qwen/Qwen2-VL-2B-Instruct", str(ROOT / "models/Qwen2-VL-2B-Instruct/INT4")),
    ("someone/Qwen2-VL-of-mine", str(ROOT / "models/someone--Qwen2-VL-of-mine/INT4")),
    ("OpenVINO/Qwen2-VL-7B-Instruct-int4-ov", "OpenVINO/Qwen2-VL-7B-Instruct-int4-ov"),
])
def test_name_on_the_hub_is_exported_unless_it_is_openvinos_already(typed, load_from):
    assert found(typed) == (typed, load_from)


def test_folder_is_exported_unless_it_is_already(tiny_dir, int4_dir):
    assert found(str(int4_dir)) == (str(int4_dir), str(int4_dir))
    assert found(str(tiny_dir))[1].startswith(str(ROOT / "models"))
