"""`model_widget`: the variable in the notebook decides, and what was picked since then."""

import pytest

from catalog import model_widget as module
from catalog.errors import ModelFolderError
from notebook_utils import model_widget


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """As in a new kernel, and with nothing displayed."""
    monkeypatch.setattr(module, "_picked", {})
    monkeypatch.setattr("IPython.display.display", lambda shown: None)


def test_practice_model_is_chosen_where_nothing_is_said():
    dropdown = model_widget("")
    assert dropdown.label == "Practice model (coloured shapes)"
    assert dropdown.value.needs_export


@pytest.mark.parametrize("name", ["Qwen/Qwen2-VL-7B-Instruct", "OpenVINO/Qwen2-VL-7B-Instruct-int4-ov (ready-made)"])
def test_variable_names_a_row_of_the_table(name):
    assert model_widget(name).label == name


def test_folder_of_the_readers_own_is_added_and_chosen(int4_dir):
    dropdown = model_widget(str(int4_dir))
    assert dropdown.value.load_from == str(int4_dir)
    assert dropdown.options[0][0] == "Practice model (coloured shapes)"


def test_what_was_picked_survives_run_all_until_the_variable_is_edited():
    model_widget("").label = "Qwen/Qwen2-VL-7B-Instruct"
    assert model_widget("").label == "Qwen/Qwen2-VL-7B-Instruct"
    assert model_widget("Qwen/Qwen2-VL-2B-Instruct").label == "Qwen/Qwen2-VL-2B-Instruct"


def test_folder_that_is_not_there_is_named():
    with pytest.raises(ModelFolderError, match="no-such-folder"):
        model_widget("./no-such-folder")
