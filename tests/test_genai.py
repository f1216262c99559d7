"""The exported folder, as it is, in OpenVINO GenAI: the library behind OpenVINO Model Server and C++ programs."""

import random

import numpy as np
import openvino
import openvino_genai

from catalog.manifest import MANIFEST
from tiny_model import scenes


def test_the_int4_folder_answers_a_drawn_picture(int4_dir):
    assert (int4_dir / MANIFEST).exists()
    pipeline = openvino_genai.VLMPipeline(int4_dir, "CPU")
    for seed in range(2):
        scene = scenes.sample_scene(random.Random(seed), (112, 112))
        picture = openvino.Tensor(np.asarray(scene.image)[None])
        answer = pipeline.generate("Describe this image.", images=[picture], do_sample=False, max_new_tokens=48)
        assert any(shape.name in answer.texts[0] for shape in scene.shapes), (answer.texts, scene.shapes)
