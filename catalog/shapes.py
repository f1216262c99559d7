"""The shapes of the models on the hub, as their config.json has them, in one flat layout. Plain data.

From https://huggingface.co/Qwen/Qwen2-VL-2B-Instruct/blob/main/config.json and its siblings; what says nothing about
size is left out. Counting parameters is in `catalog/parameters.py`.
"""

VISION_2 = {"depth": 32, "embed_dim": 1280, "mlp_ratio": 4, "num_heads": 16, "patch_size": 14, "spatial_merge_size": 2,
            "temporal_patch_size": 2}
VISION_25 = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "patch_size": 14,
             "spatial_merge_size": 2, "temporal_patch_size": 2, "window_size": 112,
             "fullatt_block_indexes": [7, 15, 23, 31], "tokens_per_second": 2}
VISION_3 = {"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "num_heads": 16, "patch_size": 16,
            "spatial_merge_size": 2, "temporal_patch_size": 2, "num_position_embeddings": 2304,
            "deepstack_visual_indexes": [5, 11, 17]}
TEXT_3 = {"num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936}
TEXT_7B = {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
           "num_key_value_heads": 4, "vocab_size": 152064, "tie_word_embeddings": False}

SHAPES = {
    "2b": {"model_type": "qwen2_vl", "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
           "num_attention_heads": 12, "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True,
           "vision_config": {**VISION_2, "hidden_size": 1536}},
    "7b": {"model_type": "qwen2_vl", **TEXT_7B, "vision_config": {**VISION_2, "hidden_size": 3584}},
    "2.5-3b": {"model_type": "qwen2_5_vl", "hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36,
               "num_attention_heads": 16, "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True,
               "vision_config": {**VISION_25, "out_hidden_size": 2048}},
    "2.5-7b": {"model_type": "qwen2_5_vl", **TEXT_7B, "vision_config": {**VISION_25, "out_hidden_size": 3584}},
    "3-2b": {"model_type": "qwen3_vl", **TEXT_3, "hidden_size": 2048, "intermediate_size": 6144,
             "num_hidden_layers": 28, "num_attention_heads": 16, "tie_word_embeddings": True,
             "vision_config": {**VISION_3, "out_hidden_size": 2048}},
    "3-4b": {"model_type": "qwen3_vl", **TEXT_3, "hidden_size": 2560, "intermediate_size": 9728,
             "num_hidden_layers": 36, "num_attention_heads": 32, "tie_word_embeddings": True,
             "vision_config": {**VISION_3, "out_hidden_size": 2560}},
    "3-8b": {"model_type": "qwen3_vl", **TEXT_3, "hidden_size": 4096, "intermediate_size": 12288,
             "num_hidden_layers": 36, "num_attention_heads": 32, "tie_word_embeddings": False,
             "vision_config": {**VISION_3, "depth": 27, "hidden_size": 1152, "intermediate_size": 4304,
                               "out_hidden_size": 4096, "deepstack_visual_indexes": [8, 16, 24]}},
}
