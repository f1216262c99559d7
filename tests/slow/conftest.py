"""Tests that take minutes. They are collected only where this folder, or a file in it, is named to pytest."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def pytest_ignore_collect(collection_path, config):
    named = [Path(argument.partition("::")[0]).resolve() for argument in config.args]
    return None if any(path == HERE or HERE in path.parents for path in named) else True


@pytest.fixture(scope="session")
def real_models(tmp_path_factory) -> dict[str, Path]:
    """Of each family a model with Qwen's real vocabulary and files as on the hub; beside it `export`, in float32.

    Two are exported at a time: an export keeps one core busy.
    """
    import cmd_helper
    from tests.conftest import TINY_DIR
    from tests.real_vocabulary import FAMILIES, as_on_the_hub, write_model

    folder = tmp_path_factory.mktemp("real vocabulary")
    known, sources = write_model(folder / "as Transformers writes it", TINY_DIR), {}
    for family, write in FAMILIES.items():
        sources[family] = folder / family / "source"
        write(sources[family], known)
        as_on_the_hub(sources[family])

    def export(source: Path) -> None:
        cmd_helper.optimum_cli(source, source.with_name("export"), additional_args={"weight-format": "fp32"})

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(export, sources.values()))
    return sources
