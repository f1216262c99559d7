"""The list of models, what each costs, what fits on a machine; and what a machine has (`environment.machine`)."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest

from catalog import choices as model_list
from catalog import hub
from catalog import on_disk as models_on_disk
from catalog.costs import Figure, estimate
from catalog.measured import EXPORTS, RUNS, Export
from catalog.parameters import BYTES, VISION_DEFAULTS, count_parameters, export_bytes
from catalog.shapes import SHAPES
from environment import machine
from environment.machine import Machine
from notebook_utils import ModelFolderError, costs_table, model_choices, require_source_dir, this_machine

ROOT = Path(__file__).resolve().parent.parent
LARGE = Machine(memory_free=10**12, memory_total=10**12, disk_free=10**12, cores=64)
TWO_B, SEVEN_B = "Qwen/Qwen2-VL-2B-Instruct", "Qwen/Qwen2-VL-7B-Instruct"
READY_7B = "OpenVINO/Qwen2-VL-7B-Instruct-int4-ov"


# ---- counting parameters ---------------------------------------------------------------------------------------------

def transformers_count(config: dict) -> int:
    """Of the model that Transformers builds from `config`, without memory for its weights."""
    import torch
    from transformers import CONFIG_MAPPING, AutoModelForImageTextToText

    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(CONFIG_MAPPING[config["model_type"]](**config))
    model.tie_weights()  # loading does this; building alone does not
    return sum(parameter.numel() for parameter in model.parameters())


def nested(config: dict) -> dict:
    """The hub's flat layout as Transformers 5 writes it."""
    top = {name: config[name] for name in ("model_type", "vision_config", "tie_word_embeddings")}
    return {**top, "text_config": {name: value for name, value in config.items()
                                   if name not in ("model_type", "vision_config")}}


@pytest.mark.parametrize("shape", SHAPES)
def test_parameters_are_counted_as_transformers_builds_them(shape):
    config = SHAPES[shape]
    assert count_parameters(config).total == transformers_count(nested(config))
    assert count_parameters(nested(config)) == count_parameters(config)


def test_the_totals_are_those_that_the_hub_states():
    """The sizes in the checkpoints' own model.safetensors.index.json, at two bytes each."""
    stated = {"2.5-3b": 7_509_245_952, "2.5-7b": 16_584_333_312}
    assert {shape: 2 * count_parameters(SHAPES[shape]).total for shape in stated} == stated


@pytest.mark.parametrize("shape", SHAPES)
def test_what_a_saved_config_leaves_out_is_transformers_default(shape):
    config = SHAPES[shape]
    defaults = VISION_DEFAULTS[config["model_type"]]
    shortened = {name: value for name, value in config["vision_config"].items() if defaults.get(name) != value}
    assert len(shortened) < len(config["vision_config"])
    assert count_parameters({**config, "vision_config": shortened}) == count_parameters(config)


def test_the_defaults_are_those_of_transformers():
    from transformers import CONFIG_MAPPING

    for kind, defaults in VISION_DEFAULTS.items():
        vision = CONFIG_MAPPING[kind]().vision_config
        assert {name: getattr(vision, name) for name in defaults} == defaults


def test_the_practice_models_parameters_are_counted_from_its_nested_config(tiny_dir):
    from safetensors import safe_open

    with safe_open(tiny_dir / "model.safetensors", "pt") as weights:
        stored = sum(weights.get_tensor(name).numel() for name in weights.keys())  # noqa: SIM118, not a dict
    assert count_parameters(json.loads((tiny_dir / "config.json").read_text())).total == stored


@pytest.mark.parametrize("weight_format", BYTES)
def test_the_computed_size_is_that_of_a_real_export(exported, tiny_dir, weight_format):
    parts = exported(weight_format).model_dir.glob("openvino_*_model.bin")
    real = sum(path.stat().st_size for path in parts)
    computed = export_bytes(count_parameters(json.loads((tiny_dir / "config.json").read_text())), weight_format)
    assert computed == pytest.approx(real, rel=0.03)


def test_the_computed_size_of_2b_is_the_measured_one():
    assert export_bytes(count_parameters(SHAPES["2b"])) == pytest.approx(1.8e9, rel=0.03)


