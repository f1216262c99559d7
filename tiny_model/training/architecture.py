"""The practice model's parts, untrained: tokenizer, processor and configuration, all of Qwen2-VL's own classes.

Here: what is built once before training. Not here: data (`scenes`, `questions`), the training (`train`).

Three sizes are chosen for a reason:
- widths are multiples of 128, the group size of the default INT4 compression;
- `rope_theta` is 300 and the M-RoPE sections are 6, 10 and 16 of 32 frequencies: with Qwen2-VL's one million and
small heads, width gets frequencies so low that six cells turn the phase by 0.02 rad, and left looks like right
(https://arxiv.org/abs/2409.12191, 2.1); with 100, the slowest one turns by more than 1 rad in 100 tokens, and a picture
further back is not found;
- runs of digits are one token where they are frequent (coordinates in steps of 20), so a box is four decisions and
not twelve.
"""

import itertools
import random

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessorFast,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
)

from adapters.qwen_vl import PIXELS_PER_TOKEN
from tiny_model import questions
from tiny_model.scenes import sample_scene, sample_video

# In the order of Qwen2-VL's tokenizer_config.json.
SPECIAL_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>",
    "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>",
    "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
VOCABULARY = 1024
SYSTEM = "You are a helpful assistant."
MIN_VISUAL_TOKENS, MAX_VISUAL_TOKENS = 16, 400  # of a picture, unless the caller says otherwise
INITIAL_DEVIATION = 0.06  # of the weights; the usual 0.02 leaves a model of this width blind

# Qwen2-VL's template without its optional "Picture 1:" numbering.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for content in message['content'] %}"
    "{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif content['type'] == 'video' or 'video' in content %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def _corpus(count: int = 4000):
    """Text that shows the tokenizer every word and coordinate the model needs."""
    rng = random.Random(1)
    for _ in range(count):
        scene = sample_scene(rng, (84, 84))
        dialogues = [questions.about_scene(rng, scene, rng.choice(questions.KINDS)), questions.off_topic(rng)]
        if rng.random() < 0.1:
            video = sample_video(rng, (28, 28), 1)
            dialogues.append(questions.about_video(rng, video.mover, video.direction))
            dialogues.append(questions.about_pair(rng, scene, scene))
        for dialogue in filter(None, dialogues):
            for question, answer in dialogue.turns:
                yield f"user\n{question}\nassistant\n{answer}\nsystem\n{SYSTEM}\n{questions.NO_PICTURE}\n"


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE trained on our own sentences. Splits like Qwen2's, except that digits stay together."""
    bpe = Tokenizer(models.BPE())
    pattern = Regex(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,4}| ?[^\s\p{L}\p{N}]+|\s*[\r\n]+|\s+(?!\S)|\s+")
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(pattern, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    coordinates = [str(v) for v in range(0, 1001, questions.BOX_STEP)] * 2000  # all of them, also the rare ones
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(itertools.chain(_corpus(), coordinates), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|endoftext|>", model_max_length=32768,
        additional_special_tokens=list(SPECIAL_TOKENS), padding_side="left", clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )  # fmt: skip


def build_processor() -> Qwen2VLProcessor:
    """Tokenizer, image and video processor; MIN_VISUAL_TOKENS to MAX_VISUAL_TOKENS a picture unless the caller says
    otherwise.
    """
    budget = {
        "shortest_edge": MIN_VISUAL_TOKENS * PIXELS_PER_TOKEN, "longest_edge": MAX_VISUAL_TOKENS * PIXELS_PER_TOKEN,
    }  # fmt: skip
    return Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessorFast(size=budget),
        tokenizer=build_tokenizer(),
        video_processor=Qwen2VLVideoProcessor(size=budget, do_sample_frames=False),
        chat_template=CHAT_TEMPLATE,
    )


def build_model(tokenizer) -> Qwen2VLForConditionalGeneration:
    """A Qwen2-VL of 4.6 million random parameters. Deterministic: seeds torch's global generator."""
    torch.manual_seed(0)
    token = {name: tokenizer.convert_tokens_to_ids(name) for name in SPECIAL_TOKENS}
    ends = {
        "bos_token_id": token["<|endoftext|>"],
        "eos_token_id": token["<|im_end|>"],
        "pad_token_id": token["<|endoftext|>"],
    }
    width = 256
    text = {
        "vocab_size": VOCABULARY, "hidden_size": width, "intermediate_size": 512, "num_hidden_layers": 5,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 32768,
        "rope_parameters": {"rope_type": "default", "rope_theta": 300.0, "mrope_section": [6, 10, 16]},
        "initializer_range": INITIAL_DEVIATION, "tie_word_embeddings": True, **ends,
    }  # fmt: skip
    vision = {
        "depth": 4, "embed_dim": 128, "hidden_size": width, "num_heads": 4, "mlp_ratio": 4,
        "initializer_range": INITIAL_DEVIATION,
    }  # fmt: skip
    config = Qwen2VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=token["<|image_pad|>"],
        video_token_id=token["<|video_pad|>"],
        vision_start_token_id=token["<|vision_start|>"],
        vision_end_token_id=token["<|vision_end|>"],
        tie_word_embeddings=True,
        initializer_range=INITIAL_DEVIATION,
        practice_model=True,  # see adapters.qwen_vl.is_practice_model
        **ends,
    )
    return Qwen2VLForConditionalGeneration(config)
