"""Programs that people use with such an API: each asks about a picture, streams, goes on, and stops where it can.

They run in processes of their own, with the packages of requirements-clients.txt (`scripts/`). Each test prints what
came, so that `pytest -s` gives the table of clients.
"""

import base64
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.clients.conftest import MODEL
from tests.clients.install import FOLDER, PYTHON

SCRIPTS = Path(__file__).parent / "scripts"
BEGINNING = "The image shows a red circle"  # where it is, depends on what comes first, picture or question
TIMEOUT_S = 120
needs_node = pytest.mark.skipif(not (FOLDER / "node").exists(), reason="Node is not installed here")


def run(command: list, **environment) -> str:
    """What the command prints; the outside is out of reach for it."""
    away = {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"}
    settings = os.environ | away | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "CI": "true"} | environment
    done = subprocess.run(command, env=settings, cwd=FOLDER, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def said(script: str, url: str, picture: str) -> dict:
    path = SCRIPTS / script
    program = PYTHON
    if path.suffix == ".mjs":  # Node looks for packages above the script
        program, path = "node", shutil.copy(path, FOLDER / "node")
    found = json.loads(run([program, path, url, MODEL, picture]).strip().splitlines()[-1])
    print(script, found)
    return found


@pytest.mark.parametrize("script", [
    "ask_openai.py", "ask_litellm.py", "ask_langchain.py", "ask_llama_index.py",
    pytest.param("ask_openai.mjs", marks=needs_node), pytest.param("ask_ai_sdk.mjs", marks=needs_node),
])  # fmt: skip
def test_client_asks_streams_goes_on_and_stops(script, url, picture):
    found = said(script, url, picture)
    assert found["whole"] == found["streamed"]
    assert found["whole"].startswith(BEGINNING)
    assert found["pieces"] > 3
    assert found["again"].startswith("The red circle is ")
    assert found["stopped"] is None or (found["again"].startswith(found["stopped"]) and "the" not in found["stopped"])


@pytest.mark.parametrize("script", ["ask_instructor.py", "ask_pydantic_ai.py"])
def test_client_gets_a_structured_answer(script, url, picture):
    assert said(script, url, picture)["structured"]["colour"] in ("red", "blue", "green")


def test_llm_on_the_command_line_with_a_configured_model(url, picture, tmp_path):
    (tmp_path / "extra-openai-models.yaml").write_text(
        f"- model_id: local\n  model_name: {MODEL}\n  api_base: {url}\n  vision: true\n"
    )
    (tmp_path / "picture.png").write_bytes(base64.b64decode(picture.partition(",")[2]))
    command = [
        PYTHON.with_name("llm"),
        "-m",
        "local",
        "Describe this image.",
        "-a",
        tmp_path / "picture.png",
        "--key",
        "-",
    ]
    assert run(command, LLM_USER_PATH=str(tmp_path)).startswith(BEGINNING)


def test_requests_by_the_apis_own_schema_never_fail_and_never_hang(unused_session_url):
    """Schemathesis: what the schema allows, and some that it does not."""
    schema, limits = f"{unused_session_url}/openapi.json", ["--max-examples", "300", "--request-timeout", "10"]
    checks = ["--checks", "not_a_server_error", "--mode", "all", "--suppress-health-check", "all", "--no-color"]
    shown = run([PYTHON.with_name("schemathesis"), "run", schema, "--url", unused_session_url, *limits, *checks])
    generated, passed = re.search(r"(\d+) generated, (\d+) passed", shown).groups()
    assert int(generated) == int(passed) > 300
