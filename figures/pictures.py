"""Pictures with something drawn on them: the visual tokens, a box that the model wrote; and several in a row.

draw_box(image, "red circle(100,200),(300,400)")
"""

from PIL import Image, ImageDraw, ImageFont

from adapters.qwen_vl import JSON_PIXELS, MERGE_SIZE, PATCH_SIZE, family_of
from session.boxes import parse_boxes

INK = (60, 60, 60)
CAPTION_HEIGHT, CAPTION_WIDTH = 22, 150  # pixels


def token_grid(image: Image.Image, grid_thw, scale: float = 1.0) -> Image.Image:
    """`image` as the model gets it, with a line around each visual token and their number below.

    grid_thw: (time, height, width) in patches, a row of the processor's `image_grid_thw`. scale: of the drawing.
    """
    _, patch_rows, patch_columns = (int(n) for n in grid_thw)
    rows, columns = patch_rows // MERGE_SIZE, patch_columns // MERGE_SIZE
    width = round(patch_columns * PATCH_SIZE * scale)
    height = round(patch_rows * PATCH_SIZE * scale)
    token_side = MERGE_SIZE * PATCH_SIZE * scale
    figure = Image.new("RGB", (max(width, CAPTION_WIDTH), height + CAPTION_HEIGHT), "white")
    figure.paste(image.convert("RGB").resize((width, height)), (0, 0))
    canvas = ImageDraw.Draw(figure)
    for column in range(columns + 1):
        x = min(column * token_side, width - 1)  # the last line belongs to the picture, too
        canvas.line([(x, 0), (x, height)], fill=INK)
    for row in range(rows + 1):
        y = min(row * token_side, height - 1)
        canvas.line([(0, y), (width, y)], fill=INK)
    caption = f"{columns} by {rows}: {rows * columns} tokens"
    canvas.text((0, height + 4), caption, fill=INK, font=ImageFont.load_default(13))
    return figure


def draw_box(image: Image.Image, answer: str, processor=None) -> Image.Image:
    """A copy of `image` with the first box in `answer` drawn on it; without one where the answer has none.

    processor: that of the model that wrote the answer, because each family writes boxes in a way of its own (see
    `session.boxes`); without one, as Qwen2-VL.
    """
    box_format, grid = family_of(processor).box_format, None
    if box_format == JSON_PIXELS:
        grid = tuple(processor.image_processor(images=[image], return_tensors="pt")["image_grid_thw"][0, 1:].tolist())
    drawn = image.convert("RGB")
    for box in parse_boxes(answer, box_format, image.size, grid)[:1]:
        ImageDraw.Draw(drawn).rectangle(box.corners, outline="magenta", width=3)
    return drawn


def side_by_side(images: list[Image.Image], gap: int = 16) -> Image.Image:
    """The pictures in one row on white, aligned at the top, `gap` pixels apart."""
    width = sum(image.width + gap for image in images) - gap
    row = Image.new("RGB", (width, max(image.height for image in images)), "white")
    left = 0
    for image in images:
        row.paste(image, (left, 0))
        left += image.width + gap
    return row
