"""benchmarks/: the real command line on the practice model, and what it prints. No test here looks at a duration."""

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import drafts as guesses
from benchmarks import long_video, report, tables, video
from benchmarks import speed as benchmark
from benchmarks.scenario import KEYS, picture

ROOT = Path(__file__).resolve().parent.parent
QUICK = ("--repetitions", "1", "--new-tokens", "4")
PROMPTS = r"(\d+) prompt tokens in turn 1(?:, (\d+) of them visual)?; (\d+) in turn 2(?:, (\d+) of them known)?"


@pytest.mark.parametrize("script", sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py")
                                          if "__main__" in path.read_text(encoding="utf-8")))
def test_every_script_finds_what_it_imports(script):
    """Those too that no test runs to the end."""
    assert importlib.import_module(f"benchmarks.{script}").main


def run(*arguments, **environment) -> subprocess.CompletedProcess:
    command = [sys.executable, ROOT / "benchmarks" / "benchmark.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, timeout=300)


@pytest.fixture(scope="module")
def measured(int4_dir, tmp_path_factory):
    """What a run of both engines of ours printed, and its rows."""
    path = tmp_path_factory.mktemp("benchmark") / "rows.json"
    done = run(int4_dir, *QUICK, "--json", path)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(path.read_text())


def prompts(printed: str, engine: str) -> list[int]:
    """Tokens: prompt, visual, prompt of turn 2, reused in turn 2; 0 for what the engine does not tell."""
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
    assert re.search(r"\| +generate \|", own) and re.search(r"\| +session \|", own)
    assert re.search(r"\| +session \|", ratios) and not re.search(r"\| +generate \|", ratios)


def test_engines_read_the_same_prompts_and_only_the_session_knows_turn_1(measured):
    generate, session = prompts(measured[0], "generate"), prompts(measured[0], "session")
    assert generate[:2] == session[:2]
    assert session[1] == 384, "448 x 672 pixels"
    assert generate[3] == 0
    assert session[3] >= session[0], "all of turn 1 is known in turn 2"


def test_genai_reads_the_same_prompts(measured, int4_dir, tmp_path):
    path = tmp_path / "rows.json"
    done = run(int4_dir, *QUICK, "--engines", "genai-pa,genai-sdpa", "--json", path)
    assert done.returncode == 0, done.stderr
    for row in json.loads(path.read_text()):
        assert row["ttft_turn2_s"] > 0 and row["ttft_prepared_s"] is None
        assert prompts(done.stdout, row["engine"])[0] == prompts(measured[0], "session")[0]


def refusal_of_genai(model_dir, path, **environment) -> str:
    """What is printed of a genai that does not work; checks that nothing else goes wrong."""
    done = run(model_dir, *QUICK, "--engines", "genai-pa", "--json", path, **environment)
    assert done.returncode == 0 and "Traceback" not in done.stdout + done.stderr
    assert json.loads(path.read_text()) == [{"engine": "genai-pa", **dict.fromkeys(KEYS[1:])}]
    return re.search("^genai-pa: .*", done.stdout, flags=re.M)[0]


@pytest.fixture
def empty_model(tmp_path):
    (tmp_path / "openvino_language_model.xml").touch()
    return tmp_path


def test_without_genai_the_row_is_empty_and_says_what_to_install(empty_model, tmp_path):
    (tmp_path / "openvino_genai.py").write_text("raise ImportError('No module named openvino_genai')")
    search_path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    assert "requirements-bench.txt" in refusal_of_genai(empty_model, tmp_path / "rows.json", PYTHONPATH=search_path)


def test_a_folder_that_genai_cannot_open_gives_its_reason_in_one_line(empty_model, tmp_path):
    assert "RuntimeError" in refusal_of_genai(empty_model, tmp_path / "rows.json")


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--engines", "session,pytorch"], "--weights"),
        (["--engines", "vllm"], "'vllm'"),
        (["--repetitions", "0"], "at least 1"),
        (["--json", "no/such/folder/rows.json"], "no folder"),
    ],
)
def test_mistakes_are_said_before_anything_is_measured(empty_model, monkeypatch, capsys, arguments, said):
    monkeypatch.setattr(sys, "argv", ["benchmark.py", str(empty_model), *arguments])
    with pytest.raises(SystemExit) as ended:
        benchmark.main()
    assert ended.value.code == 2 and said in capsys.readouterr().err


