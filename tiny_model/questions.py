"""Questions about scenes, as people type them, with the answers that the practice model is trained to give.

Here: the kinds of question, and the one right answer to each. Not here: how people phrase them (`phrases`), pictures
(`scenes`), tokens (`training.architecture`).

    about_scene(random.Random(0), scene, "where").turns  # (("Where is the red circle?", "The red circle is …"),)

The order of the random draws decides what a seed asks, and must stay: the published accuracies are of these questions.
"""

import random
from dataclasses import dataclass, replace
from typing import NamedTuple

from tiny_model.phrases import FOLLOW_UPS, NOUNS, OFF_TOPIC, PHRASES, THINGS
from tiny_model.scenes import COLOURS, DIRECTIONS, SHAPES, Scene, Shape, box, way_points, zone

REFUSAL = "I only know coloured shapes."
NO_PICTURE = "Please show me a picture."
NUMBERS = ("no", "one", "two", "three", "four")
NEW_PICTURE = "<|vision_start|><|image_pad|><|vision_end|>"  # as the chat template has it
PLACES = (  # by row and column of `scenes.zone`
    ("at the top left", "at the top", "at the top right"),
    ("at the left", "in the middle", "at the right"),
    ("at the bottom left", "at the bottom", "at the bottom right"),
)
BOX_STEP = 20  # boxes are written in steps of 20/1000, so that every coordinate is one token

KINDS = ("describe", "colour", "shape", "count", "where", "locate", "is_there", "follow_up")
COUNTED = ("shapes", "shapes", "objects", *(f"{k}s" for k in SHAPES), *(f"{c} shapes" for c in COLOURS))


class Pointer(NamedTuple):
    """Where training has an attention head point while the model says a part of an answer.

    shape: at the visual token in its middle; None, at the very first token of the prompt. number: of the picture, or of
    the temporal slice of a video, that the shape is in. head: which of the two heads that are trained so.
    """

    shape: Shape | None
    number: int = 0
    head: int = 0


NOWHERE = Pointer(None)  # for what the answer says is absent
Part = tuple[str, tuple[Pointer, ...]]  # of an answer: its text, and where to point while saying it


@dataclass(frozen=True)
class Dialogue:
    """One or more questions about the same media, with their answers.

    turns: (question, answer) for each. target: the one Shape that the last question asks about, or None. parts: for
    each turn its answer, cut into Parts, for training.
    """

    kind: str
    turns: tuple[tuple[str, str], ...]
    target: Shape | None = None
    parts: tuple[tuple[Part, ...], ...] = ()


# ---- asking ---------------------------------------------------------------------------------------------------------


def ask(rng: random.Random, kind: str, name: str = "") -> str:
    """A question of a kind in PHRASES about `name`, such as "red circle", as somebody might type it."""
    return as_typed(rng, rng.choice(PHRASES[kind]).format(name))


def as_typed(rng: random.Random, question: str) -> str:
    """The same question as somebody might type it: case, spelling of "colour", end mark, courtesies."""
    if rng.random() < 0.5:
        question = question.replace("color", "colour")
    if rng.random() < 0.3:
        question = question.rstrip("?.")
    if rng.random() < 0.06:
        question = "Please " + question[0].lower() + question[1:]
    roll = rng.random()
    if roll < 0.3:
        return question.lower()
    if roll < 0.34:
        return question.upper()
    return question


# ---- answering ------------------------------------------------------------------------------------------------------


def place(shape: Shape) -> str:
    """Where in the picture the shape is, in words: "at the top left"."""
    row, column = zone(shape)
    return PLACES[row][column]


def box_text(shape: Shape, size: tuple[int, int]) -> str:
    """The shape and its bounding box in Qwen2-VL's format: corners in thousandths of the picture's width and height."""
    x1, y1, x2, y2 = (_thousandths(v, side) for v, side in zip(box(shape, size), size * 2, strict=True))
    return f"<|object_ref_start|>{shape.name}<|object_ref_end|><|box_start|>({x1},{y1}),({x2},{y2})<|box_end|>"


def _thousandths(value: float, side: int) -> int:
    return min(1000, max(0, round(value / side * 1000 / BOX_STEP) * BOX_STEP))


