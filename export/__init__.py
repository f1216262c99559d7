"""All that only an export needs, by the steps of one. `cmd_helper.optimum_cli` takes them in this order.

command                options → arguments; the command that is shown, the one that runs, and its environment
staging                the folder beside the output in which one process at a time makes the model
run                    the exporter as a child process: what it prints is logged, and what matters is shown
process                a child process whose output is read while it runs, and which ends when ours does
parent_death_signal    what ends it on Linux even where ours is killed outright
small_trace            the program that runs: `optimum-cli` with less memory
output                 what the exporter's lines mean, and what to do after a failure
progress               how they reach the reader, in a notebook, a terminal or a file

Imports nothing of this project but `adapters`. What a whole model is, is the business of `catalog`.
"""