# ---- the table -------------------------------------------------------------------------------------------------------

def rows(table: str) -> dict[str, dict[str, str]]:
    """{model: {column: cell}} of a Markdown table."""
    header, _, *lines = [[cell.strip() for cell in line.split("|")[1:-1]]
                         for line in table.splitlines() if line.startswith("| ")]
    return {line[0]: dict(zip(header, line, strict=True)) for line in lines}


def test_the_table_has_every_model_with_every_cost():
    table = rows(costs_table(model_choices()))
    assert [*table] == ["Practice model (coloured shapes)", TWO_B, SEVEN_B, "Qwen/Qwen2.5-VL-3B-Instruct",
                        "Qwen/Qwen2.5-VL-7B-Instruct", f"{READY_7B} (ready-made)",
                        "OpenVINO/Qwen2.5-VL-7B-Instruct-int4-ov (ready-made)"]
    assert (table[TWO_B]["Download"], table[TWO_B]["Disk, INT4"]) == ("4.4 GB", "1.8 GB")
    assert (table[SEVEN_B]["Download"], table[SEVEN_B]["Disk, INT4"]) == ("16.6 GB", "5.2 GB")
    ready = table[f"{READY_7B} (ready-made)"]
    assert (ready["Download"], ready["Memory to convert"], ready["Minutes to convert"]) == ("5.2 GB", "none", "none")


def test_what_was_measured_stands_in_the_table_and_what_was_not_has_a_sign():
    """Only a shape with a row of its own in catalog/measured.py is shown without the sign."""
    table = rows(costs_table(model_choices()))
    assert table[TWO_B]["Memory to convert"] == f"{EXPORTS['2b'].memory / 1e9:.1f} GB"
    assert table[TWO_B]["Memory to run"] == f"{RUNS['2b'].memory / 1e9:.1f} GB"
    assert table[TWO_B]["Words a second"] == f"{RUNS['2b'].tokens_s:.0f}"
    for column in ("Memory to run", "First word, s", "Words a second"):
        assert table["Qwen/Qwen2.5-VL-3B-Instruct"][column].startswith("≈ ")


def test_the_speed_of_2b_is_the_one_that_the_benchmark_wrote():
    written = json.loads((ROOT / "benchmarks/results/speed-2b.json").read_text())
    row = next(row for row in written if row["engine"] == "session")
    noted = RUNS["2b"]
    assert (noted.memory, noted.first_answer_s, noted.tokens_s) == pytest.approx(
        (row["peak_rss_mb"] * 1e6, row["ttft_turn1_s"], row["decode_tok_s"]), rel=0.005)


def test_a_new_measurement_takes_the_place_of_the_scaled_figure(monkeypatch):
    monkeypatch.setitem(EXPORTS, "2.5-7b", dataclasses.replace(EXPORTS["2b"], memory=19.5e9, where="a test"))
    table = costs_table(model_choices())
    assert rows(table)["Qwen/Qwen2.5-VL-7B-Instruct"]["Memory to convert"] == "19.5 GB"
    assert "a test" in table


def test_without_measurements_to_scale_from_the_table_says_so(monkeypatch):
    monkeypatch.setattr(model_list, "EXPORTS", {})
    choice = rows(costs_table(model_choices()))[TWO_B]
    assert (choice["Memory to convert"], choice["Minutes to convert"]) == ("not measured", "not measured")


def test_a_scaled_figure_lies_on_the_line_through_the_measured_ones():
    measured = {1: 3.0, 2: 5.0}
    assert estimate(2, measured, float) == Figure(5.0)
    assert estimate(10, measured, float) == Figure(pytest.approx(21.0), scaled=True)
    assert estimate(-9, measured, float).value == 3.0, "never less than the least that was measured"
    assert estimate(10, {1: 3.0}, float) is None


def test_a_larger_model_costs_more_and_writes_more_slowly():
    two, three, seven = (next(choice.costs for choice in model_choices() if choice.source == name)
                         for name in (TWO_B, "Qwen/Qwen2.5-VL-3B-Instruct", SEVEN_B))
    for cost in ("export_memory", "export_minutes", "run_memory", "first_word_s"):
        assert getattr(two, cost).value < getattr(three, cost).value < getattr(seven, cost).value
    assert two.words_s.value > three.words_s.value > seven.words_s.value


