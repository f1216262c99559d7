"""Models: which there are, what each costs, where they come from, and the folders they lie in.

choices        the models a reader can choose, and where each is exported to
source         what to export, for a folder or a name: its location, its name, its revision
costs          what each costs, as a table for one machine
shapes         the configs of the models on the hub, as plain data
parameters     how many numbers a model of some config has, and how many bytes an export of it takes
measurements   what exports and answers took, read from `benchmarks/results/`
presets        three ways to compress
hub            a model of the hub as a folder on this machine
downloads      one file from the web
model_folder   is a folder a whole model of the right kind?
manifest       which files belong to an export, and how it was made
on_disk        the exports in `models/`: list, report, delete
open           `open_model`: the model and the processor of an export
errors         what is wrong with a folder, as an error that says what to do

Knows no sessions and no pages. Imports `export`, `environment` and `adapters`.
"""