def number_sentence(count: int, noun: str) -> str:
    """Such as "There are two circles." of 2 and "circle"."""
    if count == 1:
        return f"There is one {noun}."
    return f"There are {NUMBERS[count]} {noun}s."


def description(scene: Scene) -> str:
    """Every shape with its colour and place, then the background."""
    return "".join(text for text, _ in description_parts(scene))


def description_parts(scene: Scene) -> tuple[Part, ...]:
    """The description, cut where it goes on to the next shape."""
    parts: list[Part] = [("The image shows", ())]
    for number, shape in enumerate(scene.shapes):
        parts.append((f"{',' if number else ''} a {shape.name} {place(shape)}", (Pointer(shape),)))
    if not scene.shapes:
        parts.append((" no shapes", ()))
    parts.append((f" on a {scene.background} background.", ()))
    return tuple(parts)


# ---- one question about one scene: a function for each kind, None where the scene has no unambiguous one -------------


def _describe(rng: random.Random, scene: Scene) -> Dialogue:
    return Dialogue("describe", ((ask(rng, "describe"), description(scene)),), parts=(description_parts(scene),))


def _colour(rng: random.Random, scene: Scene) -> Dialogue | None:
    candidates = _unique(scene.shapes, "kind")
    absent = [kind for kind in SHAPES if kind not in {s.kind for s in scene.shapes}]
    if absent and (not candidates or rng.random() < 0.1):
        kind = rng.choice(absent)
        return _dialogue("colour", ask(rng, "colour", kind), f"There is no {kind}.", (NOWHERE,))
    if not candidates:
        return None
    shape = rng.choice(candidates)
    return _dialogue("colour", ask(rng, "colour", shape.kind), f"The {shape.kind} is {shape.colour}.", target=shape)


def _shape(rng: random.Random, scene: Scene) -> Dialogue:
    candidates = _unique(scene.shapes, "colour")
    if not candidates or rng.random() < 0.1:
        seen = {s.colour for s in scene.shapes} | {scene.background}
        colour = rng.choice([colour for colour in COLOURS if colour not in seen])
        return _dialogue("shape", ask(rng, "shape", colour), f"There is no {colour} shape.", (NOWHERE,))
    shape = rng.choice(candidates)
    answer = f"The {shape.colour} shape is a {shape.kind}."
    return _dialogue("shape", ask(rng, "shape", shape.colour), answer, target=shape)


def _count(rng: random.Random, scene: Scene) -> Dialogue:
    return _number_of(rng, scene, rng.choice(COUNTED))


def _many(rng: random.Random, scene: Scene) -> Dialogue | None:
    """A count question whose answer is two or more: of those that are asked at random, most are about none or one."""
    subjects = [subject for subject in COUNTED if len(_matching(scene, subject[:-1])) > 1]
    return _number_of(rng, scene, rng.choice(subjects)) if subjects else None


def _number_of(rng: random.Random, scene: Scene, subject: str) -> Dialogue:
    found = _matching(scene, subject[:-1])
    answer = number_sentence(len(found), subject[:-1].replace("object", "shape"))
    # NOWHERE always counts as one more: attention spread evenly over n + 1 tokens tells n, spread over n it does not.
    return _dialogue("count", ask(rng, "count", subject), answer, (NOWHERE, *map(Pointer, found)))


def _where(rng: random.Random, scene: Scene) -> Dialogue:
    shape = rng.choice(scene.shapes)
    question = ask(rng, "where", _name_of(rng, scene, shape))
    return _dialogue("where", question, f"The {shape.name} is {place(shape)}.", target=shape)


def _locate(rng: random.Random, scene: Scene) -> Dialogue:
    shape = rng.choice(scene.shapes)
    question = ask(rng, "locate", _name_of(rng, scene, shape))
    return _dialogue("locate", question, box_text(shape, scene.image.size), target=shape)


def _is_there(rng: random.Random, scene: Scene) -> Dialogue:
    if rng.random() < 0.5:
        shape = rng.choice(scene.shapes)
        name = rng.choice([shape.name, shape.name, shape.kind, f"{shape.colour} shape"])
        pointers = tuple(map(Pointer, _matching(scene, name)))
        return _dialogue("is_there", ask(rng, "is_there", name), f"Yes, there is a {name}.", pointers)
    name = _absent_name(rng, scene)
    return _dialogue("is_there", ask(rng, "is_there", name), f"No, there is no {name}.", (NOWHERE,))


