"""Measurements of time and memory, each a command: `python -m benchmarks COMMAND --help`.

random-model            a model of true size with random weights, to measure on
export                  what an export takes
speed, drafts, presets  seconds to the first token and tokens/s: engines side by side, draft tokens, compression
video, long-video       what videos cost
serving                 visitors over replicas
api-overhead            what the way over HTTP adds
report                  puts what was measured into README.md and docs/

`results/` has the figures that the README, the notebook and `catalog` show. Nothing here asserts anything: what does so
under load or faults is in `tests/stress/`.
"""
