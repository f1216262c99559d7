"""Answers in JSON of a schema: valid whatever the model would rather say, the same with drafts, refused by name.

On a fake model that wants to say something else, and on the practice model, which knows what is true. On Qwen's real
vocabulary: tests/slow/test_real_vocabulary.py.
"""

import json
import random

import jsonschema
import numpy as np
import pytest

from chat_session import ChatSession, SessionError
from session.decode import DraftDecoder
from session.sampling import SamplingParams
from session.structured import JsonSchemas
from tests.fake_model import END, VOCABULARY, FakeModel, FakeSession, fake_processor, saying
from tiny_model import questions, scenes

PROCESSOR = fake_processor()
HELLO = [{"role": "user", "content": "Hello!"}]
COLOURS = ["red", "green", "blue", "yellow", "black", "white", "orange", "purple"]
THINGS = {
    "type": "object",
    "properties": {
        "colour": {"enum": COLOURS}, "count": {"type": "integer", "minimum": 0, "maximum": 9},
        "where": {"type": "string", "maxLength": 8}, "sure": {"type": "boolean"},
        "boxes": {"type": "array", "maxItems": 2, "items": {"type": "array", "minItems": 2, "maxItems": 2,
                                                             "items": {"type": "number", "minimum": 0, "maximum": 1}}},
    },
    "required": ["colour", "count", "where", "sure", "boxes"], "additionalProperties": False,
}  # fmt: skip


def decoded(schema, logits, *, max_draft_tokens: int = 3, **options) -> DraftDecoder:
    """An answer by a model whose logits at each position are `logits(position)`, with drafts and without a network."""
    params = SamplingParams(eos_token_id=END, max_new_tokens=400, **options)
    constraint = JsonSchemas(PROCESSOR.tokenizer).constraint(schema, [END])
    decoder = DraftDecoder(params, [1, 2, 3], max_draft_tokens, constraint)
    while not decoder.finish_reason:
        draft = decoder.draft()
        at = len(decoder.ids)
        decoder.accept(np.stack([logits(at + n) for n in range(len(draft) + 1)]), draft)
    return decoder


def random_logits(seed: int):
    return lambda position: np.random.default_rng([seed, position]).normal(size=VOCABULARY).astype(np.float32)


@pytest.mark.parametrize("options", [{}, {"do_sample": True, "seed": 3, "temperature": 2.0, "repetition_penalty": 1.1}])
def test_random_logits_give_valid_json_and_drafts_change_nothing(options):
    for seed in range(20):
        answers = [decoded(THINGS, random_logits(seed), max_draft_tokens=most, **options) for most in (0, 3)]
        assert answers[0].ids == answers[1].ids
        assert answers[0].finish_reason == "stop"
        text = PROCESSOR.tokenizer.decode(answers[0].ids[3:], skip_special_tokens=True)
        jsonschema.validate(json.loads(text), THINGS)


def test_what_a_schema_leaves_no_choice_about_is_drafted():
    constraint = JsonSchemas(PROCESSOR.tokenizer).constraint({"const": {"a_long_name": "and a long value"}}, [END])
    decoder = DraftDecoder(SamplingParams(), [1], 3, constraint)
    assert PROCESSOR.tokenizer.decode(decoder.draft()) == '{"a'


def test_a_session_writes_json_though_the_model_wants_to_say_something_else():
    session = FakeSession(saying("Certainly! Here it is", PROCESSOR), PROCESSOR)
    answer = session.stream(HELLO, json_schema={"const": {"a": [1, None, "é"]}})
    assert json.loads("".join(answer)) == {"a": [1, None, "é"]}
    assert answer.stats.finish_reason == "stop"


def test_true_is_any_object():
    session = FakeSession(saying('{"a": 1}', PROCESSOR), PROCESSOR)
    assert "".join(session.stream(HELLO, json_schema=True)) == '{"a": 1}'