# ---- what fits -------------------------------------------------------------------------------------------------------

def verdicts(here: Machine) -> tuple[dict[str, str], str]:
    table = costs_table(model_choices(), here)
    return {model: row["Here"] for model, row in rows(table).items()}, table


@pytest.fixture
def nothing_exported(monkeypatch, tmp_path):
    for module in (model_list, models_on_disk):
        monkeypatch.setattr(module, "MODELS_DIR", tmp_path / "models")


def test_on_a_large_machine_everything_fits(nothing_exported):
    here, table = verdicts(LARGE)
    assert set(here.values()) == {"fits"} and "does not fit" not in table
    assert "Free here: 1000.0 GB of 1000.0 GB of memory, 1000.0 GB of disk; cores: 64." in table


def test_too_little_memory_to_convert_is_said_with_the_ready_made_model_as_the_way_out(nothing_exported, monkeypatch):
    monkeypatch.setitem(EXPORTS, "7b", Export(memory=60e9, minutes=5, where="a machine of long ago"))
    here, table = verdicts(dataclasses.replace(LARGE, memory_free=14 * 10**9, memory_total=16 * 10**9))
    assert (here[SEVEN_B], here[f"{READY_7B} (ready-made)"]) == ("does not fit", "fits")
    assert re.search(rf"- \*\*{SEVEN_B}\*\* does not fit: converting needs 60\.0 GB of memory, 14\.0 GB free; take "
                     rf"{READY_7B} \(ready-made\), or convert it on a larger machine", table)


def test_memory_that_is_only_in_use_is_got_by_closing_programs(nothing_exported):
    need = EXPORTS["2b"].memory
    _, table = verdicts(dataclasses.replace(LARGE, memory_free=int(need / 2)))
    assert re.search(rf"\*\*{TWO_B}\*\* does not fit: converting needs {need / 1e9:.1f} GB of memory, "
                     rf"{need / 2e9:.1f} GB free; close other programs\.", table)


def test_too_little_memory_to_answer_is_said_also_of_a_ready_made_model(nothing_exported):
    here, table = verdicts(dataclasses.replace(LARGE, memory_free=2 * 10**9, memory_total=4 * 10**9))
    assert [model for model, verdict in here.items() if verdict == "fits"] == ["Practice model (coloured shapes)"]
    assert re.search(rf"{READY_7B} \(ready-made\)\*\* does not fit: answering needs [\d.]+ GB of memory, 2\.0 GB "
                     "free; choose a smaller model", table)


def test_a_disk_that_is_too_small_is_said(nothing_exported):
    here, table = verdicts(dataclasses.replace(LARGE, disk_free=10 * 10**9))
    assert (here[TWO_B], here[f"{READY_7B} (ready-made)"]) == ("does not fit", "fits")
    # 4.4 GB for the original, as much for the exporter's copy of it, 1.8 for the result.
    assert f"**{TWO_B}** does not fit: until it is ready, 10.6 GB of disk are needed, 10.0 GB free" in table
    assert f"38.3 GB of disk are needed, 10.0 GB free; take {READY_7B} (ready-made), or delete" in table


def test_what_is_converted_already_needs_no_memory_to_convert_and_no_disk(nothing_exported):
    Path(next(choice.load_from for choice in model_choices() if choice.source == TWO_B)).mkdir(parents=True)
    here, _ = verdicts(dataclasses.replace(LARGE, memory_free=6 * 10**9, disk_free=0))
    assert here[TWO_B] == "converted"


# ---- the list --------------------------------------------------------------------------------------------------------

def test_the_practice_model_comes_first_and_needs_no_download():
    first = model_choices()[0]
    assert (first.download, first.needs_export) == ("none", True)
    assert require_source_dir(ROOT / first.source)


def test_paths_inside_the_current_folder_are_shown_relative_to_it(monkeypatch):
    monkeypatch.chdir(ROOT)
    practice = model_choices()[0]
    assert practice.source == str(Path("tiny_model/weights"))
    assert re.fullmatch(r"models/practice-model-[0-9a-f]{6}/INT4", Path(practice.load_from).as_posix())


