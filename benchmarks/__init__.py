"""Measurements of time and memory, each a command: `python -m benchmarks COMMAND --help`.

random-model            a model of true size with random weights, to measure on
gguf-model              the same for llama.cpp
export                  what an export takes
speed, drafts, presets  seconds to the first token and tokens/s: engines side by side, draft tokens, compression
growth                  the first turn by size of a picture and length of a video
settings                OpenVINO's settings of the language model, side by side
video, long-video       what videos cost
serving                 visitors over replicas
api-overhead            what the way over HTTP adds
report                  puts what was measured into README.md and docs/
everything              those of them that make the figures of speed, one after the other

`results/` has the figures that the README, the notebook and `catalog` show. Nothing here asserts anything: what does so
under load or faults is in `tests/stress/`.
"""
