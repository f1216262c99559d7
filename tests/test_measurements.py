"""`catalog.measurements`: the figures of `benchmarks/results/` can be read, and belong to shapes that there are."""

import pytest

from catalog.measurements import PRACTICE, measured_exports, measured_runs
from catalog.shapes import SHAPES


@pytest.mark.parametrize("read", [measured_exports, measured_runs])
def test_what_was_measured_is_known_by_its_shape_and_says_where(read):
    measured = read()
    assert PRACTICE in measured
    assert set(measured) <= {PRACTICE, *SHAPES}
    assert all(entry.where and entry.memory_bytes > 1e8 for entry in measured.values())
