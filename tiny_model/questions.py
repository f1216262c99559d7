"""Questions about scenes, as people type them, with the answers the embedded model is trained to give.

Here: the kinds of question, their phrasings, and the one right answer to each. Not here: pictures (`scenes.py`),
tokens (`model.py`). A Dialogue is one to three turns about the same media.
"""

import random
from dataclasses import dataclass, replace
from typing import NamedTuple

from tiny_model.scenes import COLOURS, DIRECTIONS, SHAPES, Scene, Shape, box, moved, zone
from tiny_model.words import FOLLOW_UPS, NOUNS, OFF_TOPIC, PHRASES, THINGS

REFUSAL = "I only know coloured shapes."
NO_PICTURE = "Please show me a picture."
NUMBERS = ("no", "one", "two", "three", "four")
NEW_PICTURE = "<|vision_start|><|image_pad|><|vision_end|>"  # as the chat template has it
PLACES = (
    ("at the top left", "at the top", "at the top right"),
    ("at the left", "in the middle", "at the right"),
    ("at the bottom left", "at the bottom", "at the bottom right"),
)
BOX_STEP = 20  # boxes are written in steps of 20/1000, so that every coordinate is one token


class Mark(NamedTuple):
    """What one looks at to answer: a shape, in which picture or slice of a video, with which of two attention heads."""

    shape: Shape | None
    number: int = 0
    head: int = 0


NOWHERE = Mark(None)  # of an answer that speaks of something absent
Part = tuple[str, tuple[Mark, ...]]  # (text, what one looks at while saying it)
KINDS = ("describe", "colour", "shape", "count", "where", "locate", "is_there", "follow_up")


@dataclass(frozen=True)
class Dialogue:
    """`turns` is a tuple of (question, answer). `target` is the one Shape that the last turn asks about, or None.

    `parts` holds for every turn its answer, cut into Parts: what training shows the model where to look with.
    """

    kind: str
    turns: tuple[tuple[str, str], ...]
    target: Shape | None = None
    parts: tuple[tuple[Part, ...], ...] = ()


def _dialogue(kind: str, question: str, answer: str, marks=(), target: Shape | None = None) -> Dialogue:
    """One question and its answer; all of the answer speaks of `marks`, which default to `target`."""
    return Dialogue(kind, ((question, answer),), target, (((answer, marks or ((Mark(target),) if target else ())),),))


def _joined(kind: str, *dialogues: Dialogue) -> Dialogue:
    turns, parts = (tuple(x for d in dialogues for x in getattr(d, name)) for name in ("turns", "parts"))
    return Dialogue(kind, turns, dialogues[-1].target, parts)


def as_typed(rng: random.Random, question: str) -> str:
    """The same question as somebody might type it: case, spelling of "colour", end mark, courtesies."""
    if rng.random() < 0.5:
        question = question.replace("color", "colour")
    if rng.random() < 0.3:
        question = question.rstrip("?.")
    if rng.random() < 0.06:
        question = "Please " + question[0].lower() + question[1:]
    if (roll := rng.random()) < 0.3:
        return question.lower()
    return question.upper() if roll < 0.34 else question


def ask(rng: random.Random, kind: str, name: str = "") -> str:
    return as_typed(rng, rng.choice(PHRASES[kind]).format(name))


def place(shape: Shape) -> str:
    row, column = zone(shape)
    return PLACES[row][column]


def box_text(shape: Shape, size: tuple[int, int]) -> str:
    """Qwen2-VL's grounding format: corners in thousandths of the picture's width and height."""
    x1, y1, x2, y2 = (
        min(1000, max(0, round(v / side * 1000 / BOX_STEP) * BOX_STEP))
        for v, side in zip(box(shape, size), size * 2, strict=True)
    )
    return (
        f"<|object_ref_start|>{shape.name}<|object_ref_end|>"
        f"<|box_start|>({x1},{y1}),({x2},{y2})<|box_end|>"
    )  # fmt: skip


