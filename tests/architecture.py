"""The rooms of this repository, and which of them imports which, read from the code.

`python -m tests.architecture` prints a drawing, which docs/architecture.md shows, and a table of them as Markdown.
A room is a folder or a Python file at the top level; `tiny_model.training` is one of its own. Not here: which arrows
are allowed (`test_architecture`).
"""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tabulate import tabulate

ROOT = Path(__file__).parents[1]
ROOMS_INSIDE = ("tiny_model.training",)  # folders that are a room apart from the one around them


class Import(NamedTuple):
    """One imported module or name, such as "session.prompt.Prompt", and the line that it stands in."""

    name: str
    line: int


def tracked_files() -> dict[str, str]:
    """{path: source} of the Python files that git tracks, but for tests/data/, which is not ours."""
    command = ["git", "ls-files", "-z", "*.py", ":!tests/data"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    paths = [path for path in listed.stdout.split("\0") if path and (ROOT / path).exists()]
    return {path: (ROOT / path).read_text(encoding="utf-8") for path in paths}


def imports(path: str, source: str) -> Iterator[Import]:
    """All imports in a file, also those inside functions and those by `importlib.import_module("…")`."""
    folder = path.split("/")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            around = folder[: len(folder) - node.level + 1] if node.level else []
            module = ".".join([*around, *([node.module] if node.module else [])])
            yield from (Import(f"{module}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (Import(str(arg.value), node.lineno) for arg in node.args[:1] if isinstance(arg, ast.Constant))


def room_of(name: str) -> str:
    """The room of a module, or of a name in it: "session" for "session.prompt.Prompt"."""
    inside = [room for room in ROOMS_INSIDE if f"{name}.".startswith(f"{room}.")]
    return inside[0] if inside else name.split(".")[0]


def files_by_room(files: dict[str, str]) -> dict[str, list[str]]:
    rooms: dict[str, list[str]] = {}
    for path in files:
        rooms.setdefault(room_of(path.removesuffix(".py").replace("/", ".")), []).append(path)
    return rooms


def arrows(files: dict[str, str]) -> dict[str, set[str]]:
    """{room: the other rooms that its files import}."""
    rooms = files_by_room(files)
    graph = {}
    for room, paths in rooms.items():
        names = {room_of(item.name) for path in paths for item in imports(path, files[path])}
        graph[room] = names & set(rooms) - {room}
    return graph


def reachable(room: str, graph: dict[str, set[str]]) -> set[str]:
    """The rooms that `room` imports, and those that these import, and so on."""
    found: set[str] = set()
    waiting = [room]
    while waiting:
        new = graph[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def drawing(files: dict[str, str]) -> str:
    """A Mermaid graph of the rooms but for tests/, as a block of Markdown."""
    graph = arrows(files)
    lines = ["```mermaid", "graph TD"]
    for room in sorted(set(graph) - {"tests"}):
        for other in sorted(graph[room]):  # an arrow that follows from others is left out
            if not any(other in reachable(between, graph) for between in graph[room] - {other}):
                lines.append(f"    {room} --> {other}")
    return "\n".join([*lines, "```"])


def table(files: dict[str, str]) -> str:
    """Files and lines of every room, and what it imports, from the ground up."""
    graph, rooms = arrows(files), files_by_room(files)
    rows = []
    for room in sorted(rooms, key=lambda room: (len(reachable(room, graph)), room)):
        count = sum(len(files[path].splitlines()) for path in rooms[room])
        rows.append([f"`{room}`", len(rooms[room]), count, ", ".join(sorted(graph[room])) or "–"])
    headers = ["room", "files", "lines", "imports"]
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)


if __name__ == "__main__":
    print(drawing(tracked_files()), table(tracked_files()), sep="\n\n")
