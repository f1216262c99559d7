"""`catalog.hub`: models from a hub on the loopback address: whole, from the cache, cut off, refused in plain words.

Downloads run in a child process, because huggingface_hub reads its settings when it is imported: one child for all
tests, and a second one that is offline.
"""

import contextlib
import errno
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import random_model
from benchmarks.random_model import flat
from catalog import hub as our_hub
from catalog.manifest import MANIFEST
from catalog.model_folder import PARTS
from tests.fake_hub import COMMIT, FakeHub
from tests.test_random_model import TINY

ROOT = Path(__file__).resolve().parent.parent
LOST_WITH_A_CUT = 1 << 16  # bytes; 10 MB by default, which is more than the practice model has
CHILD = f"""
import json, sys, time
from huggingface_hub import constants
constants.DOWNLOAD_CHUNK_SIZE = {LOST_WITH_A_CUT}
time.sleep = lambda seconds: None  # what huggingface_hub waits between its attempts
from catalog import hub
for line in sys.stdin:
    function, name = json.loads(line)
    try:
        result = getattr(hub, function)(name)
        print(json.dumps(dict(result=str(result) if function == "fetch_model" else vars(result))), flush=True)
    except hub.HubError as error:
        print(json.dumps(dict(error=str(error))), flush=True)
"""
EXPORT = """
import sys; from pathlib import Path; from catalog import choices; choices.MODELS_DIR = Path(sys.argv[2])
from cmd_helper import export_if_needed; print(export_if_needed(sys.argv[1]))
"""