def _absent_name(rng: random.Random, scene: Scene) -> str:
    """Something that is not in the scene; in six of ten cases it shares a word with what is there: the hard ones."""
    present = {name for s in scene.shapes for name in (s.name, s.kind, f"{s.colour} shape")}
    words = {word for s in scene.shapes for word in (s.kind, s.colour)}
    names = [f"{c} {k}" for c in COLOURS for k in SHAPES] + [*SHAPES] * 4 + [f"{c} shape" for c in COLOURS]
    near = [name for name in names if set(name.split()) & words]
    considered = near if rng.random() < 0.6 else names
    absent = [name for name in considered if name not in present]
    return rng.choice(absent or [name for name in names if name not in present])


# ---- more than one question about one scene -------------------------------------------------------------------------


def _follow_up(rng: random.Random, scene: Scene) -> Dialogue | None:
    """A second question that names nothing: what "it" is stands in the first turn, the answer only in the picture."""
    first = rng.choice([_colour, _shape, _where])(rng, scene)
    if first is None or first.target is None:
        return None
    shape = first.target
    told = " ".join(first.turns[0])
    facts = {"colour": shape.colour, "shape": shape.kind, "where": place(shape)}
    untold = [kind for kind, word in facts.items() if word not in told]
    kind = rng.choice([*untold, *untold, "locate"])
    answers = {
        "colour": f"It is {shape.colour}.", "shape": f"It is a {shape.kind}.", "where": f"It is {place(shape)}.",
        "locate": box_text(shape, scene.image.size),
    }  # fmt: skip
    second = _dialogue("", as_typed(rng, rng.choice(FOLLOW_UPS[kind])), answers[kind], target=shape)
    return _joined("follow_up", first, second)


def _conversation(rng: random.Random, scene: Scene) -> Dialogue | None:
    """A description or a follow-up, and then one more question, which says itself what it is about."""
    before = rng.choice([_describe, _follow_up])(rng, scene)
    last = rng.choice([_colour, _shape, _where, _locate, _count, _is_there])(rng, scene)
    return _joined("conversation", before, last) if before and last else None


def _chat(rng: random.Random, scene: Scene) -> Dialogue | None:
    """A conversation of six to ten questions about one picture; one in ten is off the topic."""
    makers = [_describe, _colour, _shape, _count, _where, _locate, _is_there, _follow_up]
    asked = []
    for _ in range(rng.randint(5, 9)):
        asked.append(off_topic(rng) if rng.random() < 0.1 else rng.choice(makers)(rng, scene))
    last = rng.choice(makers[1:-1])(rng, scene)
    return _joined("chat", *filter(None, asked), last) if last else None


MAKERS = {
    "describe": _describe, "colour": _colour, "shape": _shape, "count": _count, "where": _where, "locate": _locate,
    "is_there": _is_there, "follow_up": _follow_up, "conversation": _conversation, "chat": _chat, "many": _many,
}  # fmt: skip


def about_scene(rng: random.Random, scene: Scene, kind: str) -> Dialogue | None:
    """A dialogue of one of KINDS, a "conversation", a "chat" or "many"; None where the scene has no unambiguous one."""
    if not scene.shapes and kind in ("where", "locate", "follow_up", "conversation", "chat"):
        return None
    return MAKERS[kind](rng, scene)


# ---- other media, and none ------------------------------------------------------------------------------------------


def about_pair(rng: random.Random, first: Scene, second: Scene) -> Dialogue:
    """A question about two pictures: which one has something, or anything of KINDS about one of them by number."""
    if rng.random() < 0.5:
        return _which_picture(rng, (first, second))
    number, ordinal, scene = rng.choice([(0, "first", first), (1, "second", second)])
    one = None
    while one is None:
        one = about_scene(rng, scene, rng.choice(["colour", "shape", "count", "where"]))
    ((question, answer),) = one.turns
    question = question.rstrip("?.")
    if rng.random() < 0.5:
        question = f"{question} in the {ordinal} picture?"
    else:
        question = f"In the {ordinal} picture, {question[0].lower()}{question[1:]}?"
    return replace(_about(number, one), kind="pair", turns=((question, answer),), target=None)