def test_a_folder_without_a_model_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmark.py", str(tmp_path)])
    with pytest.raises(SystemExit):
        benchmark.main()
    assert "no exported model" in capsys.readouterr().err


def fake_report(load_s: float) -> dict:
    row = dict.fromkeys(KEYS[1:], 2.0) | {"load_s": load_s, "ttft_prepared_s": None}
    counts = {"prompt_tokens": 5, "visual_tokens": None, "cached_tokens": None}
    return {"row": row, "tokens": {"turn1": counts, "turn2": counts}, "texts": [{"turn1": "Yes."}]}


def test_the_readmes_table_is_what_was_measured():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert report.figures() in readme
    assert report.guesses() in readme
    assert report.serving() in readme


def test_rounds_go_to_and_fro(empty_model, monkeypatch, capsys):
    ran = []

    def child(script, arguments):
        ran.append(arguments[arguments.index("--child") + 1])
        return fake_report(float(len(ran)))

    monkeypatch.setattr(benchmark, "in_own_process", child)
    monkeypatch.setattr(sys, "argv", ["benchmark.py", str(empty_model), "--rounds", "2"])
    assert benchmark.main() == 0
    assert ran == ["generate", "session", "session", "generate"]
    assert "answers equal to generate's: turn1 1 of 1" in capsys.readouterr().out


def test_a_failure_of_ours_is_shown_and_ends_with_1(empty_model, monkeypatch, capsys):
    reports = {"generate": fake_report(1.0), "session": {"reason": "its process ended with status 1"}}
    monkeypatch.setattr(benchmark, "in_own_process", lambda script, arguments: reports[arguments[2]])
    monkeypatch.setattr(sys, "argv", ["benchmark.py", str(empty_model)])
    assert benchmark.main() == 1
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
    from benchmarks.plot import plot

    plot([{"engine": name, **fake_report(1.0)["row"]} for name in ("generate", "session")], tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_both_ways_to_see_a_video_see_all_of_it(int4_dir):
    seen = [video.measure(int4_dir, 4, way) for way in video.WAYS]
    assert [one["visual_tokens"] for one in seen] == [512, 512], "two slices of 448 x 448 pixels"
    assert all(name in one for one in seen for name in video.COLUMNS)
    assert video.line(seen[0]).split()[:3] == ["4", "512", "slices"]


def test_a_long_video_is_answered_from_the_frames_that_are_kept(int4_dir, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["long_video.py", str(int4_dir), "--minutes", "0.1"])
    assert long_video.main() == 0
    printed = capsys.readouterr().out
    assert "0.1 minutes (60 frames of 640 × 360), 8 kept: 1008 visual tokens" in printed


def test_guesses_are_counted_on_one_model_and_timed_on_another(int4_dir, tmp_path, monkeypatch, capsys):
    parts = {"stand": lambda: guesses.stand(int4_dir, 3), "cost": lambda: guesses.cost(int4_dir)}
    monkeypatch.setattr(guesses, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(guesses, "in_own_process", lambda _, given: json.loads(json.dumps(parts[given[-1]]())))
    monkeypatch.setattr(sys, "argv", ["guesses.py", str(int4_dir), "--practice", str(int4_dir), "--count", "3"])
    guesses.main()
    found = json.loads(guesses.RESULTS.read_text())
    assert list(found["milliseconds"]) == ["1", "2", "3", "4"]
    assert [row["answers"] for row in found["asked"]] == [3, 3, 3]
    assert all(1 <= row["tokens a step"] <= 4 and row["speed on MODEL_DIR"] > 0 for row in found["asked"])
    assert "a description" in capsys.readouterr().out