@contextlib.contextmanager
def child_process(environment: dict):
    """Yields call(function, name) -> {"result": ...} or {"error": ...}, run in a Python of its own."""
    with subprocess.Popen([sys.executable, "-c", CHILD], cwd=ROOT, env=environment, text=True, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        def call(function: str, name: str) -> dict:
            print(json.dumps([function, name]), file=child.stdin, flush=True)
            return json.loads(child.stdout.readline())
        yield call
        child.stdin.close()


@pytest.fixture(scope="module")
def hub():
    with FakeHub() as running:
        yield running


@pytest.fixture(scope="module")
def environment(hub, tmp_path_factory) -> dict:
    online = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    return {**online, "HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path_factory.mktemp("hub")),
            "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


@pytest.fixture(scope="module")
def call(environment):
    with child_process(environment) as ask:
        yield ask


@pytest.fixture(scope="module")
def call_offline(environment):
    with child_process({**environment, "HF_HUB_OFFLINE": "1"}) as ask:
        yield ask


def fetched(answer: dict) -> Path:
    assert "result" in answer, answer
    return Path(answer["result"])


def blobs(repository) -> int:
    """How often a file of weights was sent."""
    return sum(file.endswith(".safetensors") for file, _ in repository.sent)


def test_a_model_comes_whole_and_the_second_time_from_the_cache(hub, call, tiny_dir):
    model = hub.add_folder("someone/whole", tiny_dir)
    model.files.update({"README.md": b"# A model", "pytorch_model.bin": b"x" * 1000, "onnx/model.json": b"{}"})
    folder = fetched(call("fetch_model", "someone/whole"))
    for path in tiny_dir.iterdir():
        assert (folder / path.name).read_bytes() == path.read_bytes()
    assert {path.name for path in folder.iterdir()} == {path.name for path in tiny_dir.iterdir()}, "and nothing else"
    before = model.bytes_sent()
    assert fetched(call("fetch_model", "someone/whole")) == folder
    assert model.bytes_sent() == before


def test_of_a_ready_made_model_only_openvinos_files_come(hub, call, int4_dir):
    model = hub.add_folder("someone/ready", int4_dir)
    model.files["model.safetensors"] = b"the original beside it"
    folder = fetched(call("fetch_model", "someone/ready"))
    assert (folder / "openvino_language_model.bin").stat().st_size > 0
    assert blobs(model) == 0


def test_a_folder_is_returned_as_it_is(tiny_dir):
    assert our_hub.fetch_model(tiny_dir) == tiny_dir


@pytest.mark.parametrize("seed", range(3))
def test_a_cut_connection_is_taken_up_where_it_broke(hub, call, tiny_dir, seed):
    model = hub.add_folder(f"someone/cut-{seed}", tiny_dir)
    size = len(model.files["model.safetensors"])
    where = sorted(random.Random(seed).sample(range(1, size), 3))
    model.cuts["model.safetensors"] = [where[0], where[1] - where[0], where[2] - where[1]]
    folder = fetched(call("fetch_model", f"someone/cut-{seed}"))
    assert (folder / "model.safetensors").read_bytes() == model.files["model.safetensors"]
    pieces = [sent for file, sent in model.sent if file == "model.safetensors"]
    assert len(pieces) == 4
    assert sum(pieces) <= size + 3 * LOST_WITH_A_CUT


def test_after_a_download_that_failed_the_next_one_fetches_only_what_is_missing(hub, call, tiny_dir):
    model = hub.add_folder("someone/failed", tiny_dir)
    model.cuts["model.safetensors"] = [1000] + [0] * 20  # more often than huggingface_hub tries
    assert "broke off" in call("fetch_model", "someone/failed")["error"]
    whole = {file for file, size in model.sent if size == len(model.files[file])}
    assert whole - {"config.json"}
    model.cuts.clear()
    model.sent.clear()
    fetched(call("fetch_model", "someone/failed"))
    assert sorted(file for file, _ in model.sent) == sorted(model.files.keys() - whole)


@pytest.mark.parametrize(("status", "code", "words"), [
    (403, "GatedRepo", "is gated: its owner gives it to those who accept terms. Open http"),
    (401, "RepoNotFound", "There is no folder 'someone/refused' here, and no model of that name on the hub"),
    (404, "RepoNotFound", "Check the spelling (owner/name)"),
    (429, "", "no more requests from here for now (429, too many). Wait some minutes"),
    (503, "", "The hub answered 503"),
])
def test_a_refusal_is_told_in_plain_words(hub, call, tiny_dir, status, code, words):
    model = hub.add_folder("someone/refused", tiny_dir)
    model.status, model.error_code = status, code
    for function in ("fetch_model", "look_up"):
        error = call(function, "someone/refused")["error"]
        assert words in error
        assert "\n" not in error and "Traceback" not in error
    assert model.sent == []


@pytest.mark.parametrize("name", ["a/b/c", "", "no spaces/please"])
def test_a_name_that_is_none_is_refused(call, name):
    assert f"There is no folder {name!r} here, and no model" in call("fetch_model", name)["error"]


def test_another_kind_of_model_is_refused_before_its_weights_come(hub, call):
    model = hub.add("someone/other", {"config.json": b'{"model_type": "llama"}', "model.safetensors": b"x" * 1000})
    assert "is a model of type 'llama'; this tutorial runs" in call("fetch_model", "someone/other")["error"]
    assert blobs(model) == 0


@pytest.mark.parametrize("name, kind, said", [
    ("Qwen/Qwen3-VL-2B-Thinking", "qwen3_vl", "is a Thinking model"),
    ("Qwen/Qwen3-VL-30B-A3B-Instruct", "qwen3_vl_moe", "a mixture of experts"),
])  # fmt: skip
def test_what_is_not_run_of_qwen3_vl_is_refused_before_its_weights_come(hub, call, name, kind, said):
    model = hub.add(name, {"config.json": json.dumps({"model_type": kind}).encode(), "model.safetensors": b"x" * 1000})
    for function in ("fetch_model", "look_up"):
        assert said in call(function, name)["error"]
    assert blobs(model) == 0


def test_a_model_that_lacks_files_on_the_hub_is_refused(hub, call, tiny_dir):
    model = hub.add_folder("someone/lacking", tiny_dir)
    del model.files["tokenizer_config.json"]
    assert "tokenizer_config.json missing" in call("fetch_model", "someone/lacking")["error"]


def test_without_a_network_what_was_downloaded_will_do_and_nothing_else(hub, call, call_offline, tiny_dir, environment):
    hub.add_folder("someone/earlier", tiny_dir)
    hub.add_folder("someone/never", tiny_dir)
    folder = fetched(call("fetch_model", "someone/earlier"))
    assert fetched(call_offline("fetch_model", "someone/earlier")) == folder
    assert call_offline("look_up", "someone/earlier")["result"]["exported"] is False
    error = call_offline("fetch_model", "someone/never")["error"]
    assert "someone/never has not been downloaded yet, and HF_HUB_OFFLINE forbids the network" in error
    with child_process({**environment, "HF_ENDPOINT": "http://127.0.0.1:9"}) as cut_off:
        assert fetched(cut_off("fetch_model", "someone/earlier")) == folder
        error = cut_off("fetch_model", "someone/never")["error"]
        assert "The hub cannot be reached, and someone/never has not been downloaded yet" in error


def test_offline_half_a_download_is_not_a_model(hub, call, call_offline, tiny_dir):
    model = hub.add_folder("someone/half", tiny_dir)
    model.cuts["model.safetensors"] = [0] * 20
    call("fetch_model", "someone/half")
    assert "model.safetensors missing" in call_offline("fetch_model", "someone/half")["error"]


def test_a_model_is_looked_up_without_its_weights(hub, call, tiny_dir, int4_dir):
    original, ready = hub.add_folder("someone/looked-up", tiny_dir), hub.add_folder("someone/looked-up-ov", int4_dir)
    found = call("look_up", "someone/looked-up")["result"]
    assert found == {"config": json.loads((tiny_dir / "config.json").read_text()), "exported": False,
                     "size": sum(len(data) for data in original.files.values())}
    assert call("look_up", "someone/looked-up-ov")["result"]["exported"] is True
    assert [file for file, _ in original.sent + ready.sent] == ["config.json", "config.json"]


def test_a_disk_without_room_is_said_before_the_download(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**12, 10**12 - 10**9, 10**9))
    our_hub.require_room("someone/large", 10**9)
    with pytest.raises(our_hub.HubError, match=r"someone/large takes 16\.6 GB, and 1\.0 GB are free.*set HF_HOME"):
        our_hub.require_room("someone/large", 16_600_000_000)


@pytest.mark.parametrize(("error", "words"), [
    (OSError(errno.ENOSPC, "No space left on device"), "is full: free some, or set HF_HOME"),
    (RuntimeError("Data processing error: I/O error: No space left on device (os error 28)"), "is full: free some"),
    (RuntimeError("Data processing error: CAS service error"), "could not be downloaded (RuntimeError: "),
    (PermissionError(errno.EACCES, "Permission denied", "cache"), "could not be downloaded (PermissionError: "),
])
def test_what_goes_wrong_on_this_machine_is_told_too(error, words):
    """hf_xet, which large files of the real hub come through, raises RuntimeError for everything."""
    with pytest.raises(our_hub.HubError) as told, our_hub.in_plain_words("someone/large"):
        raise error
    assert words in str(told.value) and told.value.__cause__ is error


def test_a_qwen25_vl_comes_as_well(hub, call, tmp_path):
    random_model.write_model(TINY["qwen2_5_vl"], tmp_path, layout="old", file_size="200KB")
    model = hub.add_folder("someone/qwen25", tmp_path)
    assert call("look_up", "someone/qwen25")["result"]["config"]["model_type"] == "qwen2_5_vl"
    folder = fetched(call("fetch_model", "someone/qwen25"))
    assert {path.name for path in folder.iterdir()} == set(model.files)


def test_a_model_in_the_hubs_older_layout_is_exported_as_our_own_is(hub, environment, tiny_dir, int4_dir, ov_model,
                                                                    tmp_path):
    """`make demo`'s own path from a name to a model that answers; flat config, old names, as Qwen's checkpoints are."""
    model = hub.add_folder("someone/older", tiny_dir)
    model.files["config.json"] = json.dumps(flat(json.loads(model.files["config.json"]))).encode()
    assert b"text_config" not in model.files["config.json"]
    assert b"language_model" not in model.files["model.safetensors"]
    done = subprocess.run([sys.executable, "-c", EXPORT, "someone/older", str(tmp_path)], cwd=ROOT, env=environment,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = Path(done.stdout.splitlines()[-1])
    assert folder == tmp_path / "someone--older" / "INT4"
    assert f"optimum-cli export openvino --model someone/older {folder} " in done.stdout
    assert environment["HF_HOME"] not in done.stdout, "the name is shown, and not whose cache it is in"
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    assert (manifest["source"], manifest["revision"]) == ("someone/older", COMMIT)
    for part in PARTS:
        file = f"openvino_{part}.bin"
        assert (folder / file).read_bytes() == (int4_dir / file).read_bytes(), file
    assert first_tokens(folder) == first_tokens(ov_model)


def first_tokens(model) -> list[int]:
    """What a model, or the model in a folder, writes after a few tokens of text."""
    import torch
    from optimum.intel.openvino import OVModelForVisualCausalLM

    if isinstance(model, Path):
        model = OVModelForVisualCausalLM.from_pretrained(str(model), device="CPU")
    prompt = torch.tensor([[100, 101, 102, 103]])
    return model.generate(input_ids=prompt, max_new_tokens=8, do_sample=False)[0].tolist()
