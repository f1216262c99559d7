"""The practice model's parts: scenes, questions, packing, the training forward, and the weights as shipped."""

import argparse
import hashlib
import json
import random
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from PIL import Image

from tiny_model import evaluate, phrases, questions, scenes
from tiny_model.training import batches, forward
from tiny_model.training.muon import orthogonalised


@pytest.fixture(scope="module")
def loaded(tiny_dir):
    """(Transformers model in float32, processor) from the shipped weights."""
    return evaluate.load(tiny_dir)


@pytest.fixture(scope="module")
def packer(loaded):
    return batches.Packer(loaded[1])


def some_scenes(count=60, seed=3):
    rng = random.Random(seed)
    return [scenes.sample_scene(rng) for _ in range(count)]


def test_shapes_lie_inside_the_picture_apart_and_clear_of_zone_borders():
    for scene in some_scenes():
        width, height = scene.image.size
        for shape in scene.shapes:
            x1, y1, x2, y2 = scenes.box(shape, scene.image.size)
            assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
            assert all(abs(v - border) > scenes.ZONE_MARGIN for v in (shape.x, shape.y) for border in (1 / 3, 2 / 3))
        for a, b in combinations(scene.shapes, 2):
            assert evaluate.overlap(scenes.box(a, scene.image.size), scenes.box(b, scene.image.size)) < 0.2


@pytest.mark.parametrize("kind", scenes.SHAPES)
def test_a_drawn_shape_fills_its_box_and_nothing_outside_it(kind):
    shape = scenes.Shape(kind, "red", 0.4, 0.6, 0.2)
    pixels = np.asarray(scenes.draw([shape], "white", (300, 200))).astype(int)
    rows, columns = np.nonzero(pixels[..., 1] < 150)  # red has little green in it, white much
    drawn = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert drawn == pytest.approx(scenes.box(shape, (300, 200)), abs=1.5)


