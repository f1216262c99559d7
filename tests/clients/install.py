"""Puts the clients that the API is tried with into build/clients: `python -m tests.clients.install`.

Python's go into a virtual environment of their own, because they disagree with our pins; Node's into a folder, where
Node is there. What is installed already stays.
"""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "build" / "clients"
PYTHON = FOLDER / "venv" / "bin" / "python"
REQUIREMENTS = ROOT / "requirements-clients.txt"
NODE_PACKAGES = ("openai@7.57.0", "ai@7.0.173", "@ai-sdk/openai-compatible@3.0.92")


def main() -> int:
    stamp = FOLDER / "installed.txt"
    wanted = REQUIREMENTS.read_text(encoding="utf-8") + "\n".join(NODE_PACKAGES)
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return 0
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    subprocess.run([sys.executable, "-m", "venv", FOLDER / "venv"], check=True)
    subprocess.run([PYTHON, "-m", "pip", "install", "-q", "-r", REQUIREMENTS], check=True)
    if npm := shutil.which("npm"):
        command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", FOLDER / "node", *NODE_PACKAGES]
        subprocess.run(command, check=True)
    stamp.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
