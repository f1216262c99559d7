"""Charts: bars for durations and the like, and the positions of a prompt's tokens.

bar_chart({"turn 1": {"generate": 2.1, "session": 2.0}}, "s to the first token")
"""

from PIL import Image, ImageDraw, ImageFont

INK, LIGHT = (60, 60, 60), (225, 225, 225)
AXES = {"time": (215, 95, 2), "height": (27, 120, 190), "width": (120, 60, 170)}  # apart for colour-blind readers too
MARGIN = 36  # pixels around a chart's axes
BAR_HEIGHT = 22  # pixels, with the space below the bar
FONT_SIZE = 13


def bar_chart(groups: dict[str, dict[str, float]], unit: str, width: int = 720) -> Image.Image:
    """A bar for every number.

    groups: {title: {name: number}}; the longest bar is the largest number of all groups. unit: written behind each.
    """
    font = ImageFont.load_default(FONT_SIZE)
    colours = list(AXES.values())
    longest = max(max(bars.values()) for bars in groups.values()) or 1
    bars_begin = 36 + max(font.getlength(name) for bars in groups.values() for name in bars)
    height = sum(BAR_HEIGHT * (len(bars) + 1) + 8 for bars in groups.values())
    figure = Image.new("RGB", (width, height), "white")
    canvas = ImageDraw.Draw(figure)
    room = width - bars_begin - canvas.textlength(f" {longest:.2f} {unit} ", font) - 12
    top = 4
    for title, bars in groups.items():
        canvas.text((4, top), title, fill=INK, font=font)
        for number, (name, value) in enumerate(bars.items()):
            top += BAR_HEIGHT
            end = bars_begin + value / longest * room
            bar = (bars_begin, top + 2, max(bars_begin + 1, end), top + BAR_HEIGHT - 6)
            canvas.text((24, top), name, fill=INK, font=font)
            canvas.rectangle(bar, fill=colours[number % len(colours)])
            canvas.text((end + 6, top), f"{value:.3g} {unit}", fill=INK, font=font)
        top += BAR_HEIGHT + 8
    return figure


def position_chart(positions, title: str, size: tuple[int, int] = (720, 240)) -> Image.Image:
    """M-RoPE positions of a prompt's tokens: from left to right the tokens, upwards the three positions of each.

    positions: three rows (time, height, width) of one number a token, as the model's `get_rope_index` computes them.
    """
    figure = Image.new("RGB", size, "white")
    canvas = ImageDraw.Draw(figure)
    rows = [[int(position) for position in row] for row in positions]
    last_token = max(1, len(rows[0]) - 1)
    highest = max(1, max(map(max, rows)))
    right, bottom = size[0] - MARGIN, size[1] - MARGIN
    canvas.line([(MARGIN, MARGIN), (MARGIN, bottom), (right, bottom)], fill=LIGHT)
    for row, colour, radius in zip(rows, AXES.values(), (4.5, 3, 1.5), strict=True):  # all visible where they agree
        for token, position in enumerate(row):
            x = MARGIN + token / last_token * (right - MARGIN)
            y = bottom - position / highest * (bottom - MARGIN)
            canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    _label_axes(canvas, title, size, last_token, highest)
    return figure


def _label_axes(canvas: ImageDraw.ImageDraw, title: str, size: tuple[int, int], last_token: int, highest: int) -> None:
    """Writes the title, the legend, and the largest number of each axis."""
    font = ImageFont.load_default(FONT_SIZE)
    width, height = size
    canvas.text((MARGIN, 8), title, fill=INK, font=font)
    left = width - MARGIN - 190
    for name, colour in AXES.items():
        canvas.ellipse((left, 12, left + 8, 20), fill=colour)
        canvas.text((left + 12, 8), name, fill=INK, font=font)
        left += 65
    canvas.text((8, MARGIN - 8), str(highest), fill=INK, font=font)
    canvas.text((8, height - MARGIN - 8), "0", fill=INK, font=font)
    below = height - MARGIN + 8
    canvas.text((MARGIN, below), "first token", fill=INK, font=font)
    canvas.text((width - MARGIN, below), f"token {last_token + 1}", fill=INK, font=font, anchor="ra")
