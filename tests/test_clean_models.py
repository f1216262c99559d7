"""`make clean-models`: a list with sizes, one name deleted, and nothing outside `models/`."""

import pytest
from filelock import FileLock

from catalog import on_disk
from catalog.on_disk import delete_model, list_models_on_disk
from tasks import clean_models
from tests.clones import make_clone, run, script


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A whole export, what an interrupted one and what a failed one left, and somebody's folder outside."""
    folder = tmp_path / "models"
    monkeypatch.setattr(on_disk, "MODELS_DIR", folder)
    for name in ("Big/INT4", "Big/.INT8.partial/model"):
        (folder / name).mkdir(parents=True)
        (folder / name / "weights.bin").write_bytes(b"x" * 1_500_000)
    (folder / "Failed").mkdir()
    for name in ("Big/INT4.log", "Big/.INT4.lock", "Big/INT8.log", "Big/.INT8.lock", "Failed/INT4.log",
                 "Failed/.INT4.lock"):
        (folder / name).write_text("a line\n" if name.endswith(".log") else "")
    (tmp_path / "outside" / "mine").mkdir(parents=True)
    (tmp_path / "outside" / "mine" / "photo.jpg").touch()
    return folder


def test_without_a_name_it_lists_with_sizes_and_says_how_to_delete(models, capsys):
    assert clean_models.main([]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "       1.5 MB  Big/.INT8.partial  (left by an export that was interrupted or failed)",
        "       1.5 MB  Big/INT4",
        "       0.0 MB  Failed/INT4.log  (left by an export that was interrupted or failed)",
        "To delete one: make clean-models NAME=Big/.INT8.partial",
        "Downloads from the hub are in its own cache: hf cache ls",
    ]
    assert len(list_models_on_disk()) == 3


def test_what_is_named_is_deleted_and_the_rest_is_listed(models, capsys):
    assert clean_models.main(["--name", "Big/INT4"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "1.5 MB freed: Big/INT4" and len(shown) == 5
    assert {path.name for path in (models / "Big").iterdir()} == {".INT8.partial", "INT8.log", ".INT8.lock"}


def test_with_every_entry_deleted_nothing_is_left(models, capsys):
    for model in list_models_on_disk():
        delete_model(model.name)
    assert list(models.iterdir()) == []
    assert clean_models.main([]) == 0
    assert capsys.readouterr().out.startswith("There are no exported models")


def test_the_log_of_a_running_export_is_not_for_deletion(models):
    with FileLock(models / "Failed" / ".INT4.lock"):
        assert clean_models.main(["--name", "Failed/INT4.log"]) == 1
    assert (models / "Failed" / "INT4.log").exists()


@pytest.mark.parametrize("name", ["", ".", "..", "Big", "../outside/mine", "Big/../../outside/mine", "Big/INT4/..", "/",
                                  "Big/INT4.log", "Big/.INT4.lock", "Big/INT4/weights.bin", "*/*", "Linked/mine",
                                  "Big/link", "big/INT4", "Big//INT4"])
def test_anything_but_a_name_from_the_list_is_refused(models, capsys, name):
    (models / "Linked").symlink_to(models.parent / "outside")
    (models / "Big" / "link").symlink_to(models.parent / "outside" / "mine")
    before = sorted(models.parent.rglob("*"))
    assert clean_models.main(["--name", name]) == 1
    assert capsys.readouterr().err.startswith(f"clean-models: There is no model {name!r} in ")
    assert clean_models.main(["--name", str(models / "Big" / "INT4")]) == 1, "absolute paths, too"
    assert sorted(models.parent.rglob("*")) == before


def test_a_link_inside_an_export_is_removed_and_not_what_it_points_to(models):
    (models / "Big" / "INT4" / "link").symlink_to(models.parent / "outside" / "mine")
    delete_model("Big/INT4")
    assert (models.parent / "outside" / "mine" / "photo.jpg").exists()


def test_make_passes_on_a_name_that_was_typed_and_none_from_the_shell(tmp_path):
    clone = make_clone(tmp_path)
    script(clone / ".venv/bin/python", 'for word; do echo "<$word>"; done')
    typed = run(["make", "-s", "clean-models", "PYTHON=true", "NAME=my model/INT4"], clone)
    assert typed.stdout.splitlines() == ["<-m>", "<tasks.clean_models>", "<--name>", "<my model/INT4>"]
    untyped = run(["make", "-s", "clean-models", "PYTHON=true"], clone, NAME="x")
    assert untyped.stdout.splitlines() == ["<-m>", "<tasks.clean_models>"]