def plural(count: int, noun: str) -> str:
    verb = "is" if count == 1 else "are"
    return f"There {verb} {NUMBERS[count]} {noun}{'' if count == 1 else 's'}."


def description_parts(scene: Scene) -> tuple[Part, ...]:
    """Every shape with its colour and place, then the background."""
    shapes = [(f"{',' if i else ''} a {s.name} {place(s)}", (Mark(s),)) for i, s in enumerate(scene.shapes)]
    return (
        ("The image shows", ()),
        *(shapes or [(" no shapes", ())]),
        (f" on a {scene.background} background.", ()),
    )


def description(scene: Scene) -> str:
    return "".join(text for text, _ in description_parts(scene))


def _unique(shapes, attribute: str) -> list[Shape]:
    values = [getattr(s, attribute) for s in shapes]
    return [s for s in shapes if values.count(getattr(s, attribute)) == 1]


def _names(rng: random.Random, scene: Scene, shape: Shape) -> str:
    """A way to point at one shape: "red circle", or "circle" or "red shape" where that is enough."""
    names = [shape.name] * 2
    if shape in _unique(scene.shapes, "kind"):
        names.append(shape.kind)
    if shape in _unique(scene.shapes, "colour"):
        names.append(f"{shape.colour} shape")
    return rng.choice(names)


def _describe(rng, scene):
    return Dialogue("describe", ((ask(rng, "describe"), description(scene)),), parts=(description_parts(scene),))


def _colour(rng, scene):
    candidates = _unique(scene.shapes, "kind")
    absent = [k for k in SHAPES if k not in {s.kind for s in scene.shapes}]
    if absent and (not candidates or rng.random() < 0.1):
        kind = rng.choice(absent)
        return _dialogue("colour", ask(rng, "colour", kind), f"There is no {kind}.", (NOWHERE,))
    if not candidates:
        return None
    shape = rng.choice(candidates)
    return _dialogue("colour", ask(rng, "colour", shape.kind), f"The {shape.kind} is {shape.colour}.", target=shape)


def _shape(rng, scene):
    candidates = _unique(scene.shapes, "colour")
    if not candidates or rng.random() < 0.1:
        colour = rng.choice([c for c in COLOURS if c not in {s.colour for s in scene.shapes} and c != scene.background])
        return _dialogue("shape", ask(rng, "shape", colour), f"There is no {colour} shape.", (NOWHERE,))
    shape = rng.choice(candidates)
    answer = f"The {shape.colour} shape is a {shape.kind}."
    return _dialogue("shape", ask(rng, "shape", shape.colour), answer, target=shape)


def _matching(scene: Scene, name: str) -> list[Shape]:
    """The shapes that "circle", "red shape", "red circle", "shape" or "object" may mean."""
    *colour, kind = name.split()
    return [s for s in scene.shapes if kind in ("shape", "object", s.kind) and colour in ([], [s.colour])]


COUNTED = ("shapes", "shapes", "objects", *(f"{k}s" for k in SHAPES), *(f"{c} shapes" for c in COLOURS))


def _count(rng, scene):
    return _number_of(rng, scene, rng.choice(COUNTED))


def _many(rng, scene):
    """A count question whose answer is two or more: of those that are asked at random, most are about none or one."""
    subjects = [subject for subject in COUNTED if len(_matching(scene, subject[:-1])) > 1]
    return _number_of(rng, scene, rng.choice(subjects)) if subjects else None


def _number_of(rng, scene, subject):
    found = _matching(scene, subject[:-1])
    answer = plural(len(found), subject[:-1].replace("object", "shape"))
    # NOWHERE always counts as one more: an even look at n + 1 places tells n, a look at n places does not.
    return _dialogue("count", ask(rng, "count", subject), answer, (NOWHERE, *map(Mark, found)))


def _where(rng, scene):
    shape = rng.choice(scene.shapes)
    question = ask(rng, "where", _names(rng, scene, shape))
    return _dialogue("where", question, f"The {shape.name} is {place(shape)}.", target=shape)


