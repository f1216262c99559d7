"""HDR video to SDR: what phones film in PQ or HLG, as the 8-bit sRGB that the model was trained with.

    if is_hdr(frame):
        picture = to_sdr(frame, 448, 252)

Here: the two transfer functions of ITU-R BT.2100, from the primaries of BT.2020 to those of sRGB, and a curve for what
is brighter than white. Not here: reading files (`session.videos`). Constants from
https://www.itu.int/rec/R-REC-BT.2100 (tables 4 and 5); white at 203 cd/m² is that of
https://www.itu.int/pub/R-REP-BT.2408; the matrix is that of BT.2087. Metadata of a film's brightness (MaxCLL, HDR10+,
Dolby Vision) are not read.
"""

import av
import numpy as np
from PIL import Image

PQ, HLG = 16, 18  # FFmpeg's numbers of the transfer functions (AVCOL_TRC_SMPTE2084, AVCOL_TRC_ARIB_STD_B67)
WHITE_CD_M2 = 203.0  # of what is as bright as white paper
HLG_PEAK_CD_M2, HLG_GAMMA = 1000.0, 1.2  # of the screen that HLG is defined for
KNEE = 0.8  # of white: what is darker keeps its brightness, what is brighter is compressed into the rest
BT2020_TO_SRGB = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])
LUMINANCE = np.array([0.2627, 0.6780, 0.0593])  # of BT.2020's primaries


def is_hdr(frame: av.VideoFrame) -> bool:
    return frame.color_trc in (PQ, HLG)


def to_sdr(frame: av.VideoFrame, width: int, height: int) -> Image.Image:
    """`frame`, one for which `is_hdr`, resized and as sRGB. Colours no brighter than KNEE keep theirs to within 6 of
    255 steps (tests/test_hdr.py); brighter ones keep their hue.
    """
    coded = frame.to_ndarray(width=width, height=height, format="rgb48le").astype(np.float32) / 65535
    light = _from_pq(coded) if frame.color_trc == PQ else _from_hlg(coded)
    light = np.clip(light @ BT2020_TO_SRGB.T, 0, None)
    brightest = np.maximum(light.max(axis=-1, keepdims=True), 1e-6)
    above = np.maximum(brightest - KNEE, 0)
    compressed = np.minimum(brightest, KNEE) + (1 - KNEE) * (1 - np.exp(-above / (1 - KNEE)))
    return Image.fromarray((_to_srgb(light * compressed / brightest) * 255).round().astype(np.uint8))


def _from_pq(coded: np.ndarray) -> np.ndarray:
    """Light, in which 1 is white, of values coded by PQ (SMPTE ST 2084), 0 to 1."""
    power = coded ** (1 / 78.84375)
    share = np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)
    return 10_000 / WHITE_CD_M2 * share ** (1 / 0.1593017578125)


def _from_hlg(coded: np.ndarray) -> np.ndarray:
    """The same of values coded by hybrid log-gamma."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(coded <= 0.5, coded**2 / 3, (np.exp((coded - c) / a) + b) / 12)
    luminance = np.maximum(scene @ LUMINANCE, 1e-6)[..., None]
    return HLG_PEAK_CD_M2 / WHITE_CD_M2 * scene * luminance ** (HLG_GAMMA - 1)


def _to_srgb(light: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1, 0 to 1."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055).clip(0, 1)
