"""`example_for`: a picture and questions that the model at hand can answer."""

from types import SimpleNamespace

from PIL import Image

from catalog.downloads import DownloadError
from notebook_utils import example_for


def test_practice_model_gets_drawn_shapes():
    example = example_for(SimpleNamespace(practice_model=True))
    assert example.image.size == (336, 224)
    assert example.thing == "red circle"


def test_other_models_get_a_photograph_and_without_a_network_the_cat(monkeypatch, tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "photo.png")
    monkeypatch.setattr("tiny_model.example.download_file", lambda address, directory: tmp_path / "photo.png")
    assert example_for(SimpleNamespace()).image.size == (30, 20)

    def fail(address, directory):
        raise DownloadError("no network")

    monkeypatch.setattr("tiny_model.example.download_file", fail)
    assert example_for(SimpleNamespace()).image.size == (451, 300)
