"""`catalog.on_disk`: the list of exports, and deleting one: nothing else, and nothing outside `models/`."""

import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import FileLock

from catalog import on_disk
from catalog.errors import ModelFolderError
from catalog.on_disk import delete_model, list_models_on_disk


@pytest.fixture
def models(tmp_path, monkeypatch) -> Path:
    """A `models/` folder with two exports of one model, what an interrupted third left, and a neighbour outside."""
    folder = tmp_path / "models"
    monkeypatch.setattr(on_disk, "MODELS_DIR", folder)
    for name in ("Big/INT4", "Big/INT8", "Small/.INT4.partial"):
        (folder / name).mkdir(parents=True)
        (folder / name / "weights.bin").write_bytes(b"x" * 1000)
    for name in ("Big/INT4.log", "Big/.INT4.lock", "Small/INT4.log", "Small/.INT4.lock"):
        (folder / name).touch()
    (tmp_path / "outside" / "mine").mkdir(parents=True)
    return folder


def names() -> list[str]:
    return [model.name for model in list_models_on_disk()]


def test_exports_and_leftovers_are_listed_with_their_sizes(models):
    assert [(model.name, model.size, model.whole) for model in list_models_on_disk()] == [
        ("Big/INT4", 1000, True), ("Big/INT8", 1000, True), ("Small/.INT4.partial", 1000, False)]


def test_no_models_folder_is_an_empty_list(models):
    shutil.rmtree(models)
    assert list_models_on_disk() == []


def test_deleting_removes_one_export_with_its_log_and_frees_its_bytes(models):
    assert delete_model("Big/INT4") == 1000
    assert names() == ["Big/INT8", "Small/.INT4.partial"]
    assert [path.name for path in (models / "Big").iterdir()] == ["INT8"]


def test_deleting_the_last_one_removes_its_folder(models):
    delete_model("Small/.INT4.partial")
    assert not (models / "Small").exists()
    assert models.exists()


@pytest.mark.parametrize("name", ["../outside/mine", "Big", "", ".", "Big/INT4/../../../outside/mine", "Big/INT4.log",
                                  "/", "Big/INT16", "big/int4 "])
def test_only_names_from_the_list_are_deleted(models, name):
    with pytest.raises(ModelFolderError, match=r"there is: Big/INT4, Big/INT8, Small/\.INT4\.partial"):
        delete_model(name)
    with pytest.raises(ModelFolderError):
        delete_model(str(models.parent / "outside" / "mine"))
    assert (models.parent / "outside" / "mine").exists() and len(names()) == 3


def test_links_out_of_the_folder_are_neither_listed_nor_deleted(models):
    (models / "Big" / "link").symlink_to(models.parent / "outside" / "mine")
    (models / "Linked").symlink_to(models.parent / "outside")
    assert "Big/link" not in names() and "Linked/mine" not in names()


def test_what_is_being_exported_is_not_deleted(models):
    with busy(models / "Small" / ".INT4.lock"), pytest.raises(ModelFolderError, match="being exported by another"):
        delete_model("Small/.INT4.partial")
    assert "Small/.INT4.partial" in names()


@contextmanager
def busy(lock: Path):
    """Another holder of an export's lock."""
    with FileLock(lock):
        yield
