"""`catalog.costs`: the table, where its figures come from, and what fits on a machine."""

import dataclasses
import json
import re
from pathlib import Path

import pytest

from catalog import choices as model_list
from catalog import on_disk
from catalog.choices import model_choices
from catalog.costs import Figure, costs_table, estimate
from catalog.measurements import ExportMeasurement, measured_exports, measured_runs
from environment.machine import Machine

ROOT = Path(__file__).resolve().parent.parent
LARGE = Machine(memory_free=10**12, memory_total=10**12, disk_free=10**12, cores=64)
TWO_B, SEVEN_B = "Qwen/Qwen2-VL-2B-Instruct", "Qwen/Qwen2-VL-7B-Instruct"
READY_7B = "OpenVINO/Qwen2-VL-7B-Instruct-int4-ov"


# ---- the table -------------------------------------------------------------------------------------------------------


def rows(table: str) -> dict[str, dict[str, str]]:
    """{model: {column: cell}} of a Markdown table."""
    header, *lines = [[cell.strip() for cell in line.split("|")[1:-1]]
                         for line in table.splitlines() if line.startswith("| ")]
    return {line[0]: dict(zip(header, line, strict=True)) for line in lines}


def test_the_table_has_every_model_with_every_cost():
    table = rows(costs_table(model_choices()))
    assert [*table] == ["Practice model (coloured shapes)", TWO_B, SEVEN_B, "Qwen/Qwen2.5-VL-3B-Instruct",
                        "Qwen/Qwen2.5-VL-7B-Instruct", "Qwen/Qwen3-VL-2B-Instruct", "Qwen/Qwen3-VL-4B-Instruct",
                        "Qwen/Qwen3-VL-8B-Instruct", f"{READY_7B} (ready-made)",
                        "OpenVINO/Qwen2.5-VL-7B-Instruct-int4-ov (ready-made)",
                        "OpenVINO/Qwen3-VL-8B-Instruct-int4-ov (ready-made)"]
    assert (table[TWO_B]["Download"], table[TWO_B]["Disk, INT4"]) == ("4.4 GB", "1.8 GB")
    assert (table[SEVEN_B]["Download"], table[SEVEN_B]["Disk, INT4"]) == ("16.6 GB", "5.2 GB")
    ready = table[f"{READY_7B} (ready-made)"]
    assert (ready["Download"], ready["Memory to convert"], ready["Minutes to convert"]) == ("5.2 GB", "none", "none")


def test_what_was_measured_stands_in_the_table_and_what_was_not_has_a_sign():
    """Only a shape with a row of its own in benchmarks/results/ is shown without the sign."""
    table = rows(costs_table(model_choices()))
    assert table[TWO_B]["Memory to convert"] == f"{measured_exports()['2b'].memory_bytes / 1e9:.1f} GB"
    assert table[TWO_B]["Memory to run"] == f"{measured_runs()['2b'].memory_bytes / 1e9:.1f} GB"
    assert table[TWO_B]["Tokens/s"] == f"{measured_runs()['2b'].tokens_s:.0f}"
    for column in ("Memory to run", "First word, s", "Tokens/s"):
        assert table["Qwen/Qwen2.5-VL-3B-Instruct"][column].startswith("≈ ")


def test_the_speed_of_2b_is_the_one_that_the_benchmark_wrote():
    written = json.loads((ROOT / "benchmarks/results/speed-2b.json").read_text())
    row = next(row for row in written["rows"] if row["engine"] == "session")
    noted = measured_runs()["2b"]
    assert (noted.memory_bytes, noted.first_token_s, noted.tokens_s) == pytest.approx(
        (row["peak_rss_mb"] * 1e6, row["ttft_turn1_s"], row["decode_tok_s"]), rel=0.005)


def test_a_new_measurement_takes_the_place_of_the_scaled_figure(monkeypatch):
    measured = measured_exports()
    monkeypatch.setitem(measured, "2.5-7b", dataclasses.replace(measured["2b"], memory_bytes=19.5e9, where="a test"))
    table = costs_table(model_choices())
    assert rows(table)["Qwen/Qwen2.5-VL-7B-Instruct"]["Memory to convert"] == "19.5 GB"
    assert "a test" in table


def test_without_measurements_to_scale_from_the_table_says_so(monkeypatch):
    monkeypatch.setattr(model_list, "measured_exports", dict)
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
    for cost in ("export_memory_bytes", "export_minutes", "run_memory_bytes", "first_token_s"):
        assert getattr(two, cost).value < getattr(three, cost).value < getattr(seven, cost).value
    assert two.tokens_s.value > three.tokens_s.value > seven.tokens_s.value


# ---- what fits -----------------------------------------------------------------------------------------------------


def verdicts(here: Machine) -> tuple[dict[str, str], str]:
    table = costs_table(model_choices(), here)
    return {model: row["Here"] for model, row in rows(table).items()}, table


@pytest.fixture
def nothing_exported(monkeypatch, tmp_path):
    for module in (model_list, on_disk):
        monkeypatch.setattr(module, "MODELS_DIR", tmp_path / "models")


def test_on_a_large_machine_everything_fits(nothing_exported):
    here, table = verdicts(LARGE)
    assert set(here.values()) == {"fits"} and "does not fit" not in table
    assert "Free here: 1000.0 GB of 1000.0 GB of memory, 1000.0 GB of disk; cores: 64." in table


def test_too_little_memory_to_convert_is_said_with_the_ready_made_model_as_the_way_out(nothing_exported, monkeypatch):
    slow = ExportMeasurement(memory_bytes=60e9, minutes=5, where="a machine of long ago")
    monkeypatch.setitem(measured_exports(), "7b", slow)
    here, table = verdicts(dataclasses.replace(LARGE, memory_free=14 * 10**9, memory_total=16 * 10**9))
    assert (here[SEVEN_B], here[f"{READY_7B} (ready-made)"]) == ("does not fit", "fits")
    assert re.search(rf"- \*\*{SEVEN_B}\*\* does not fit: converting needs 60\.0 GB of memory, 14\.0 GB free; take "
                     rf"{READY_7B} \(ready-made\), or convert it on a larger machine", table)


def test_memory_that_is_only_in_use_is_got_by_closing_programs(nothing_exported):
    need = measured_exports()["2b"].memory_bytes
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