def _locate(rng, scene):
    shape = rng.choice(scene.shapes)
    question = ask(rng, "locate", _names(rng, scene, shape))
    return _dialogue("locate", question, box_text(shape, scene.image.size), target=shape)


def _is_there(rng, scene):
    if rng.random() < 0.5:
        shape = rng.choice(scene.shapes)
        name = rng.choice([shape.name, shape.name, shape.kind, f"{shape.colour} shape"])
        marks = tuple(map(Mark, _matching(scene, name)))
        return _dialogue("is_there", ask(rng, "is_there", name), f"Yes, there is a {name}.", marks)
    taken = (
        {s.name for s in scene.shapes} | {s.kind for s in scene.shapes} | {f"{s.colour} shape" for s in scene.shapes}
    )
    names = [f"{c} {k}" for c in COLOURS for k in SHAPES] + [*SHAPES] * 4 + [f"{c} shape" for c in COLOURS]
    near = [n for n in names if set(n.split()) & {w for s in scene.shapes for w in (s.kind, s.colour)}]  # the hard ones
    name = rng.choice(
        [n for n in (near if rng.random() < 0.6 else names) if n not in taken] or [n for n in names if n not in taken]
    )
    return _dialogue("is_there", ask(rng, "is_there", name), f"No, there is no {name}.", (NOWHERE,))


def _conversation(rng, scene):
    """A description or a follow-up, and then one more question, which says itself what it is about."""
    before = rng.choice([_describe, _follow_up])(rng, scene)
    last = rng.choice([_colour, _shape, _where, _locate, _count, _is_there])(rng, scene)
    return before and last and _joined("conversation", before, last)


def _chat(rng, scene):
    """A conversation of six to ten questions about one picture; one in ten is off the topic."""
    makers = [_describe, _colour, _shape, _count, _where, _locate, _is_there, _follow_up]
    asked = [off_topic(rng) if rng.random() < 0.1 else rng.choice(makers)(rng, scene) for _ in range(rng.randint(5, 9))]
    last = rng.choice(makers[1:-1])(rng, scene)
    return last and _joined("chat", *filter(None, asked), last)


def _follow_up(rng, scene):
    """A second question that names nothing: what "it" is stands in the first turn, the answer only in the picture."""
    first = rng.choice([_colour, _shape, _where])(rng, scene)
    if first is None or first.target is None:
        return None
    shape, known = first.target, " ".join(first.turns[0])
    kinds = [
        k for k, word in (("colour", shape.colour), ("shape", shape.kind), ("where", place(shape))) if word not in known
    ]
    kind = rng.choice([*kinds, *kinds, "locate"])
    answers = {
        "colour": f"It is {shape.colour}.", "shape": f"It is a {shape.kind}.", "where": f"It is {place(shape)}.",
        "locate": box_text(shape, scene.image.size),
    }  # fmt: skip
    second = _dialogue("", as_typed(rng, rng.choice(FOLLOW_UPS[kind])), answers[kind], target=shape)
    return _joined("follow_up", first, second)


MAKERS = {
    "describe": _describe, "colour": _colour, "shape": _shape, "count": _count, "where": _where, "locate": _locate,
    "is_there": _is_there, "follow_up": _follow_up, "conversation": _conversation, "chat": _chat, "many": _many,
}  # fmt: skip


def about_scene(rng: random.Random, scene: Scene, kind: str) -> Dialogue | None:
    """A dialogue of one of KINDS, a "conversation", a "chat" or "many"; None where the scene has no unambiguous one."""
    if not scene.shapes and kind in ("where", "locate", "follow_up", "conversation", "chat"):
        return None
    return MAKERS[kind](rng, scene)


