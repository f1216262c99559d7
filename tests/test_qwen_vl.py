"""adapters/qwen_vl.py: what it says about the Qwen-VL families is what Transformers and the practice model say."""

import re

import pytest
import transformers
from PIL import Image
from transformers import CONFIG_MAPPING, AutoConfig, AutoProcessor

from adapters.qwen_vl import FAMILIES, FAMILY_NAMES, MERGE_SIZE, MODEL_TYPES, PATCH_SIZE, PIXELS_PER_TOKEN, family_of


@pytest.fixture(scope="module")
def practice_processor(tiny_dir):
    return AutoProcessor.from_pretrained(tiny_dir)


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_transformers_knows_the_family_by_this_name_and_with_these_sizes(model_type):
    vision = CONFIG_MAPPING[model_type]().vision_config
    assert (vision.patch_size, vision.spatial_merge_size) == (FAMILIES[model_type].patch_size, MERGE_SIZE)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=str)
def test_a_family_is_known_by_its_processor(family):
    assert family_of(object.__new__(getattr(transformers, family.processor))) == family


def test_the_practice_model_is_of_a_family_that_is_named(tiny_dir, practice_processor):
    config = AutoConfig.from_pretrained(tiny_dir)
    assert config.model_type in MODEL_TYPES
    assert (config.vision_config.patch_size, config.vision_config.spatial_merge_size) == (PATCH_SIZE, MERGE_SIZE)
    assert family_of(practice_processor) == FAMILIES[config.model_type]


@pytest.mark.parametrize("part", ["image_processor", "video_processor"])
def test_the_processor_cuts_pictures_and_frames_into_patches_of_this_size(practice_processor, part):
    cutting = getattr(practice_processor, part)
    assert (cutting.patch_size, cutting.merge_size) == (PATCH_SIZE, MERGE_SIZE)


@pytest.mark.parametrize("tokens", [(4, 4), (5, 7), (20, 20)])
def test_so_many_pixels_are_one_visual_token(practice_processor, tokens):
    """A picture whose sides are multiples of a token's is not resized, and costs its pixels / PIXELS_PER_TOKEN."""
    side = PATCH_SIZE * MERGE_SIZE
    picture = Image.new("RGB", (tokens[0] * side, tokens[1] * side))
    content = [{"type": "image", "image": picture}, {"type": "text", "text": "What is this?"}]
    text = practice_processor.apply_chat_template([{"role": "user", "content": content}])
    ids = practice_processor(text=[text], images=[picture])["input_ids"][0]
    placeholders = sum(token == practice_processor.image_token_id for token in ids)
    assert placeholders == picture.width * picture.height / PIXELS_PER_TOKEN == tokens[0] * tokens[1]


def test_the_names_for_people_are_those_of_the_model_types():
    """ "Qwen2.5-VL" for "qwen2_5_vl", and no family more or less."""
    named = re.findall(r"Qwen[\d.]+-VL", FAMILY_NAMES)
    assert named == [family.name for family in FAMILIES.values()]
    assert [name.lower().replace(".", "_").replace("-", "_") for name in named] == list(MODEL_TYPES)
