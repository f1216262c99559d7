"""`notebook_utils`: choices, downloads, telemetry, model folders and clean-up, each with its failures.

Web servers run on the loopback address; the model folders are copies of the practice model and of its INT4 export.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from filelock import FileLock
from packaging.specifiers import SpecifierSet

import notebook_utils
from catalog import downloads
from catalog import on_disk as models_on_disk
from catalog.manifest import MANIFEST
from catalog.parameters import BYTES
from environment import devices as choices
from environment import telemetry, versions
from notebook_utils import (
    DeviceError,
    DownloadError,
    ModelFolderError,
    collect_telemetry,
    delete_model,
    device_widget,
    download_file,
    list_models_on_disk,
    model_choices,
    quantization_widget,
    require_device,
    require_model_dir,
    require_source_dir,
)

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def server():
    """server(answer) -> address; `answer(handler)` answers one request. Requests are kept in `server.seen`."""
    running = []

    def start(answer):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                length = int(self.headers.get("Content-Length", 0))
                start.seen.append((self.path, self.rfile.read(length)))
                answer(self)

            do_POST = do_GET

            def log_message(self, *args):
                """The server's own log would only clutter the output of the tests."""

        running.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=running[-1].serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{running[-1].server_port}"

    start.seen = []
    yield start
    for httpd in running:
        httpd.shutdown()
        httpd.server_close()


def answer_with(body: bytes, status: int = 200, **headers):
    def answer(handler):
        handler.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            handler.send_header(name.replace("_", "-"), str(value))
        handler.end_headers()
        handler.wfile.write(body)
    return answer


# ---- importing ------------------------------------------------------------------------------------------------------

def test_importing_the_helpers_loads_nothing_heavy():
    heavy = ("torch", "transformers", "openvino", "optimum", "gradio", "requests", "ipywidgets", "IPython")
    code = f"import cmd_helper, notebook_utils, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_promised_name_is_there():
    assert all(hasattr(notebook_utils, name) for name in notebook_utils.__all__)


# ---- devices and formats --------------------------------------------------------------------------------------------

@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(choices, "available_devices", lambda: ["CPU", "GPU.0", "GPU.1", "NPU"])


def test_the_device_widget_offers_what_is_there_and_auto(two_gpus):
    widget = device_widget()
    assert (widget.options, widget.value) == (("CPU", "GPU.0", "GPU.1", "NPU", "AUTO"), "AUTO")


def test_excluded_devices_are_not_offered(two_gpus):
    assert device_widget(exclude=["NPU", "GPU.1"]).options == ("CPU", "GPU.0", "AUTO")
    assert device_widget(exclude=["GPU"]).options == ("CPU", "NPU", "AUTO")


def test_a_default_that_is_not_there_gives_way_to_one_that_is(two_gpus):
    assert device_widget(default="GPU.1").value == "GPU.1"
    assert device_widget(default="GPU.7").value == "CPU"
    assert device_widget(default="AUTO", exclude=["AUTO"]).value == "CPU"


def test_excluding_everything_is_an_error(two_gpus):
    with pytest.raises(DeviceError, match="leaves no device"):
        device_widget(exclude=["CPU", "GPU", "NPU", "AUTO"])


@pytest.mark.parametrize("name", ["CPU", "AUTO"])
def test_the_chosen_device_is_the_one_that_computes(int4_dir, name):
    """As the notebook does it. The seed passed the device into another parameter, where it had no effect."""
    from optimum.intel.openvino import OVModelForVisualCausalLM

    model = OVModelForVisualCausalLM.from_pretrained(str(int4_dir), device=require_device(device_widget(name).value))
    compiled = model.language_model.request.get_compiled_model()
    assert compiled.get_property("EXECUTION_DEVICES") == ["CPU"], "all that a machine without a GPU can choose from"
    assert ("DEVICE_PRIORITIES" in str(compiled.get_property("SUPPORTED_PROPERTIES"))) == (name == "AUTO")


@pytest.mark.parametrize("name", ["CPU", "cpu", "CPU.0", " GPU.1 ", "GPU", "AUTO", "AUTO:GPU,CPU", "MULTI:GPU.0,CPU"])
def test_devices_that_exist_are_accepted(two_gpus, name):
    assert require_device(name) == name.strip().upper()


