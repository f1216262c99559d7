"""A few steps of a visitor who clicks at random; `python -m tests.stress.clicks` takes as many as one likes."""

from tests.stress import clicks
from tests.test_page_browser import require_chromium


def test_whoever_clicks_at_random_loses_nothing(capfd):
    require_chromium()
    assert clicks.main(["--seed", "2", "--steps", "12"]) == 0, capfd.readouterr().out
