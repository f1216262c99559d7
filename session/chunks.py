"""How a prompt is cut into the chunks that are prefilled, and what prefilling costs.

OpenVINO's CPU plugin has two kernels for attention. One multiplies matrices, and serves a prompt whose KV cache is
empty; the other goes token by token, and serves whatever comes behind cached tokens. So the first chunk is large, and a
cached prefix is not always worth using: behind 1700 tokens, a picture of 1300 takes longer than all 3000 at once.
Figures in docs/decisions.md. Not here: prefilling (`session.prefill`), which prefix is cached (`session.caches`).
"""

# Between two chunks an answer can be stopped, and others get their turn. Four times 1024 tokens at once take about as
# long as 1024 behind as many.
FIRST_CHUNK_TOKENS, LATER_CHUNK_TOKENS = 4096, 512
# What attention between two tokens costs, where 1 is all else that is computed for a token of a 2B model; measured on
# two cores of an EPYC with AVX-512 and of a Xeon with AMX. On other devices it is another matter, and the least that
# cached prefixes save there is what they save here.
AT_ONCE, BEHIND_OTHERS = 0.0003, 0.0018


def chunk_end(start: int, stop: int) -> int:
    """Where the chunk ends that begins with token `start`, of a prompt that is prefilled up to `stop`."""
    return min(stop, start + (LATER_CHUNK_TOKENS if start else FIRST_CHUNK_TOKENS))


def cost(start: int, stop: int) -> float:
    """The cost of prefilling tokens start … stop - 1 behind those before them; 1 is that of a single token alone.

        cost(0, 3000)     # 4350.0
        cost(1700, 3000)  # 6799.0
    """
    at_once = chunk_end(0, stop) if start == 0 else 0
    start = start or at_once
    return at_once * (1 + AT_ONCE * at_once / 2) + (stop - start) * (1 + BEHIND_OTHERS * (start + stop) / 2)


def is_worth_using(prefix: int, tokens: int) -> bool:
    """Whether prefilling what of a prompt is behind a cached prefix costs less than prefilling all of it."""
    return prefix > 0 and cost(prefix, tokens) < cost(0, tokens)