@pytest.mark.parametrize("name", ["GPU.2", "TPU", "", "AUTO:CPU,TPU", "CPU:0"])
def test_a_device_that_does_not_exist_is_refused_with_those_that_do(two_gpus, name):
    with pytest.raises(DeviceError, match=r"Choose one of: CPU, GPU\.0, GPU\.1, NPU, AUTO"):
        require_device(name)


def test_every_format_of_the_quantization_widget_is_one_that_exports_are_tested_with():
    widget = quantization_widget()
    assert widget.value == "int4"
    assert set(widget.options.values()) == set(BYTES)


# ---- downloads ------------------------------------------------------------------------------------------------------

def test_a_file_is_downloaded_once(server, tmp_path, capsys):
    url = server(answer_with(b"x" * 200_000)) + "/pictures/demo%20one.jpeg?size=large"
    path = download_file(url, directory=tmp_path / "new folder")
    assert path == tmp_path / "new folder" / "demo one.jpeg"
    assert path.read_bytes() == b"x" * 200_000
    assert "demo one.jpeg: 0.2 of 0.2 MB, 100%" in capsys.readouterr().out
    download_file(url, directory=tmp_path / "new folder")
    assert len(server.seen) == 1


def test_the_file_name_can_be_chosen(server, tmp_path):
    assert download_file(server(answer_with(b"x")) + "/", "mine.bin", tmp_path) == tmp_path / "mine.bin"


def test_a_download_that_breaks_off_leaves_nothing(server, tmp_path):
    url = server(answer_with(b"half", Content_Length=8)) + "/file"
    with pytest.raises(DownloadError, match=re.escape(f"save the file as {tmp_path / 'file'} yourself")):
        download_file(url, directory=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_part_is_a_part_until_it_is_whole(server, tmp_path):
    """The server holds back the second half until it has seen what the first half was written to."""
    there = []

    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "200000")
        handler.end_headers()
        handler.wfile.write(b"x" * 100_000)
        deadline = time.monotonic() + 30
        while not any(tmp_path.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.02)
        there.extend(path.name for path in tmp_path.iterdir())
        handler.wfile.write(b"x" * 100_000)

    download_file(server(answer) + "/file", directory=tmp_path)
    assert there == ["file.part"]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_compressed_answer_is_whole_although_its_length_is_not_the_files(server, tmp_path):
    import gzip

    squeezed = gzip.compress(b"x" * 10_000)
    url = server(answer_with(squeezed, Content_Encoding="gzip")) + "/file"
    assert download_file(url, directory=tmp_path).stat().st_size == 10_000


def test_an_answer_that_is_an_error_is_told_in_one_line(server, tmp_path):
    with pytest.raises(DownloadError, match="the server answered 404 Not Found") as caught:
        download_file(server(answer_with(b"<html>", 404)) + "/file", directory=tmp_path)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_offline_the_error_says_where_to_put_the_file(tmp_path):
    with pytest.raises(DownloadError, match=r"the server cannot be reached.*Check the network, or save") as caught:
        download_file("http://127.0.0.1:9/file", directory=tmp_path)
    assert "object at 0x" not in str(caught.value)


def test_a_server_that_says_nothing_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "TIMEOUT_S", (5, 0.2))
    silence = threading.Event()
    with pytest.raises(DownloadError, match="did not answer in time"):
        download_file(server(lambda handler: silence.wait(30)) + "/file", directory=tmp_path)
    silence.set()


@pytest.mark.parametrize(("url", "name"), [
    ("file:///etc/passwd", None), ("demo.jpeg", None), ("http://127.0.0.1:9/", None), ("http://127.0.0.1:9/a", "../b"),
    ("http://127.0.0.1:9/..%2Fevil", None), ("http://127.0.0.1:9/a%5Cb", None), ("http://127.0.0.1:9/a", ".."),
])
def test_odd_addresses_and_names_are_refused(tmp_path, url, name):
    with pytest.raises(DownloadError, match=r"not a web address|cannot be reached|not a plain file name"):
        download_file(url, name, tmp_path / "inside")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


# ---- telemetry ------------------------------------------------------------------------------------------------------

