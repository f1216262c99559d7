"""The exported folder, as it is, in OpenVINO GenAI: the library behind OpenVINO Model Server and C++ programs."""

import multiprocessing
import random
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import openvino
import openvino_genai

from catalog.manifest import MANIFEST
from tiny_model import scenes


def descriptions(folder: Path, pictures: list[np.ndarray]) -> list[str]:
    """To be run in a process of its own: it leaves that without a stack for its signals (docs/decisions.md, Tests)."""
    pipeline = openvino_genai.VLMPipeline(folder, "CPU")
    options = {"do_sample": False, "max_new_tokens": 48}
    return [
        pipeline.generate("Describe this image.", images=[openvino.Tensor(picture[None])], **options).texts[0]
        for picture in pictures
    ]


def test_the_int4_folder_answers_a_drawn_picture(int4_dir):
    assert (int4_dir / MANIFEST).exists()
    drawn = [scenes.sample_scene(random.Random(seed), (112, 112)) for seed in range(2)]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        answers = process.submit(descriptions, int4_dir, [np.asarray(scene.image) for scene in drawn]).result()
    for scene, answer in zip(drawn, answers, strict=True):
        assert any(shape.name in answer for shape in scene.shapes), (answer, scene.shapes)