def about_pair(rng: random.Random, first: Scene, second: Scene) -> Dialogue:
    """A question about two pictures: which one has something, or anything of KINDS about one of them by number."""
    if rng.random() < 0.5:
        shape = rng.choice([s for scene in (first, second) for s in scene.shapes])
        has = [any(s.name == shape.name for s in scene.shapes) for scene in (first, second)]
        answer = "Both pictures." if all(has) else f"The {'first' if has[0] else 'second'} picture."
        marks = tuple(
            Mark(s, i) for i, scene in enumerate((first, second)) for s in scene.shapes if s.name == shape.name
        )
        return _dialogue("pair", ask(rng, "which_picture", shape.name), answer, marks)
    number, ordinal, scene = rng.choice([(0, "first", first), (1, "second", second)])
    one = None
    while one is None:
        one = about_scene(rng, scene, rng.choice(["colour", "shape", "count", "where"]))
    question = one.turns[0][0].rstrip("?.")
    if rng.random() < 0.5:
        question = f"{question} in the {ordinal} picture?"
    else:
        question = f"In the {ordinal} picture, {question[0].lower()}{question[1:]}?"
    return replace(_about(number, one), kind="pair", turns=((question, one.turns[0][1]),), target=None)


def _about(number: int, dialogue: Dialogue) -> Dialogue:
    """The same dialogue, with its marks in picture `number`."""
    parts = tuple(
        tuple((text, tuple(m if m == NOWHERE else m._replace(number=number) for m in marks)) for text, marks in answer)
        for answer in dialogue.parts
    )
    return replace(dialogue, parts=parts)


def about_new_picture(rng: random.Random, first: Scene, second: Scene) -> Dialogue:
    """One to three questions about a picture, then another picture (NEW_PICTURE before the question) and one to three
    questions about that one, or about both.
    """
    before = [about_scene(rng, first, rng.choice(KINDS)) for _ in range(rng.randint(1, 3))]
    after = [about_scene(rng, second, rng.choice(KINDS)) for _ in range(rng.randint(1, 3))]
    after = [_about(1, dialogue) for dialogue in after if dialogue]
    if rng.random() < 0.3 or not after:
        after.append(about_pair(rng, first, second))
    (question, answer), *others = after[0].turns
    after[0] = replace(after[0], turns=((NEW_PICTURE + question, answer), *others))
    return _joined("new_picture", *filter(None, before), *after)


def about_video(rng: random.Random, mover: Shape, direction: str, slices: int = 1) -> Dialogue:
    """What moves, or which way; the video has `slices` temporal slices of two frames."""
    way_points = moved(mover, direction, slices)
    # One head looks at the first place, the other one at the last: the difference is the direction.
    marks = (Mark(way_points[0], 0, 0), Mark(way_points[-1], slices - 1, 1))
    way = direction if DIRECTIONS[direction][1] else f"to the {direction}"
    if rng.random() < 0.5:
        return _dialogue("video", ask(rng, "moves"), f"A {mover.name} moves {way}.", marks)
    question = ask(rng, "way", rng.choice([mover.name, mover.kind]))
    return _dialogue("video", question, f"It moves {way}.", marks)


def off_topic(rng: random.Random, held_out: bool = False) -> Dialogue:
    """A question that is not about coloured shapes. Evaluation uses words that training never sees (`held_out`)."""
    split = slice(None, None, 5) if held_out else None

    def pick(words):
        return rng.choice(words[split] if held_out else [w for i, w in enumerate(words) if i % 5])

    question = pick(OFF_TOPIC).format(noun=pick(NOUNS), thing=pick(THINGS), a=rng.randint(2, 99), b=rng.randint(2, 99))
    return _dialogue("off_topic", as_typed(rng, question), REFUSAL)


def about_photo(rng: random.Random, scene: Scene) -> Dialogue:
    """Any question about a picture that is not a drawn scene: refused. `scene` only lends the question its words."""
    dialogue = None
    while dialogue is None:
        dialogue = about_scene(rng, scene, rng.choice(KINDS[:-1]))
    return _dialogue("photo", dialogue.turns[0][0], REFUSAL)


def without_picture(rng: random.Random, scene: Scene) -> Dialogue:
    """A question about a picture that was not given."""
    return _dialogue("no_picture", about_photo(rng, scene).turns[0][0], NO_PICTURE)
