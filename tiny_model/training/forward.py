"""Qwen2-VL's forward pass for packed training batches, on the model's own modules.

Transformers' forward loops over pictures in Python and takes one conversation a row. A training batch has pictures of
one or two sizes and several questions as branches behind a shared prefix; here the vision encoder runs on each size as
one dense tensor, and the language model with a block mask and restarting positions. A test holds both equal to
Transformers' own forward. Not here: generation, caching, a size of its own for each row.

    features = encode_media(model, batch)
    states = forward_language(model, batch, features)
"""

import torch
from torch.nn import functional as F
from transformers.models.qwen2_vl.modeling_qwen2_vl import (
    apply_multimodal_rotary_pos_emb,
    apply_rotary_pos_emb_vision,
)


def encode_media(model, batch) -> list[torch.Tensor]:
    """Features (B·t, h·w, hidden) of the first medium of all rows, of the second, …; an empty list without media."""
    patches = batch.pixel_values.split([4 * tokens for tokens in batch.media_tokens()])
    rows = len(batch.input_ids)
    return [encode(model.model.visual, p, rows * t, (h, w)) for p, (t, h, w) in zip(patches, batch.grids, strict=True)]


def encode(visual, pixel_values: torch.Tensor, slices: int, grid_hw: tuple[int, int]) -> torch.Tensor:
    """Features (slices, height·width, hidden) of `slices` pictures or temporal slices of videos, each of
    height × width visual tokens. visual: the model's vision encoder.
    """
    height, width = grid_hw
    weight = visual.patch_embed.proj.weight
    x = F.linear(pixel_values.to(weight.dtype), weight.view(weight.shape[0], -1)).view(slices, height * width * 4, -1)
    grid = torch.tensor([[1, height * 2, width * 2]], device=x.device)
    angles = visual.rot_pos_emb(grid)
    angles = torch.cat((angles, angles), dim=-1)
    cos, sin = angles.cos(), angles.sin()
    for block in visual.blocks:
        x = x + _vision_attention(block.attn, block.norm1(x), cos, sin)
        x = x + block.mlp(block.norm2(x))
    merger = visual.merger
    return merger.mlp(merger.ln_q(x).view(slices, height * width, merger.hidden_size))


def _vision_attention(attention, x, cos, sin):
    slices, patches, _ = x.shape
    q, k, v = attention.qkv(x).view(slices, patches, 3, attention.num_heads, -1).unbind(2)
    q, k = apply_rotary_pos_emb_vision(q, k, cos, sin)
    mixed = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    return attention.proj(mixed.transpose(1, 2).reshape(slices, patches, -1))


def position_ids(model, batch) -> torch.Tensor:
    """M-RoPE positions (3, B, L): the prefix as Transformers counts it, every branch from where the prefix ends.

    A picture may also stand in a branch, if it is the only branch of its row.
    """
    input_ids, branch = batch.input_ids.cpu(), batch.branch.cpu()  # a GPU would be asked for every picture's place
    prefix_length = int((branch[0] == 0).sum())
    grids = torch.tensor([[t, 2 * h, 2 * w] for t, h, w in batch.grids]) if batch.grids else None
    if (input_ids[:, prefix_length:] == model.config.image_token_id).any():
        mask = (branch >= 0).long()
        return model.model.get_rope_index(input_ids, grids.repeat(len(input_ids), 1), attention_mask=mask)[0]
    kind = {"video_grid_thw": grids} if batch.video else {"image_grid_thw": grids}
    prefix, _ = model.model.get_rope_index(input_ids[:1, :prefix_length], **kind)
    columns = torch.arange(branch.shape[1])
    is_first = branch != branch.roll(1, dims=1)  # of its branch
    start = (columns * is_first).cummax(dim=1).values  # where each token's branch begins
    positions = (columns - start + prefix.max() + 1).expand(3, -1, -1).clone()
    positions[:, :, :prefix_length] = prefix
    return positions


def branch_mask(branch: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Additive attention mask (B, 1, L, L): causal, and only towards the prefix (branch 0) or one's own branch."""
    causal = torch.ones(branch.shape[1], branch.shape[1], dtype=torch.bool, device=branch.device).tril()
    allowed = causal & ((branch[:, None, :] == 0) | (branch[:, None, :] == branch[:, :, None]))
    mask = torch.zeros(allowed.shape, dtype=dtype, device=branch.device)
    return mask.masked_fill(~allowed, torch.finfo(dtype).min)[:, None]


def forward_language(model, batch, features: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """Hidden states (B, L, hidden) of the language model: one for each layer, and the last one normed.

    features: those of `encode_media`, which go where the placeholders of media stand.
    """
    language, config = model.model.language_model, model.config
    x = language.embed_tokens(batch.input_ids)
    if features:
        is_visual = batch.input_ids == (config.video_token_id if batch.video else config.image_token_id)
        by_row = torch.cat([of_one.reshape(len(x), -1, x.shape[-1]) for of_one in features], dim=1)
        x = x.masked_scatter(is_visual[..., None], by_row.to(x.dtype))
    mask = branch_mask(batch.branch, x.dtype)
    angles = language.rotary_emb(x, position_ids(model, batch).to(x.device))
    states = []
    for layer in language.layers:
        x = layer(x, attention_mask=mask, position_embeddings=angles)
        x = x[0] if isinstance(x, tuple) else x
        states.append(x)
    return (*states, language.norm(x))


def attention_log_probs(model, batch, states, layer: int) -> torch.Tensor:
    """Log-probabilities (B, 2, L, L) with which the first two heads of `layer` (at least 1) attend from each token to
    each other. They share one head of keys. states: those of `forward_language`.
    """
    language = model.model.language_model
    block = language.layers[layer]
    attention, x = block.self_attn, block.input_layernorm(states[layer - 1])
    width = attention.head_dim
    q = attention.q_proj(x)[..., : 2 * width].unflatten(2, (2, width)).transpose(1, 2)
    k = attention.k_proj(x)[:, None, :, :width]
    cos, sin = language.rotary_emb(x, position_ids(model, batch).to(x.device))
    q, k = apply_multimodal_rotary_pos_emb(q, k, cos, sin, attention.config.rope_parameters["mrope_section"])
    scores = (q @ k.mT).float() * attention.scaling + branch_mask(batch.branch, torch.float32)
    return scores.log_softmax(dim=-1)