def test_my_own_folder_is_exported_if_it_is_not_an_export_yet(tiny_dir, int4_dir):
    original = model_choices(tiny_dir)[-1]
    assert (original.source, original.needs_export, original.download) == (str(tiny_dir), True, "none")
    export = model_choices(int4_dir)[-1]
    assert (export.load_from, export.needs_export) == (str(int4_dir), False)
    assert costs_table([export], LARGE).splitlines()[2].endswith("| converted |")


def test_own_folders_of_the_same_name_do_not_share_an_export(tiny_dir, tmp_path):
    twins = [shutil.copytree(tiny_dir, tmp_path / parent / "checkpoint") for parent in ("a", "b")]
    assert len({model_choices(twin)[-1].load_from for twin in twins}) == 2


def test_an_own_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(ModelFolderError):
        model_choices(tmp_path)


def test_a_name_on_the_hub_is_looked_up_only_when_it_was_typed(monkeypatch):
    asked = []
    answers = {"someone/fine-tuned": hub.HubModel(nested(SHAPES["2.5-3b"]), 7_600_000_000, exported=False),
               "someone/converted": hub.HubModel(SHAPES["2b"], 1_900_000_000, exported=True)}
    monkeypatch.setattr(hub, "look_up", lambda name: asked.append(name) or answers[name])
    model_choices()
    assert asked == []
    tuned, converted = model_choices("someone/fine-tuned")[-1], model_choices("someone/converted")[-1]
    assert asked == [*answers]
    assert (tuned.needs_export, tuned.download, converted.needs_export) == (True, "7.6 GB", False)
    assert Path(tuned.load_from).parts[-3:] == ("models", "someone--fine-tuned", "INT4")
    assert rows(costs_table([converted]))["someone/converted"]["Memory to run"] == f"{RUNS['2b'].memory / 1e9:.1f} GB"


def test_a_listed_name_that_is_typed_comes_last_once(monkeypatch):
    monkeypatch.setattr(hub, "look_up", lambda name: pytest.fail("the hub was asked"))
    choices = model_choices(TWO_B)
    assert choices[-1].source == TWO_B
    assert sorted(choice.source for choice in choices) == sorted(choice.source for choice in model_choices())


# ---- this machine ----------------------------------------------------------------------------------------------------

def test_this_machine_has_what_the_system_says(tmp_path):
    import psutil

    here = this_machine(tmp_path / "not yet" / "made")
    assert 0 < here.memory_free <= here.memory_total <= psutil.virtual_memory().total
    assert here.disk_free == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.05)
    assert here.cores >= 1


@pytest.mark.parametrize(("line", "files"), [
    ("0::/box\n", {"memory.max": 4 * 10**9, "memory.current": 3 * 10**9, "memory.stat": "anon 1\ninactive_file 1000"}),
    ("4:memory:/box\n", {"memory.limit_in_bytes": 4 * 10**9, "memory.usage_in_bytes": 3 * 10**9,
                         "memory.stat": "inactive_file 5\ntotal_inactive_file 1000"}),
])
def test_the_limit_of_a_control_group_counts(tmp_path, monkeypatch, line, files):
    own = tmp_path / "cgroup"
    own.write_text(f"9:cpu:/else\n{line}")
    group = tmp_path / ("box" if line.startswith("0") else "memory/box")
    group.mkdir(parents=True)
    for name, content in files.items():
        (group / name).write_text(f"{content}\n")
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    monkeypatch.setattr(machine, "OWN_CGROUP", own)
    here = this_machine(tmp_path)
    assert (here.memory_total, here.memory_free) == (4 * 10**9, 10**9 + 1000)


def test_a_control_group_without_a_limit_changes_nothing(tmp_path, monkeypatch):
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    (tmp_path / "cgroup").write_text("0::/\n")
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    monkeypatch.setattr(machine, "OWN_CGROUP", tmp_path / "cgroup")
    assert [*machine.cgroup_limits()] == []


def test_where_there_are_no_control_groups_nothing_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "OWN_CGROUP", tmp_path / "missing")
    assert machine.cgroup_folders() == []