def test_nothing_is_sent_unless_the_reader_names_an_endpoint(monkeypatch):
    import requests

    monkeypatch.setattr(requests, "post", lambda *args, **kwargs: pytest.fail("a request was made"))
    collect_telemetry("qwen2-vl.ipynb")


def test_only_the_files_name_is_sent(server, monkeypatch):
    monkeypatch.setenv("QWEN2_VL_TELEMETRY_URL", server(answer_with(b"")) + "/here")
    collect_telemetry("/home/someone/secret project/qwen2-vl.ipynb")
    assert [(path, json.loads(body)) for path, body in server.seen] == [("/here", {"file": "qwen2-vl.ipynb"})]


@pytest.mark.parametrize("name", ["DO_NOT_TRACK", "SCARF_NO_ANALYTICS"])
@pytest.mark.parametrize(("value", "sent"), [("1", 0), ("true", 0), ("TRUE", 0), ("yes", 0),
                                             ("0", 1), ("false", 1), ("", 1)])
def test_opting_out_is_honoured_however_it_is_written(server, monkeypatch, name, value, sent):
    monkeypatch.setenv("QWEN2_VL_TELEMETRY_URL", server(answer_with(b"")))
    monkeypatch.setenv(name, value)
    collect_telemetry("qwen2-vl.ipynb")
    assert len(server.seen) == sent


def test_a_redirect_is_not_followed(server, monkeypatch):
    monkeypatch.setenv("QWEN2_VL_TELEMETRY_URL", server(answer_with(b"", 307, Location="/elsewhere")) + "/named")
    collect_telemetry("qwen2-vl.ipynb")
    assert [path for path, _ in server.seen] == ["/named"]


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9/", "not an address", "http://", "ftp://127.0.0.1/", "http://[::"])
def test_telemetry_never_raises(monkeypatch, endpoint, capsys):
    monkeypatch.setenv("QWEN2_VL_TELEMETRY_URL", endpoint)
    collect_telemetry("qwen2-vl.ipynb")
    assert "Telemetry was not sent" in capsys.readouterr().out


def test_telemetry_gives_up_on_a_server_that_hangs(server, monkeypatch, capsys):
    monkeypatch.setattr(telemetry, "TIMEOUT_S", 0.2)
    silence = threading.Event()
    monkeypatch.setenv("QWEN2_VL_TELEMETRY_URL", server(lambda handler: silence.wait(30)))
    collect_telemetry("qwen2-vl.ipynb")
    silence.set()
    assert "ReadTimeout" in capsys.readouterr().out


def test_the_seeds_first_call_also_silences_the_libraries(bare_environment):
    """In a process as a reader starts it, with CI unset: the call comes first, then OpenVINO is imported."""
    code = ("from notebook_utils import collect_telemetry; collect_telemetry('qwen2-vl.ipynb');"
            "import openvino.tools.ovc, time; time.sleep(2)")
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=bare_environment.variables, check=True)
    assert bare_environment.connections() == ""


# ---- versions -------------------------------------------------------------------------------------------------------

def test_the_pins_are_inside_the_window():
    text = (ROOT / "requirements.txt").read_text()
    pins = dict(re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE))
    shared = set(pins) & set(versions.WINDOW)
    assert {"transformers", "optimum-intel", "openvino", "openvino-tokenizers", "nncf", "torch", "gradio"} <= shared
    outside = {name: pins[name] for name in shared if pins[name] not in SpecifierSet(versions.WINDOW[name][0])}
    assert outside == {}


# ---- is a folder a whole model? -------------------------------------------------------------------------------------

@pytest.fixture(params=["with its manifest", "without"])
def export_copy(int4_dir, tmp_path, request) -> Path:
    folder = shutil.copytree(int4_dir, tmp_path / "a model")
    if request.param == "without":  # as ready-made ones and earlier exports are
        (folder / MANIFEST).unlink()
    return folder


@pytest.fixture
def source_copy(tiny_dir, tmp_path) -> Path:
    return shutil.copytree(tiny_dir, tmp_path / "a source")


def cut(file: Path, share: float) -> None:
    os.truncate(file, int(file.stat().st_size * share))


def test_whole_folders_are_accepted(export_copy, source_copy):
    assert require_model_dir(str(export_copy)) == export_copy
    assert require_source_dir(str(source_copy)) == source_copy


