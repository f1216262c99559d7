"""session.hdr: a film in PQ or HLG shows the colours of its SDR original. The films are made here, by the inverse
functions, written out anew from ITU-R BT.2100.
"""

import av
import numpy as np
import pytest

from session.hdr import HLG, PQ
from session.media import load_video
from session.sources import MediaError

SRGB_TO_BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
COLOURS = [(220, 40, 40), (40, 160, 60), (40, 80, 220), (20, 20, 20), (128, 128, 128), (200, 200, 200)]
BT2020, BT2020_NCL, LIMITED = 9, 9, 1


def light_of(colour) -> np.ndarray:
    """Linear light of an sRGB colour, in the primaries of BT.2020; 1 is white."""
    coded = np.array(colour) / 255
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    return SRGB_TO_BT2020 @ linear


def pq(light: np.ndarray) -> np.ndarray:
    power = (light * 203 / 10_000) ** (2610 / 16384)
    return ((3424 / 4096 + 32 * 2413 / 4096 * power) / (1 + 32 * 2392 / 4096 * power)) ** (128 * 2523 / 4096)


def hlg(light: np.ndarray) -> np.ndarray:
    shown = light * 203 / 1000
    luminance = max(float(shown @ (0.2627, 0.6780, 0.0593)), 1e-9)
    scene = shown * luminance ** (1 / 1.2 - 1)
    bright = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright)


CODED = {PQ: pq, HLG: hlg}


def write_hdr(path, colour, transfer: int, brightness: float = 1.0):
    """A film of one colour in 10 bits, as phones make them: HEVC, BT.2020, limited range."""
    rgb = CODED[transfer](light_of(colour) * brightness)
    luma = float(rgb @ (0.2627, 0.6780, 0.0593))
    planes = luma, (rgb[2] - luma) / 1.8814, (rgb[0] - luma) / 1.4746
    levels = 64 + 876 * planes[0], 512 + 896 * planes[1], 512 + 896 * planes[2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx265", rate=4)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p10le"
        stream.options = {"x265-params": "log-level=none:qp=4"}
        context = stream.codec_context
        context.color_trc, context.color_primaries = transfer, BT2020
        context.colorspace, context.color_range = BT2020_NCL, LIMITED
        for number in range(3):
            frame = av.VideoFrame(64, 64, "yuv420p10le")
            for plane, level in zip(frame.planes, levels, strict=True):
                plane.update(np.full(plane.buffer_size // 2, round(level), np.uint16).tobytes())
            frame.color_trc, frame.color_primaries = transfer, BT2020
            frame.colorspace, frame.color_range = BT2020_NCL, LIMITED
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def shown(path) -> np.ndarray:
    return np.array(load_video(path).frames[0].getpixel((32, 32)))


@pytest.mark.parametrize("transfer", [PQ, HLG], ids=["PQ", "HLG"])
@pytest.mark.parametrize("colour", COLOURS, ids=str)
def test_colours_are_those_of_the_sdr_original(tmp_path, transfer, colour):
    assert shown(write_hdr(tmp_path / "a.mp4", colour, transfer)) == pytest.approx(colour, abs=6)


@pytest.mark.parametrize("transfer", [PQ, HLG], ids=["PQ", "HLG"])
def test_what_is_brighter_than_white_is_compressed_and_keeps_its_hue(tmp_path, transfer):
    red, green, blue = shown(write_hdr(tmp_path / "a.mp4", (220, 40, 40), transfer, brightness=3))
    assert 235 < red <= 255
    assert green == pytest.approx(blue, abs=6)
    assert green < 80
    white = shown(write_hdr(tmp_path / "b.mp4", (255, 255, 255), transfer))
    whiter = shown(write_hdr(tmp_path / "c.mp4", (255, 255, 255), transfer, brightness=3))
    assert 235 < white.min() < whiter.min() <= 255


def test_an_ordinary_film_is_left_as_it_is(tmp_path):
    from tests.test_media import write_video

    path = write_video(tmp_path / "a.mp4", [np.full((64, 64, 3), (200, 30, 30), np.uint8)] * 3)
    assert shown(path) == pytest.approx((200, 30, 30), abs=6)
    with pytest.raises(MediaError):
        load_video(b"no film")
