"""The Qwen-VL families as Transformers names them, the sizes that all of them share, and our own among them.

Sources: https://arxiv.org/abs/2409.12191 (Qwen2-VL), https://arxiv.org/abs/2502.13923 (Qwen2.5-VL), and `patch_size`
and `merge_size` of their preprocessor_config.json. Noticed by tests/test_qwen_vl.py.
"""

MODEL_TYPES = ("qwen2_vl", "qwen2_5_vl")  # `model_type` in config.json
FAMILY_NAMES = "Qwen2-VL and Qwen2.5-VL"  # the same for people

PATCH_SIZE = 14  # pixels of one side of a patch, which is what the vision encoder takes
MERGE_SIZE = 2  # patches of one side of a visual token, which is what the language model takes
PIXELS_PER_TOKEN = (PATCH_SIZE * MERGE_SIZE) ** 2  # 28 × 28: one visual token


def is_practice_model(config) -> bool:
    """Whether `config`, of a loaded model, is that of the practice model: it has an entry that no other has."""
    return getattr(config, "practice_model", False)