def test_what_was_cut_is_the_beginning_of_an_object_and_goes_on_within_its_schema():
    session, schema = FakeSession(saying("no", PROCESSOR), PROCESSOR), {"const": {"abc": 12345}}
    cut = session.stream(HELLO, json_schema=schema, max_new_tokens=6)
    begun = "".join(cut)
    assert (begun, cut.stats.finish_reason) == ('{"abc"', "length")
    messages = [*HELLO, {"role": "assistant", "content": begun}]
    rest = session.stream(messages, json_schema=schema, continue_final_message=True)
    assert begun + "".join(rest) == '{"abc": 12345}'
    messages[-1] = {"role": "assistant", "content": "Certainly"}
    with pytest.raises(SessionError, match="does not fit the JSON schema"):
        list(session.stream(messages, json_schema=schema, continue_final_message=True))


REFUSED = {
    "uniqueItems": ({"type": "array", "uniqueItems": True}, "uniqueItems"), "not": ({"not": {"type": "string"}}, "not"),
    "if": ({"if": {"type": "string"}, "then": {"maxLength": 3}}, "if"),
    "format": ({"type": "string", "format": "colour"}, "format: colour"), "type": ({"type": "colour"}, "type: colour"),
    "elsewhere": ({"$ref": "https://example.com/a.json"}, "example.com"),
    "two of a name": ({"properties": {"a": {"type": "object", "minProperties": 2}}}, "minProperties"),
    "nothing": ({"type": "integer", "minimum": 5, "maximum": 3}, "minimum"), "itself": ({"$ref": "#"}, "NoExtension"),
    "pattern": ({"type": "string", "pattern": "(?=a)b"}, "look-around"), "no schema": ([1], "is a list"),
    "names": ({"allOf": [{"patternProperties": {f"a{i}": {} for i in range(21)}}]}, "at most 20 are compared"),
    "names behind a $ref": (
        {"examples": [{"patternProperties": {f"a{i}": {} for i in range(21)}}], "$ref": "#/examples/0"}, "at most 20"
    ),
    "no JSON": ({"const": {1, 2}}, "not JSON itself"), "too long": ({"const": "a" * 200_000}, "at most 100000"),
}  # fmt: skip


@pytest.mark.parametrize(("schema", "named"), REFUSED.values(), ids=REFUSED)
def test_what_a_schema_cannot_do_is_refused_by_name_before_anything_is_computed(schema, named):
    session = FakeSession(model := saying("{}", PROCESSOR), PROCESSOR)
    with pytest.raises(SessionError, match=named):
        list(session.stream(HELLO, json_schema=schema))
    assert model.calls == []


def test_a_property_may_be_called_like_a_keyword():
    schema = {"type": "object", "properties": {"minProperties": {"const": 2}}, "required": ["minProperties"],
              "additionalProperties": False}  # fmt: skip
    session = FakeSession(FakeModel(lambda inputs: []), PROCESSOR)
    assert "".join(session.stream(HELLO, json_schema=schema)) == '{"minProperties": 2}'


def sentences(scene: scenes.Scene) -> dict[str, tuple[list[str], str]]:
    """{question: (answers to choose from, the right one)}, in the practice model's own words."""
    counts = [questions.number_sentence(count, "shape") for count in range(1, 5)]
    kinds = [shape.kind for shape in scene.shapes]
    asked = {"How many shapes are there?": (counts, counts[len(kinds) - 1])}
    for shape in scene.shapes:
        if kinds.count(shape.kind) == 1:
            colours = [f"The {shape.kind} is {colour}." for colour in scenes.COLOURS]
            asked[f"What color is the {shape.kind}?"] = (colours, f"The {shape.kind} is {shape.colour}.")
    return asked


def test_the_practice_model_answers_truly_in_json(ov_model, processor):
    """It never saw JSON, and knows nothing of brackets; inside them it says what it would have said without."""
    session, rng, right = ChatSession(ov_model, processor), random.Random(5), []
    for scene in [scenes.sample_scene(rng, (112, 112)) for _ in range(12)]:
        for asked, (answers, answer) in sentences(scene).items():
            content = [{"type": "image", "image": scene.image}, {"type": "text", "text": asked}]
            schema = {"type": "array", "items": {"enum": answers}, "minItems": 1, "maxItems": 1}
            written = json.loads("".join(session.stream([{"role": "user", "content": content}], json_schema=schema)))
            right.append(written == [answer])
    print(f"{sum(right)} of {len(right)} are right")
    assert len(right) > 20 and sum(right) >= 0.8 * len(right)
