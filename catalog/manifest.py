"""The manifest of an export: which files belong to it, how long they are, their hashes, and how it was made.

`optimum_cli` writes it into the folder when the model is whole, before anybody else sees it. Loading compares the
sizes, which takes no time; `verify_hashes` reads every byte. A folder without a manifest (a ready-made model from the
hub, an export of an earlier version of ours) has none to compare with. Not here: what a model consists of
(`catalog/model_folder.py`).
"""

import hashlib
import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from catalog.errors import half_written, read_json

MANIFEST = "export_manifest.json"
MADE_BY = ("optimum-intel", "optimum", "openvino", "openvino-tokenizers", "nncf", "transformers", "torch")
ON_PURPOSE = f"unless you changed it yourself: then delete {MANIFEST}"


def write_manifest(folder, source: str = "", options: list[str] | None = None) -> None:
    """Writes the manifest of the whole model in `folder`. Reads every file once: about a second for a gigabyte.

    source: where the model came from, a folder or a name on the hub. options: the exporter's arguments. Of folders
    only the last part is kept: an export may be given away, and whose machine made it is nobody's business.
    """
    content = {
        "source": Path(source).resolve().name if Path(source).is_dir() else source,
        "options": [without_folders(option) for option in options or []],
        "made_by": {"python": platform.python_version(), **{name: installed(name) for name in MADE_BY}},
        "files": {path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": sha256(path)}
                  for path in sorted(Path(folder).rglob("*")) if path.is_file() and path.name != MANIFEST},
    }
    Path(folder, MANIFEST).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def require_manifest(folder) -> bool:
    """Compares the sizes of a folder's files with its manifest; False if it has none.

    Raises ModelFolderError for files that are missing or of another length, and for a manifest that is none. Files
    that the manifest does not name, such as a cache of OpenVINO's, may be there.
    """
    if not Path(folder, MANIFEST).is_file():
        return False
    if problems := wrong_sizes(Path(folder), files_of(Path(folder))):
        raise half_written(Path(folder), f"{'; '.join(problems)} ({ON_PURPOSE})")
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
    return problems or [f"{name} is not what was exported: its content has changed"
                        for name, expected in files.items() if sha256(folder / name) != expected["sha256"]]


def files_of(folder: Path) -> dict[str, dict]:
    """The manifest's list of files: name -> {"size": bytes, "sha256": hex digits}. Raises ModelFolderError."""
    files = read_json(folder / MANIFEST).get("files")
    entries = files.items() if isinstance(files, dict) else [("", None)]
    for name, entry in entries:
        inside = name and not Path(name).is_absolute() and ".." not in Path(name).parts
        if not (inside and isinstance(entry, dict) and {"size", "sha256"} <= entry.keys()):
            raise half_written(folder, f"{MANIFEST} is not one of ours")
    return files


def wrong_sizes(folder: Path, files: dict[str, dict]) -> list[str]:
    missing = [name for name in files if not (folder / name).is_file()]
    found = {name: (folder / name).stat().st_size for name in files if name not in missing}
    return ([f"{', '.join(missing)} missing"] if missing else []) + [
        f"{name} has {size:,} of {files[name]['size']:,} bytes"
        for name, size in found.items() if size != files[name]["size"]]


def without_folders(option: str) -> str:
    """`option`, or its last part if it is the path of something on this machine."""
    is_path = Path(option).is_absolute() or option.startswith(("~", ".")) or Path(option).exists()
    return Path(option).name if is_path else option


def sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def installed(name: str) -> str | None:
    """The version of a package, None where it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
