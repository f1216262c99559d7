"""A measurement in a process of its own, so that no other one warms its caches or adds to its memory.

Here: running the child, what it reports, its peak memory. Not here: what is measured.

The child prints one JSON object as its last line. Whoever calls `in_own_process` should import no large package before:
Linux counts what the parent holds when the child begins into the child's peak.
"""

import json
import subprocess
import sys
from pathlib import Path

MEGABYTE = 1e6


def why_no_model(model_dir: Path) -> str | None:
    """What to say, before a child is started, where there is no export to measure."""
    if (model_dir / "openvino_language_model.xml").exists():
        return None
    return f"{model_dir} holds no exported model; export one as the notebook does, or name its folder."


def in_own_process(script: str, arguments: list[str]) -> dict:
    """What `script`, run by this Python with `arguments`, reports; {"reason": ...} where it fails, its stderr shown."""
    child = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True)
    lines = child.stdout.splitlines()
    if child.returncode == 0 and lines:
        return json.loads(lines[-1])
    sys.stderr.write(child.stderr)
    return {"reason": f"its process ended with status {child.returncode}"}


def report(result: dict) -> None:
    """The child's last line."""
    print(json.dumps(result), flush=True)


def peak_rss_mb() -> float | None:
    """The most memory that this process ever held; None where the system does not count it (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / MEGABYTE if sys.platform == "darwin" else peak * 1024 / MEGABYTE
