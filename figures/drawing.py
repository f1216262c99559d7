"""Figures of how a model sees: its visual tokens over a picture, the positions of its tokens, a box that it wrote; and
how long it took.

Here: drawing, with Pillow alone. Not here: where the numbers come from; the notebook asks the processor and the model.
"""

import re

from PIL import Image, ImageDraw, ImageFont

PATCH = 14  # pixels of one side of a patch; a visual token is 2 × 2 of them
INK, LIGHT = (60, 60, 60), (225, 225, 225)
AXES = {"time": (215, 95, 2), "height": (27, 120, 190), "width": (120, 60, 170)}  # apart for colour-blind readers too
MARGIN = 36


def token_grid(image: Image.Image, grid_thw, scale: float = 1.0) -> Image.Image:
    """`image` as the model gets it, with a line around each visual token and their number below.

    grid_thw: (time, height, width) in patches, a row of the processor's `image_grid_thw`. scale: of the drawing.
    """
    _, rows, columns = (int(n) for n in grid_thw)
    width, height = round(columns * PATCH * scale), round(rows * PATCH * scale)
    seen = image.convert("RGB").resize((width, height))
    figure = Image.new("RGB", (max(width, 150), height + 22), "white")
    figure.paste(seen, (0, 0))
    canvas, cell = ImageDraw.Draw(figure), 2 * PATCH * scale
    for column in range(columns // 2 + 1):
        x = min(column * cell, width - 1)  # the last line belongs to the picture, too
        canvas.line([(x, 0), (x, height)], fill=INK)
    for row in range(rows // 2 + 1):
        y = min(row * cell, height - 1)
        canvas.line([(0, y), (width, y)], fill=INK)
    caption = f"{columns // 2} by {rows // 2}: {rows * columns // 4} tokens"
    canvas.text((0, height + 4), caption, fill=INK, font=ImageFont.load_default(13))
    return figure


def draw_box(image: Image.Image, answer: str) -> Image.Image:
    """A copy of `image` with the first box in `answer` drawn on it; without one where the answer has none.

    Qwen2-VL writes two corners, "(x1,y1),(x2,y2)", in thousandths of the picture's width and height.
    """
    copy = image.convert("RGB")
    if found := re.search(r"\((\d+),(\d+)\),\((\d+),(\d+)\)", answer):
        x1, y1, x2, y2 = (int(n) / 1000 * side for n, side in zip(found.groups(), image.size * 2, strict=True))
        corners = (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))
        ImageDraw.Draw(copy).rectangle(corners, outline="magenta", width=3)
    return copy


def side_by_side(images: list[Image.Image], gap: int = 16) -> Image.Image:
    """The pictures in one row on white, aligned at the top."""
    row = Image.new("RGB", (sum(i.width + gap for i in images) - gap, max(i.height for i in images)), "white")
    left = 0
    for image in images:
        row.paste(image, (left, 0))
        left += image.width + gap
    return row


def position_chart(positions, title: str, size: tuple[int, int] = (720, 240)) -> Image.Image:
    """Where each token of a prompt stands: its place in the sequence to the right, its three positions upwards.

    positions: three rows (time, height, width) of one number a token, as the model's `get_rope_index` computes them.
    """
    figure = Image.new("RGB", size, "white")
    canvas, font = ImageDraw.Draw(figure), ImageFont.load_default(13)
    rows = [[int(n) for n in row] for row in positions]
    across, up = max(1, len(rows[0]) - 1), max(1, max(map(max, rows)))
    right, bottom = size[0] - MARGIN, size[1] - MARGIN

    def point(index: int, value: int) -> tuple[float, float]:
        return MARGIN + index / across * (right - MARGIN), bottom - value / up * (bottom - MARGIN)

    canvas.line([(MARGIN, MARGIN), (MARGIN, bottom), (right, bottom)], fill=LIGHT)
    for row, colour, radius in zip(rows, AXES.values(), (4.5, 3, 1.5), strict=True):  # all visible where they agree
        for x, y in (point(index, value) for index, value in enumerate(row)):
            canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    _label(canvas, font, title, size, across, up)
    return figure


def _label(canvas: ImageDraw.ImageDraw, font, title: str, size: tuple[int, int], across: int, up: int) -> None:
    """Writes the title, the legend, and the largest number of each axis."""
    width, height = size
    canvas.text((MARGIN, 8), title, fill=INK, font=font)
    left = width - MARGIN - 190
    for name, colour in AXES.items():
        canvas.ellipse((left, 12, left + 8, 20), fill=colour)
        canvas.text((left + 12, 8), name, fill=INK, font=font)
        left += 65
    canvas.text((8, MARGIN - 8), str(up), fill=INK, font=font)
    canvas.text((8, height - MARGIN - 8), "0", fill=INK, font=font)
    canvas.text((MARGIN, height - MARGIN + 8), "first token", fill=INK, font=font)
    canvas.text((width - MARGIN, height - MARGIN + 8), f"token {across + 1}", fill=INK, font=font, anchor="ra")


def bar_chart(groups: dict[str, dict[str, float]], unit: str, width: int = 720) -> Image.Image:
    """A bar for every number: groups of {name: number}, the longest bar the largest of them all; unit, behind each."""
    colours = list(AXES.values())
    longest = max(max(bars.values()) for bars in groups.values()) or 1
    line, font = 22, ImageFont.load_default(13)
    label = 36 + max(font.getlength(name) for bars in groups.values() for name in bars)  # where bars begin
    figure = Image.new("RGB", (width, sum(line * (len(bars) + 1) + 8 for bars in groups.values())), "white")
    canvas, top = ImageDraw.Draw(figure), 4
    room = width - label - canvas.textlength(f" {longest:.2f} {unit} ", font) - 12
    for title, bars in groups.items():
        canvas.text((4, top), title, fill=INK, font=font)
        for number, (name, value) in enumerate(bars.items()):
            top += line
            end = label + value / longest * room
            canvas.text((24, top), name, fill=INK, font=font)
            canvas.rectangle((label, top + 2, max(label + 1, end), top + line - 6), fill=colours[number % len(colours)])
            canvas.text((end + 6, top), f"{value:.2f} {unit}", fill=INK, font=font)
        top += line + 8
    return figure