def test_both_families_are_accepted(qwen25_dir):
    assert "qwen2_5_vl" in (qwen25_dir / "config.json").read_text()
    assert require_model_dir(qwen25_dir) == qwen25_dir
    source = qwen25_dir.with_name("source of qwen25")
    assert require_source_dir(source) == source


@pytest.mark.parametrize("require", [require_model_dir, require_source_dir])
def test_a_missing_folder_is_refused(require, tmp_path):
    with pytest.raises(ModelFolderError, match="There is no model folder"):
        require(tmp_path / "nowhere")


@pytest.mark.parametrize("require", [require_model_dir, require_source_dir])
def test_an_empty_folder_is_refused(require, tmp_path):
    with pytest.raises(ModelFolderError, match=r"config\.json missing"):
        require(tmp_path)


@pytest.mark.parametrize("name", [
    "openvino_language_model.xml", "openvino_language_model.bin", "openvino_text_embeddings_model.bin",
    "openvino_vision_embeddings_model.xml", "openvino_vision_embeddings_merger_model.bin", "tokenizer_config.json"])
def test_an_export_without_one_of_its_files_is_refused(export_copy, name):
    (export_copy / name).unlink()
    with pytest.raises(ModelFolderError, match=f"is not a whole model: {re.escape(name)} missing"):
        require_model_dir(export_copy)


@pytest.mark.parametrize("name", ["openvino_language_model.bin", "openvino_vision_embeddings_merger_model.bin",
                                  "openvino_language_model.xml", "openvino_vision_embeddings_model.xml"])
@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_an_export_with_a_file_cut_short_is_refused(export_copy, name, share):
    cut(export_copy / name, share)
    with pytest.raises(ModelFolderError, match=f"{re.escape(name)} (breaks off|has [\\d,]+ of [\\d,]+ bytes)"):
        require_model_dir(export_copy)


@pytest.mark.parametrize("share", [0, 0.0001, 0.5, 0.99])
def test_weights_cut_short_are_refused(source_copy, share):
    cut(source_copy / "model.safetensors", share)
    with pytest.raises(ModelFolderError, match=r"model\.safetensors (breaks off|has [\d,]+ of [\d,]+ bytes)"):
        require_source_dir(source_copy)


@pytest.mark.parametrize("header", [b"not json", b"[]", b'{"a": {}}', b'{"a": 1}'])
def test_weights_with_a_broken_header_are_refused(source_copy, header):
    (source_copy / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ModelFolderError, match=r"model\.safetensors has an unreadable header"):
        require_source_dir(source_copy)


def test_an_own_folder_whose_config_lacks_a_shape_is_refused(source_copy):
    (source_copy / "config.json").write_text('{"model_type": "qwen2_vl"}')
    with pytest.raises(ModelFolderError, match=r"config\.json lacks 'hidden_size'"):
        model_choices(source_copy)


def test_a_missing_shard_is_named(source_copy):
    (source_copy / "model.safetensors").rename(source_copy / "model-1-of-2.safetensors")
    index = {"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}
    (source_copy / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelFolderError, match=r"model-2-of-2\.safetensors missing"):
        require_source_dir(source_copy)
    (source_copy / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ModelFolderError, match=r"index\.json names no weights"):
        require_source_dir(source_copy)


@pytest.mark.parametrize("require", [require_model_dir, require_source_dir])
def test_a_model_of_another_architecture_is_named(require, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "qwen3_vl"}')
    with pytest.raises(ModelFolderError, match=r"holds a model of type 'qwen3_vl'.* runs qwen2_vl and qwen2_5_vl "):
        require(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '"qwen2_vl"', "\0\0\0\0"])
def test_a_config_that_is_not_one_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ModelFolderError, match=r"config\.json is not valid"):
        require_model_dir(tmp_path)


def test_an_original_is_told_apart_from_an_export(tiny_dir):
    with pytest.raises(ModelFolderError, match="export it first with optimum_cli"):
        require_model_dir(tiny_dir)


# ---- what is on disk, and clean-up ----------------------------------------------------------------------------------

@pytest.fixture
def models(tmp_path, monkeypatch) -> Path:
    """A `models/` folder with two exports of one model, what an interrupted third left, and a neighbour outside."""
    folder = tmp_path / "models"
    monkeypatch.setattr(models_on_disk, "MODELS_DIR", folder)
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
