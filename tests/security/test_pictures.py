"""Small files that become large pictures: of all visitors together, so many pixels are in memory at once."""

import threading

import pytest
from PIL import Image

from session import videos, vision_inputs
from session.answer import Interrupted
from session.videos import as_video
from session.vision_inputs import MediaProcessor, PixelBudget
from tests.fake_model import fake_processor

PROCESSOR = fake_processor()


def test_large_pictures_wait_for_each_other_and_all_are_made(tmp_path, monkeypatch):
    monkeypatch.setattr(vision_inputs, "MAX_PIXELS_AT_ONCE", 25_000)
    made, real, now, most = [], vision_inputs._process_image, 0, 0
    two_are_here, lock = threading.Barrier(2), threading.Lock()

    def process(*args):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        two_are_here.wait(30)
        with lock:
            now -= 1
        made.append(real(*args))
        return made[-1]

    monkeypatch.setattr(vision_inputs, "_process_image", process)
    media, threads = MediaProcessor(PROCESSOR), []
    for number in range(6):
        Image.new("RGB", (100, 100), (number, 0, 0)).save(tmp_path / f"{number}.png")
        part = {"type": "image", "image": str(tmp_path / f"{number}.png")}
        threads.append(threading.Thread(target=media.process, args=(part,)))
        threads[-1].start()
    for thread in threads:
        thread.join(60)
    assert (len(made), most) == (6, 2)


def test_whoever_leaves_does_not_wait():
    budget = PixelBudget(10)
    with budget.taking(10**9, lambda: True), pytest.raises(Interrupted), budget.taking(1, lambda: False):
        pass
    with budget.taking(10, lambda: False):  # there is room
        pass


def test_frames_that_are_given_as_pictures_have_so_many_pixels_together(monkeypatch):
    monkeypatch.setattr(videos, "FRAMES_PIXELS", 6000)
    frames = [Image.new("RGB", (200, 100))] * 3
    assert {frame.size for frame in as_video(frames, 2).frames} == {(63, 32)}
    assert as_video([Image.new("RGB", (40, 30))] * 3, 2).frames[0].size == (40, 30)
