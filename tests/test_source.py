"""`catalog.source`: what is exported, and the name that it goes by."""

from pathlib import Path

import pytest

from catalog.source import downloaded_revision, find_source

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(("folder", "name"), [
    ("models--owner--name", "owner/name"), ("models--some-one--Qwen2-VL-2B.mine", "some-one/Qwen2-VL-2B.mine"),
    ("models--name", "name")])
def test_a_folder_in_the_hubs_cache_has_its_models_name_and_revision(tmp_path, folder, name):
    path = tmp_path / folder / "snapshots" / COMMIT
    path.mkdir(parents=True)
    found = find_source(path)
    assert (found.location, found.name, found.revision, found.is_folder) == (str(path), name, COMMIT, True)


@pytest.mark.parametrize("parts", ["models--owner--name", "models--owner--name/blobs/x", "snapshots/x", "a model"])
def test_any_other_folder_goes_by_its_path(tmp_path, parts):
    path = tmp_path / parts
    path.mkdir(parents=True)
    assert (find_source(path).name, find_source(path).revision) == (str(path), None)


@pytest.mark.parametrize("model", ["owner/name", "", "no such folder"])
def test_what_is_no_folder_is_taken_as_a_name(model):
    found = find_source(model)
    assert (found.location, found.name, found.revision, found.is_folder) == (model, model, None, False)


def test_a_home_is_understood(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine").mkdir()
    assert Path(find_source("~/mine").location) == tmp_path / "mine"


def test_what_was_not_downloaded_has_no_revision(tmp_path):
    assert downloaded_revision("owner/name", cache_dir=tmp_path) is None
    assert downloaded_revision("no/name/at/all", cache_dir=tmp_path) is None
