"""catalog/presets.py: options that the exporter takes, a folder for each, and figures that a benchmark wrote."""

from argparse import ArgumentParser

import pytest
from optimum.commands.export.openvino import parse_args_openvino

from catalog.choices import model_choices
from catalog.presets import PRESETS, measured_presets
from export.command import option_arguments

FIGURES = {"disk_gb", "memory_gb", "first_word_s", "tokens_s", "right", "same"}


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_the_exporter_takes_the_options(preset):
    arguments = option_arguments(preset.options, source_is_folder=False)
    parser = ArgumentParser()
    parse_args_openvino(parser)
    known = vars(parser.parse_args(["--model", "owner/name", *arguments, "out"]))
    assert {name: known[name.replace("-", "_")] for name in preset.options} == preset.options


def test_each_preset_has_a_folder_of_its_own_and_what_is_exported_already_stays():
    practice, ready_made = model_choices()[0], model_choices()[-1]
    folders = [preset.export_folder(practice) for preset in PRESETS.values()]
    assert len(set(folders)) == len(PRESETS)
    assert PRESETS["balanced"].export_folder(practice) == practice.load_from
    assert {preset.export_folder(ready_made) for preset in PRESETS.values()} == {ready_made.load_from}


def test_every_preset_was_measured():
    measured = measured_presets()
    assert list(measured) == list(PRESETS)
    assert all(set(row) == FIGURES for row in measured.values())
    sizes = [row["disk_gb"] for row in measured.values()]
    assert sizes == sorted(sizes)