def test_the_same_seed_draws_the_same_scene():
    first, second = some_scenes(5), some_scenes(5)
    assert all(np.array_equal(a.image, b.image) and a.shapes == b.shapes for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("direction", scenes.DIRECTIONS)
def test_a_video_moves_its_shape_the_way_it_says(direction):
    frames = scenes.draw_video(scenes.Shape("circle", "red", 0.5, 0.5, 0.1), direction, size=(140, 140), frames=4)
    middles = [np.argwhere(np.asarray(f)[..., 1] < 150).mean(axis=0) for f in (frames[0], frames[-1])]
    moved = (middles[1] - middles[0])[::-1] / 140
    assert moved == pytest.approx(0.4 * np.array(scenes.DIRECTIONS[direction]), abs=0.02)


def test_a_description_names_every_shape_its_place_and_the_background():
    for scene in some_scenes():
        text = questions.description(scene)
        assert all(f"{s.name} {questions.place(s)}" in text for s in scene.shapes)
        assert text.endswith(f"on a {scene.background} background.")


@pytest.mark.parametrize("kind", questions.KINDS)
def test_each_kind_is_asked_in_several_ways_and_as_people_type(kind):
    rng = random.Random(5)
    found = [d.turns[-1][0] for d in (questions.about_scene(rng, scene, kind) for scene in some_scenes(120)) if d]
    assert any(q[0].islower() for q in found) and any(q[0].isupper() for q in found)
    assert any(q[-1].isalpha() for q in found) and any(not q[-1].isalpha() for q in found)
    assert len({" ".join(q.lower().split()[:3]) for q in found}) > 4


def test_boxes_are_written_in_thousandths_and_close_to_the_truth():
    rng = random.Random(6)
    for scene in some_scenes(40):
        dialogue = questions.about_scene(rng, scene, "locate")
        true = tuple(
            1000 * v / s
            for v, s in zip(scenes.box(dialogue.target, scene.image.size), scene.image.size * 2, strict=True)
        )
        assert evaluate.is_right(evaluate.Case([], "", true), dialogue.turns[0][1])


def test_a_new_picture_comes_in_the_message_that_asks_about_it():
    rng = random.Random(10)
    for _ in range(40):
        case = evaluate.make_case(rng, "new_picture")
        shown = [sum(p["type"] == "image" for p in m["content"]) for m in case.messages if m["role"] == "user"]
        assert shown[0] == 1 and sum(shown) == 2
        assert not any(questions.NEW_PICTURE in p.get("text", "") for m in case.messages for p in m["content"])


def test_the_pointers_of_a_new_picture_are_in_that_picture(packer):
    """Where training has heads point for the answer about it: behind the second picture's first token."""
    batch = batches.new_picture_batch(random.Random(11), packer, 6, [(1, 4, 5), (1, 3, 6)])
    for row, _, position, pointed_at in batch.pointers.tolist():
        starts = (batch.input_ids[row] == packer.pads[0]).nonzero().flatten().tolist()
        second = starts[4 * 5]
        assert len(starts) == 4 * 5 + 3 * 6
        assert pointed_at == 0 or pointed_at in starts
        assert position > second or pointed_at < second


def test_the_place_heads_are_told_the_sizes_of_the_first_and_the_latest_picture():
    from tiny_model.training.losses import _cells, _sizes_so_far

    grids = [(1, 4, 5), (1, 3, 6)]
    visual = torch.tensor([[False] + [True] * 20 + [False] * 2 + [True] * 18 + [False]])
    sizes = (10 * _sizes_so_far(grids, visual)[0]).round().int().tolist()
    assert all(size == [4, 5, 4, 5] for size in sizes[:23])
    assert all(size == [4, 5, 3, 6] for size in sizes[23:])
    cells = (10 * _cells(grids)).round().int().tolist()
    assert cells[:2] == [[0, 0, 0], [0, 0, 1]] and cells[19:22] == [[0, 3, 4], [1, 0, 0], [1, 0, 1]]


def test_a_follow_up_cannot_be_answered_from_the_text_alone():
    rng = random.Random(7)
    for scene in some_scenes(150):
        dialogue = questions.about_scene(rng, scene, "follow_up")
        if dialogue and "box_start" not in dialogue.turns[1][1]:
            answer = dialogue.turns[1][1].removeprefix("It is ").removeprefix("a ").rstrip(".")
            assert answer not in " ".join(dialogue.turns[0])


def test_evaluation_asks_off_topic_questions_with_words_that_training_never_sees():
    rng = random.Random(8)
    held_out = set(phrases.NOUNS[::5])
    seen_in_training = {
        w for _ in range(3000) for w in questions.off_topic(rng).turns[0][0].lower().rstrip("?.!s").split()
    }
    assert not {noun for noun in held_out if noun in seen_in_training}


def test_counts_match_what_is_drawn():
    rng = random.Random(9)
    for scene in some_scenes(80):
        ((question, answer),) = questions.about_scene(rng, scene, "count").turns
        asked = question.lower()
        kinds = [k for k in scenes.SHAPES if k in asked]
        colours = [c for c in scenes.COLOURS if c in asked.split()]
        number = sum((not kinds or s.kind in kinds) and (not colours or s.colour in colours) for s in scene.shapes)
        assert f" {questions.NUMBERS[number]} " in answer


@pytest.mark.parametrize("make", ["image", "chat", "pair", "new_picture", "video"])
def test_the_training_forward_equals_transformers(loaded, packer, make):
    model, _ = loaded
    rng, grid, other = random.Random(1), (1, 4, 5), (1, 3, 6)
    batch = {
        "image": lambda: batches.image_batch(rng, packer, 2, grid, count=1),
        "chat": lambda: batches.image_batch(rng, packer, 2, grid, ("chat",), count=1),
        "pair": lambda: batches.pair_batch(rng, packer, 2, [grid, other], count=1),
        "new_picture": lambda: batches.new_picture_batch(rng, packer, 2, [grid, other]),
        "video": lambda: batches.video_batch(rng, packer, 2, (3, 4, 5), count=1),
    }[make]()
    ours = model.lm_head(forward.forward_language(model, batch, forward.encode_media(model, batch))[-1])
    kept = batch.branch[0] >= 0
    grids = torch.tensor([[t, 2 * h, 2 * w] for t, h, w in batch.grids])
    of_media = batch.pixel_values.split([4 * tokens for tokens in batch.media_tokens()])
    patches = torch.cat([patches[: len(patches) // 2] for patches in of_media])  # those of the first row
    media = (
        {"pixel_values_videos": patches, "video_grid_thw": grids}
        if batch.video
        else {"pixel_values": patches, "image_grid_thw": grids}
    )
    theirs = model(input_ids=batch.input_ids[:1, kept], **media).logits
    assert torch.allclose(ours[:1, kept], theirs, atol=2e-3, rtol=1e-3)


def test_a_branch_attends_to_the_prefix_and_itself_but_no_other_branch(loaded, packer):
    model, _ = loaded
    batch = batches.image_batch(random.Random(2), packer, 1, (1, 4, 4), count=3)
    features = forward.encode_media(model, batch)
    changed = replace(batch, input_ids=batch.input_ids.clone())
    changed.input_ids[batch.branch == 1] = 7
    before, after = (forward.forward_language(model, b, features)[-1] for b in (batch, changed))
    others = (batch.branch == 0) | (batch.branch > 1)
    assert torch.allclose(before[others], after[others], atol=1e-5)
    assert not torch.allclose(before[batch.branch == 1], after[batch.branch == 1], atol=1e-2)


def test_branches_start_where_the_prefix_ends(loaded, packer):
    batch = batches.image_batch(random.Random(2), packer, 2, (1, 3, 5), count=4)
    positions = forward.position_ids(loaded[0], batch)
    after_prefix = positions[:, 0, batch.branch[0] == 0].max() + 1
    for number in range(1, int(batch.branch[0].max()) + 1):
        mine = positions[:, 0, batch.branch[0] == number]
        assert torch.equal(mine, torch.arange(mine.shape[1]).expand(3, -1) + after_prefix)


def test_every_shape_has_one_middle_and_a_texture_has_none():
    for scene in some_scenes(30):
        covers = batches.coverage(scene, 8, 8)
        assert covers[:, 2].sum() == len(scene.shapes)
        assert {batches.SHAPE_CLASSES[int(c)] for c in covers[covers[:, 2] > 0, 1]} == {s.kind for s in scene.shapes}
    assert set(batches.coverage(None, 8, 8)[:, 0].tolist()) == {batches.COLOUR_CLASSES.index("not a scene")}


def test_muon_makes_its_updates_nearly_orthogonal():
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalised(torch.randn(3, 64, 128)))
    assert values.max() < 1.3 and values.min() > 0.5


def test_training_interrupted_and_resumed_gives_the_same_weights(tmp_path, loaded, monkeypatch):
    from tiny_model.training import train

    monkeypatch.setattr(train, "build_processor", lambda: loaded[1])  # the shipped one: building it takes long
    options = argparse.Namespace(
        stage="vision", steps=4, start=None, rate=1.0, seed=0, bfloat16=False, int4=False, folder=tmp_path / "whole",
        size=1.0, workers=0,
    )  # fmt: skip
    whole = train.Trainer(options)
    whole.train()
    options.folder = tmp_path / "parts"
    first = train.Trainer(options)
    first.train(until=2)
    options.workers = 2  # who draws changes nothing
    second = train.Trainer(options)
    assert second.step == 2
    second.train()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name
    rows = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 4 and rows[-1]["dense"] > 0


def test_training_can_go_on_from_a_shipped_model_with_its_own_tokenizer(tmp_path, loaded, tiny_dir):
    from tiny_model.training import train

    options = argparse.Namespace(
        stage="joint", steps=1, start=str(tiny_dir), rate=1.0, seed=0, bfloat16=False, int4=True, folder=tmp_path,
        size=1.0, workers=0,
    )  # fmt: skip
    trainer = train.Trainer(options)
    assert trainer.processor.tokenizer.get_vocab() == loaded[1].tokenizer.get_vocab()
    shipped = loaded[0].state_dict()
    assert all(torch.equal(value, shipped[name]) for name, value in trainer.model.state_dict().items())


def test_rounding_to_int4_keeps_sixteen_levels_a_group_and_zero_itself():
    from tiny_model.training.losses import as_int4

    weight = torch.randn(4, 256, generator=torch.Generator().manual_seed(0))
    weight[:, 0] = 0
    rounded = as_int4(weight)
    assert max(len(group.unique()) for group in rounded.view(8, 128)) <= 16
    assert torch.equal(rounded[:, 0], weight[:, 0])
    step = (weight.view(8, 128).amax(1) - weight.view(8, 128).amin(1)) / 15
    assert ((rounded - weight).abs().view(8, 128).amax(1) <= step).all()


BOX = "<|object_ref_start|>red circle<|object_ref_end|><|box_start|>(100,200),(300,400)<|box_end|>"


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        (BOX, True),
        (BOX.replace("(100,200)", "(120,200)"), True),
        (BOX.replace("(100,200)", "(240,200)"), False),  # overlaps by less than half
        ("red circle(100,200),(300,400)", False),  # the tokens are a part of the format
        (BOX.replace("<|box_end|>", ""), False),
        ("(500,500),(600,600) " + BOX, True),  # numbers outside of the tokens are no box
        (BOX.replace("(100,200),(300,400)", "(300,400),(100,200)"), False),
        ("There is no red circle.", False),
    ],
)
def test_a_box_is_right_where_its_tokens_enclose_it_and_it_overlaps_the_true_one(answer, right):
    assert evaluate.is_right(evaluate.Case([], "", (100, 200, 300, 400)), answer) is right


# The first 20 questions of each kind with their answers and pictures, as they were when the published figures were
# measured. Whatever changes one of these makes the figures in README.md figures of other questions.
HELD_OUT_DIGESTS = {
    "describe": "b12bd92a92ec8c02", "colour": "296bf5437b804824", "shape": "6b7645fd55201904",
    "count": "515443941ea99cc3", "where": "48308fd44fb4bd67", "locate": "5dd5a63041dab767",
    "is_there": "e1ee794aaa14b2f9", "follow_up": "12372203554b3374", "conversation": "e2c37ce3fdf77df3",
    "chat": "101bb90190df2ba4", "pair": "5e34343ed300af3f", "new_picture": "bee624437def62c9",
    "video": "7acb4dfccd53dbbb", "off_topic": "32db337b4ba70eb1",
}  # fmt: skip


@pytest.mark.parametrize("kind", HELD_OUT_DIGESTS)
def test_the_held_out_questions_are_those_of_the_published_figures(kind):
    rng = random.Random(f"{evaluate.HELD_OUT} {kind}")
    digest = hashlib.sha256()
    for _ in range(20):
        case = evaluate.make_case(rng, kind)
        digest.update(repr((case.expected, case.box)).encode())
        for part in (part for message in case.messages for part in message["content"]):
            for picture in part.get("video", [part["image"]] if "image" in part else []):
                digest.update(np.asarray(picture).tobytes())
            digest.update(part.get("text", "").encode())
    assert digest.hexdigest()[:16] == HELD_OUT_DIGESTS[kind]


def test_overlap_of_boxes():
    assert evaluate.overlap((0, 0, 10, 10), (0, 0, 10, 10)) == 1
    assert evaluate.overlap((0, 0, 10, 10), (5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert evaluate.overlap((0, 0, 10, 10), (20, 20, 30, 30)) == 0


def test_the_shipped_tokenizer_keeps_special_tokens_and_coordinates_whole(loaded):
    tokenizer = loaded[1].tokenizer
    text = "<|box_start|>(320,480),(1000,960)<|box_end|>"
    assert tokenizer.tokenize(text) == [
        "<|box_start|>",
        "(",
        "320",
        ",",
        "480",
        "),(",
        "1000",
        ",",
        "960",
        ")",
        "<|box_end|>",
    ]
    assert tokenizer.decode(tokenizer("naïve 猫 🙂")["input_ids"]) == "naïve 猫 🙂"


@pytest.mark.parametrize("size", [(28, 28), (3000, 2000), (1000, 140)])
def test_the_default_budget_holds_for_pictures_of_any_size(loaded, size):
    grid = loaded[1].image_processor([Image.new("RGB", size)], return_tensors="pt")["image_grid_thw"][0]
    assert 16 <= int(grid.prod()) // 4 <= 400


def test_the_weights_fit_in_the_repository(tiny_dir):
    assert sum(p.stat().st_size for p in tiny_dir.iterdir()) <= 12_000_000
