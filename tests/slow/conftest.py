"""Tests that take minutes. They are collected only where this folder, or a file in it, is named to pytest."""

from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def pytest_ignore_collect(collection_path, config):
    named = [Path(argument.partition("::")[0]).resolve() for argument in config.args]
    return None if any(path == HERE or HERE in path.parents for path in named) else True


@pytest.fixture(scope="session")
def real_source(tmp_path_factory) -> Path:
    """A random Qwen2-VL with Qwen's real vocabulary, as Transformers writes it."""
    from tests import real_vocabulary
    from tests.conftest import TINY_DIR

    return real_vocabulary.write_model(tmp_path_factory.mktemp("real vocabulary") / "source", TINY_DIR)