def _which_picture(rng: random.Random, pair: tuple[Scene, Scene]) -> Dialogue:
    shape = rng.choice([s for scene in pair for s in scene.shapes])
    pointers = tuple(Pointer(s, i) for i, scene in enumerate(pair) for s in scene.shapes if s.name == shape.name)
    pictures = {pointer.number for pointer in pointers}
    if pictures == {0, 1}:
        answer = "Both pictures."
    else:
        answer = "The first picture." if pictures == {0} else "The second picture."
    return _dialogue("pair", ask(rng, "which_picture", shape.name), answer, pointers)


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
    path = way_points(mover, direction, slices)
    # One head points to the first place, the other one to the last: the difference is the direction.
    pointers = (Pointer(path[0], 0, 0), Pointer(path[-1], slices - 1, 1))
    is_vertical = DIRECTIONS[direction][1] != 0
    way = direction if is_vertical else f"to the {direction}"
    if rng.random() < 0.5:
        return _dialogue("video", ask(rng, "moves"), f"A {mover.name} moves {way}.", pointers)
    question = ask(rng, "way", rng.choice([mover.name, mover.kind]))
    return _dialogue("video", question, f"It moves {way}.", pointers)


def off_topic(rng: random.Random, held_out: bool = False) -> Dialogue:
    """A question that is not about coloured shapes. Evaluation uses words that training never sees (`held_out`)."""

    def pick(words: tuple[str, ...]) -> str:
        if held_out:
            return rng.choice(words[::5])
        return rng.choice([word for number, word in enumerate(words) if number % 5])

    template = pick(OFF_TOPIC)
    question = template.format(noun=pick(NOUNS), thing=pick(THINGS), a=rng.randint(2, 99), b=rng.randint(2, 99))
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


# ---- putting together -----------------------------------------------------------------------------------------------


def _dialogue(kind: str, question: str, answer: str, pointers=(), target: Shape | None = None) -> Dialogue:
    """One question and its answer; all of the answer speaks of `pointers`, which are at `target` if not given."""
    if not pointers and target:
        pointers = (Pointer(target),)
    return Dialogue(kind, ((question, answer),), target, (((answer, pointers),),))


def _joined(kind: str, *dialogues: Dialogue) -> Dialogue:
    """The turns of all, one after the other."""
    turns = tuple(turn for dialogue in dialogues for turn in dialogue.turns)
    parts = tuple(answer for dialogue in dialogues for answer in dialogue.parts)
    return Dialogue(kind, turns, dialogues[-1].target, parts)


def _about(number: int, dialogue: Dialogue) -> Dialogue:
    """The same dialogue, with its pointers in picture `number`."""

    def moved(part: Part) -> Part:
        text, pointers = part
        return text, tuple(p if p == NOWHERE else p._replace(number=number) for p in pointers)

    return replace(dialogue, parts=tuple(tuple(map(moved, answer)) for answer in dialogue.parts))


def _unique(shapes: tuple[Shape, ...], attribute: str) -> list[Shape]:
    """Those of `shapes` that no other one shares `attribute` with."""
    values = [getattr(shape, attribute) for shape in shapes]
    return [shape for shape in shapes if values.count(getattr(shape, attribute)) == 1]


def _name_of(rng: random.Random, scene: Scene, shape: Shape) -> str:
    """A way to name one shape: "red circle", or "circle" or "red shape" where that is enough."""
    names = [shape.name] * 2
    if shape in _unique(scene.shapes, "kind"):
        names.append(shape.kind)
    if shape in _unique(scene.shapes, "colour"):
        names.append(f"{shape.colour} shape")
    return rng.choice(names)


def _matching(scene: Scene, name: str) -> list[Shape]:
    """The shapes that "circle", "red shape", "red circle", "shape" or "object" may mean."""
    *colour, kind = name.split()
    return [s for s in scene.shapes if kind in ("shape", "object", s.kind) and colour in ([], [s.colour])]
