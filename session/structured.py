"""Answers that are JSON of a given schema: before each token, every token that would leave the schema is forbidden.

By llguidance (docs/decisions.md says why): a parser follows the answer byte by byte, and its mask over a vocabulary of
152 000 tokens takes some hundredths of a millisecond. Draft tokens need nothing more: a token is masked when it is
sampled, after those before it were accepted, and what is rejected the parser never saw.

Valid is what ended by itself. An answer that was cut (`finish_reason` "length", or a stop string of the caller) is the
beginning of a valid one. Not here: choosing among what is allowed (`session.sampling`).
"""

import json
import threading
from collections.abc import Iterator

import llguidance
import llguidance.hf
import llguidance.numpy
import numpy as np

from session.prompt import SessionError

MAX_CHARACTERS = 100_000  # of a schema
MAX_NAME_PATTERNS = 20  # of names, all of which are compared with each other: 600 take minutes, and nothing stops them
ANY_OBJECT = {"type": "object"}
# As Python's json.dumps writes it: one line. Free white space would let a model write blanks for ever.
LAYOUT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
LIMITS = llguidance.LLParserLimits(verbose_errors=False)
NAMED_SCHEMAS = ("properties", "patternProperties", "$defs", "definitions")  # keywords that map names to schemas
VALUES = ("const", "default", "enum", "examples")
_REFUSED = "This JSON schema cannot be kept to: {}."


class JsonConstraint:
    """Follows one answer through its schema. Not thread-safe."""

    def __init__(self, matcher: llguidance.LLMatcher, vocabulary: int):
        self._matcher = matcher
        self._mask = llguidance.numpy.allocate_token_bitmask(1, vocabulary)

    @property
    def is_complete(self) -> bool:
        """Nothing can come any more but the end."""
        return self._matcher.is_stopped()

    def forbid(self, scores: np.ndarray) -> None:
        """Set the scores (vocabulary,) of all tokens that must not come next to -inf. Raises SessionError."""
        llguidance.numpy.fill_next_token_bitmask(self._matcher, self._mask)
        self._check("This JSON schema is too complex")
        allowed = np.unpackbits(self._mask.view(np.uint8), bitorder="little")[: len(scores)].view(bool)
        scores[: len(allowed)][~allowed] = -np.inf
        scores[len(allowed) :] = -np.inf

    def accept(self, tokens: list[int]) -> None:
        """Note that `tokens` came next. Raises SessionError where they do not fit the schema."""
        self._matcher.consume_tokens(tokens)
        self._check("The answer so far does not fit the JSON schema")

    def forced(self) -> list[int]:
        """The tokens that the schema leaves no choice about, as a tokenizer would cut them: keys, braces, commas."""
        return self._matcher.compute_ff_tokens()

    def _check(self, problem: str) -> None:
        if self._matcher.is_error():
            raise SessionError(f"{problem}: {_one_line(self._matcher.get_error())}.")


class JsonSchemas:
    """Makes constraints for one tokenizer. From any thread."""

    def __init__(self, tokenizer):
        self._tokenizer = tokenizer
        self._parsers: dict[tuple[int, ...], llguidance.LLTokenizer] = {}  # by the tokens that end an answer
        self._lock = threading.Lock()

    def constraint(self, schema: dict | bool | None, end_token_ids: list[int]) -> JsonConstraint | None:
        """schema: a JSON schema, True for any object, None for no constraint. Raises SessionError, which names what
        cannot be kept to.
        """
        if schema is None:
            return None
        grammar = _grammar(ANY_OBJECT if schema is True else schema)
        parser = self._parser(tuple(end_token_ids) or (self._tokenizer.eos_token_id,))
        matcher = llguidance.LLMatcher(parser, grammar, log_level=0, limits=LIMITS)
        matcher.compute_bitmask()  # some schemas that nothing satisfies are noticed only here
        if matcher.is_error():
            raise SessionError(_REFUSED.format(_one_line(matcher.get_error())))
        return JsonConstraint(matcher, parser.vocab_size)

    def _parser(self, end_token_ids: tuple[int, ...]) -> llguidance.LLTokenizer:
        """The vocabulary as the parser takes it: two seconds for the 151 643 tokens of a Qwen model, once."""
        with self._lock:
            if end_token_ids not in self._parsers:
                self._parsers[end_token_ids] = llguidance.hf.from_tokenizer(
                    self._tokenizer, eos_token=list(end_token_ids)
                )
            return self._parsers[end_token_ids]


def _grammar(schema: dict) -> str:
    """`schema` as llguidance takes it. Raises SessionError for what is no schema, and for what cannot be kept to."""
    if not isinstance(schema, dict):
        raise SessionError(f"A JSON schema is a {type(schema).__name__}; it must be an object, or true for any object.")
    try:
        text = json.dumps(schema)
    except (TypeError, ValueError, RecursionError) as error:
        raise SessionError(f"This JSON schema is not JSON itself: {error}.") from error
    if len(text) > MAX_CHARACTERS:
        raise SessionError(f"This JSON schema has {len(text)} characters; at most {MAX_CHARACTERS} are read.")
    if (patterns := _name_patterns(schema)) > MAX_NAME_PATTERNS:
        raise SessionError(
            _REFUSED.format(f"patternProperties has {patterns} patterns; at most {MAX_NAME_PATTERNS} are compared")
        )
    try:
        grammar = llguidance.LLMatcher.grammar_from_json_schema(text, overrides=LAYOUT)
    except ValueError as error:  # lists in lists, 127 of them
        raise SessionError(_REFUSED.format(_one_line(str(error)))) from error
    failed, messages = llguidance.LLMatcher.validate_grammar_with_warnings(grammar)
    if failed or messages:
        raise SessionError(_REFUSED.format(_one_line(messages[0])))
    if any(isinstance(least, int) and least > 1 for least in _values_of("minProperties", schema)):
        raise SessionError(_REFUSED.format("minProperties, because a name that comes twice would count as two"))
    return grammar


def _values_of(keyword: str, schema) -> Iterator:
    """The values of `keyword` wherever it stands as a keyword in `schema`, not as a property's name or in a value."""
    if isinstance(schema, list):
        for part in schema:
            yield from _values_of(keyword, part)
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == keyword:
                yield value
            elif key in NAMED_SCHEMAS and isinstance(value, dict):
                yield from _values_of(keyword, list(value.values()))
            elif key not in VALUES:
                yield from _values_of(keyword, value)


def _name_patterns(schema) -> int:
    """How many there are, also where nothing seems to read them: a $ref may."""
    if isinstance(schema, list):
        return sum(map(_name_patterns, schema))
    if not isinstance(schema, dict):
        return 0
    own = schema.get("patternProperties")
    return (len(own) if isinstance(own, dict) else 0) + sum(map(_name_patterns, schema.values()))


def _one_line(message: str) -> str:
    return " ".join(message.split()).rstrip(".")
