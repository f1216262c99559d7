"""The engine behind `chat_session`, by the stages of inference.

prompt          messages → token ids, with a placeholder for each visual token
media           files → RGB pixels, bounded
vision_inputs   pixels → patches, as vision blocks
prefill         what of a prompt is not in the KV cache yet, and computing it chunk by chunk
decode          logits → tokens (sampling, draft tokens) → pieces of text
boxes           boxes that a model wrote in an answer → pixels of the picture
caches          KV caches (forward, roll back), the prefix cache, and an LRU cache of everything else
ov_model        the OpenVINO model: encode, embed, position ids, new KV caches
scheduler       who computes now
answer          what a caller holds: pieces, statistics, stop

Imports nothing of this project but `adapters`.
"""
