"""The manifest of an export: which files belong to it, how long they are, their hashes, and how it was made.

    {"source": "Qwen/Qwen2-VL-2B-Instruct", "revision": "895c3a49...", "options": ["--weight-format", "int4"],
     "made_by": {"python": "3.11.9", "openvino": "2026.4.1", ...},
     "files": {"openvino_language_model.bin": {"size": 820141056, "sha256": "..."}, ...}}

`optimum_cli` writes it into the folder when the model is whole, before anybody else sees it. Loading compares the
sizes, which takes no time; `verify_hashes` reads every byte. A folder without a manifest (a ready-made model from the
hub, an export of an earlier version of ours) has none to compare with. Not here: what a model consists of
(`catalog/model_folder.py`).
"""

import hashlib
import json
import platform
from pathlib import Path

from catalog.errors import half_written, read_json
from environment.versions import installed

MANIFEST = "export_manifest.json"
MADE_BY = ("optimum-intel", "optimum", "openvino", "openvino-tokenizers", "nncf", "transformers", "torch")
ON_PURPOSE = f"unless you changed it yourself: then delete {MANIFEST}"


def write_manifest(folder, source: str = "", options: list[str] | None = None, revision: str | None = None) -> None:
    """Writes the manifest of the whole model in `folder`. Reads every file once: about a second for a gigabyte.

    source: where the model came from, a folder or a name on the hub; revision: which commit of it, where that is known.
    options: the exporter's arguments. Of folders only the last part is kept: an export may be given away, and whose
    machine made it is nobody's business.
    """
    folder = Path(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    content = {
        "source": Path(source).resolve().name if Path(source).is_dir() else source,
        "revision": revision,
        "options": [without_folders(option) for option in options or []],
        "made_by": {"python": platform.python_version(), **{name: installed(name) for name in MADE_BY}},
        "files": {
            path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": sha256(path)} for path in files
        },
    }
    (folder / MANIFEST).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def require_manifest(folder) -> bool:
    """Compares the sizes of a folder's files with its manifest; False if it has none.

    Raises ModelFolderError for files that are missing or of another length, and for a manifest that is none. Files
    that the manifest does not name, such as a cache of OpenVINO's, may be there.
    """
    folder = Path(folder)
    if not (folder / MANIFEST).is_file():
        return False
    problems = wrong_sizes(folder, files_of(folder))
    if problems:
        raise half_written(folder, f"{'; '.join(problems)} ({ON_PURPOSE})")
    return True


def verify_hashes(folder) -> list[str]:
    """What differs between a folder's files and its manifest, a sentence each; reads every byte, in small pieces.

    Empty when all is as it was made. A folder without a manifest cannot be verified, which is a sentence too.
    """
    folder = Path(folder)
    if not (folder / MANIFEST).is_file():
        return [f"{folder.name} has no {MANIFEST}: it was not made by this version's export, so nothing is known"]
    try:
        files = files_of(folder)
    except ValueError as error:
        return [str(error)]
    problems = wrong_sizes(folder, files)
    if problems:
        return problems
    changed = [name for name, expected in files.items() if sha256(folder / name) != expected["sha256"]]
    return [f"{name} is not what was exported: its content has changed" for name in changed]


def files_of(folder: Path) -> dict[str, dict]:
    """The manifest's list of files: name -> {"size": bytes, "sha256": hex digits}. Raises ModelFolderError."""
    files = read_json(folder / MANIFEST).get("files")
    if not isinstance(files, dict) or not all(is_file_entry(name, entry) for name, entry in files.items()):
        raise half_written(folder, f"{MANIFEST} is not one of ours")
    return files


def is_file_entry(name: str, entry) -> bool:
    """Whether it names a file inside the folder, with its size and its hash."""
    is_inside = bool(name) and not Path(name).is_absolute() and ".." not in Path(name).parts
    return is_inside and isinstance(entry, dict) and {"size", "sha256"} <= entry.keys()


def wrong_sizes(folder: Path, files: dict[str, dict]) -> list[str]:
    """The files that are missing, and those that are of another length, as words."""
    missing = [name for name in files if not (folder / name).is_file()]
    problems = [f"{', '.join(missing)} missing"] if missing else []
    for name in files:
        if name in missing:
            continue
        size, expected = (folder / name).stat().st_size, files[name]["size"]
        if size != expected:
            problems.append(f"{name} has {size:,} of {expected:,} bytes")
    return problems


def without_folders(option: str) -> str:
    """`option`, or its last part if it is the path of something on this machine."""
    is_path = Path(option).is_absolute() or option.startswith(("~", ".")) or Path(option).exists()
    return Path(option).name if is_path else option


def sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
