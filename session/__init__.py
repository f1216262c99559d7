"""The engine behind `chat_session`, by the stages of inference.

prompt          messages → token ids, with a placeholder for each visual token
media           files → RGB pixels, bounded; behind it `sources`, `images` with `hdr`, `videos`, `documents`
vision_inputs   pixels → patches, as vision blocks
prefill         what of a prompt is not in the KV cache yet, and computing it chunk by chunk (`chunks`: how large)
decode          logits → tokens → pieces of text; behind it `sampling`, and `structured` for answers in JSON
continuation    going on with an answer that was cut
boxes           boxes that a model wrote in an answer → pixels of the picture
caches          KV caches (forward, roll back), the prefix cache, and an LRU cache of everything else
ov_model        the OpenVINO model: encode, embed, position ids, new KV caches (`amx`: on processors that have it)
scheduler       who computes now
answer          what a caller holds: pieces, statistics, stop

Imports nothing of this project but `adapters`.
"""
