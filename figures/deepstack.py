"""What DeepStack does in a Qwen3-VL: how far its first layers move when features of the vision encoder are taken away.

deepstack_shares(random_qwen3_vl(), image)   # {"without level 1": {"layer 1": 0.3, ...}, ...}, for `charts.bar_chart`

With Transformers' own model in PyTorch: OpenVINO's graphs do not show their layers. https://arxiv.org/abs/2511.21631
"""


def random_qwen3_vl():
    """A Qwen3-VL of random weights, 1.5 million parameters: for how it computes, not for answers.

    What the encoder's layers 1, 2 and 3 of 4 see is added behind the language model's layers 1, 2 and 3 of 6.
    """
    import torch
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    tokens = {"image_token_id": 1, "video_token_id": 2, "vision_start_token_id": 3, "vision_end_token_id": 4}
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [6, 5, 5], "mrope_interleaved": True}
    text = {
        "vocab_size": 8, "hidden_size": 128, "intermediate_size": 256,
        "num_hidden_layers": 6, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32,
        "initializer_range": 0.1, "rope_parameters": rope,
    }  # fmt: skip
    vision = {
        "depth": 4, "hidden_size": 64, "out_hidden_size": 128, "num_heads": 4, "intermediate_size": 128,
        "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1, 2], "initializer_range": 0.1,
    }  # fmt: skip
    torch.manual_seed(0)
    return Qwen3VLForConditionalGeneration(Qwen3VLConfig(text_config=text, vision_config=vision, **tokens)).eval()


def deepstack_shares(model, image) -> dict[str, dict[str, float]]:
    """For each level of DeepStack, and for each layer of the language model: the norm of the difference that taking
    this level away makes to the hidden states of the visual tokens behind that layer, as a share of their norm.

    model: a Qwen3VLForConditionalGeneration. image: of PIL, in RGB; the prompt is this picture alone.
    """
    inputs = _shown(model.config, image)
    seen = inputs["input_ids"][0] == model.config.image_token_id
    whole = _hidden_states(model, inputs, seen, None)
    shares = {}
    for level in range(len(model.config.vision_config.deepstack_visual_indexes)):
        less = _hidden_states(model, inputs, seen, level)
        shares[f"without level {level + 1}"] = {
            f"layer {layer}": float((a - b).norm() / a.norm())
            for layer, (a, b) in enumerate(zip(whole, less, strict=True), 1)
        }
    return shares


def _shown(config, image) -> dict:
    """The inputs for a prompt of one picture."""
    import torch
    from transformers import Qwen2VLImageProcessorFast

    cutting = {"patch_size": config.vision_config.patch_size, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    encoded = Qwen2VLImageProcessorFast(**cutting)(images=[image], return_tensors="pt")
    tokens = int(encoded["image_grid_thw"].prod()) // config.vision_config.spatial_merge_size**2
    ids = torch.tensor([[config.vision_start_token_id, *[config.image_token_id] * tokens, config.vision_end_token_id]])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), **encoded}


def _hidden_states(model, inputs, seen, without: int | None) -> list:
    """Of the visual tokens behind each layer, with the features of level `without` set to zero."""
    import torch

    states = []

    def take_away(_, args, options):
        features = list(options["deepstack_visual_embeds"])
        if without is not None:
            features[without] = torch.zeros_like(features[without])
        return args, {**options, "deepstack_visual_embeds": features}

    def keep(_, args, options):
        states.append((args[0] if args else options["hidden_states"])[0, seen])

    text = model.model.language_model
    # What a layer leaves has DeepStack's features added before the next one, or the last norm, sees it.
    hooks = [text.register_forward_pre_hook(take_away, with_kwargs=True)]
    hooks += [module.register_forward_pre_hook(keep, with_kwargs=True) for module in [*text.layers[1:], text.norm]]
    try:
        with torch.no_grad():
            model(**inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return states
