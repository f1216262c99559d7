"""catalog.manifest: damage is told by size before loading and by hash on request; nothing personal is in it."""

import hashlib
import json
import os
import shutil
import timeit
from pathlib import Path

import pytest

from catalog.errors import ModelFolderError
from catalog.manifest import MANIFEST, require_manifest, verify_hashes, write_manifest
from catalog.model_folder import require_model_dir

WEIGHTS = "openvino_language_model.bin"


@pytest.fixture
def copy(int4_dir, tmp_path) -> Path:
    return shutil.copytree(int4_dir, tmp_path / "a model")


def test_an_export_brings_a_manifest_of_every_file(exported):
    export = exported("int4")
    content = json.loads((export.model_dir / MANIFEST).read_text(encoding="utf-8"))
    on_disk = {path.name for path in export.model_dir.iterdir()} - {MANIFEST}
    assert set(content["files"]) == on_disk and WEIGHTS in on_disk
    weights = export.model_dir / WEIGHTS
    assert content["files"][WEIGHTS] == {"size": weights.stat().st_size,
                                         "sha256": hashlib.sha256(weights.read_bytes()).hexdigest()}
    assert content["made_by"]["transformers"] == "5.0.0"
    assert content["options"] == ["--task", "image-text-to-text", "--weight-format", "int4"]
    assert verify_hashes(export.model_dir) == []


def test_the_source_is_named_without_the_folders_above_it(exported):
    text = (exported("int4").model_dir / MANIFEST).read_text(encoding="utf-8")
    assert (json.loads(text)["source"], json.loads(text)["revision"]) == ("a model", None)
    assert str(exported("int4").model_dir.parent) not in text


def test_the_revision_of_a_model_of_the_hub_is_recorded(tmp_path):
    write_manifest(tmp_path, "owner/name", revision="0123abc")
    content = json.loads((tmp_path / MANIFEST).read_text())
    assert (content["source"], content["revision"]) == ("owner/name", "0123abc")


@pytest.mark.parametrize(("option", "kept"), [
    ("/home/someone/data set", "data set"), ("~/secret/list.txt", "list.txt"),
    ("../mine", "mine"), ("int4", "int4"), ("0.8", "0.8"), ("--sym", "--sym")])
def test_options_keep_no_folders_of_a_persons(tmp_path, option, kept):
    write_manifest(tmp_path, "owner/name", ["--x", option])
    content = json.loads((tmp_path / MANIFEST).read_text())
    assert (content["source"], content["options"]) == ("owner/name", ["--x", kept])


@pytest.mark.parametrize("name", [WEIGHTS, "openvino_tokenizer.bin", "tokenizer.json", "chat_template.jinja"])
@pytest.mark.parametrize("size", [0, -1, +1])
def test_a_file_of_another_length_is_refused_at_load(copy, name, size):
    file = copy / name
    os.truncate(file, size and file.stat().st_size + size)
    with pytest.raises(ModelFolderError, match=rf"{name} has [\d,]+ of [\d,]+ bytes .* delete {MANIFEST}"):
        require_model_dir(copy)
    assert [problem.split(" has ")[0] for problem in verify_hashes(copy)] == [name]


def test_a_file_that_is_missing_is_refused_at_load(copy):
    (copy / "openvino_detokenizer.bin").unlink()  # which no check without a manifest asks for
    with pytest.raises(ModelFolderError, match=r"openvino_detokenizer\.bin missing"):
        require_model_dir(copy)


def test_a_changed_byte_is_found_by_its_hash_only(copy):
    with (copy / WEIGHTS).open("r+b") as file:
        file.seek(1000)
        byte = file.read(1)
        file.seek(1000)
        file.write(bytes([byte[0] ^ 1]))
    assert require_model_dir(copy) == copy
    assert verify_hashes(copy) == [f"{WEIGHTS} is not what was exported: its content has changed"]


def test_a_folder_without_a_manifest_is_accepted_but_cannot_be_verified(copy):
    (copy / MANIFEST).unlink()
    assert require_manifest(copy) is False
    assert require_model_dir(copy) == copy
    assert [MANIFEST in problem for problem in verify_hashes(copy)] == [True]


def test_other_files_may_lie_in_the_folder(copy):
    (copy / "model_cache").mkdir()
    (copy / "model_cache" / "compiled.blob").touch()
    (copy / "notes.txt").touch()
    assert require_model_dir(copy) == copy and verify_hashes(copy) == []


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"files": []}', '{"files": {"a": 1}}', '{"files": {"a": {}}}',
                                  '{"files": {"../a": {"size": 1, "sha256": ""}}}'])
def test_a_manifest_that_is_none_is_refused(copy, text):
    (copy / MANIFEST).write_text(text)
    with pytest.raises(ModelFolderError, match=MANIFEST):
        require_model_dir(copy)
    assert len(verify_hashes(copy)) == 1


def quickest(check, folder) -> float:
    """Seconds: the best of five, because other programs may run beside the tests."""
    return min(timeit.repeat(lambda: check(folder), number=1, repeat=5))


def test_the_check_at_load_takes_under_a_tenth_of_a_second_whatever_the_size(tmp_path):
    """Five gigabytes that take no disk: files with a hole in place of their content."""
    sizes = {f"part-{number}.bin": 5 << 28 for number in range(4)}
    for name, size in sizes.items():
        (tmp_path / name).touch()
        os.truncate(tmp_path / name, size)
    entries = {name: {"size": size, "sha256": ""} for name, size in sizes.items()}
    (tmp_path / MANIFEST).write_text(json.dumps({"files": entries}))
    assert quickest(require_manifest, tmp_path) < 0.1


def test_loading_an_export_with_a_manifest_takes_under_a_tenth_of_a_second(copy):
    assert quickest(require_model_dir, copy) < 0.1


def test_a_folder_with_a_manifest_opens_as_before(ov_model, processor, int4_dir):
    """`ov_model` and `processor` were loaded from it by optimum-intel and by transformers."""
    assert (int4_dir / MANIFEST).exists()
    prompt = processor.tokenizer("What colour is the circle?", return_tensors="pt")
    assert ov_model.generate(**prompt, max_new_tokens=2).shape[1] > prompt["input_ids"].shape[1]
