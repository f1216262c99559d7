"""Whatever a session kept, copied, trimmed or prepared, its answers are those of `model.generate`, token for token.

In float32 throughout, against a model of its own that no session edited. Where generate's two best logits are closer
than TIE, sums in another order may choose the other one; such answers are counted, and there may be few of them.
"""

import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optimum.intel.openvino import OVModelForVisualCausalLM
from PIL import Image
from transformers import AutoProcessor, GenerationConfig

from adapters import openvino_runtime
from chat_session import ChatSession, UnsupportedModelError
from session.answer import Interrupted
from session.decode import INCOMPLETE, DraftDecoder
from session.prefill import PrefillPlan
from session.prompt import build_prompt, model_inputs
from tests.conftest import EXACT, TINY_DIR
from tests.test_media import brightening, write_video
from tiny_model import scenes

TIE = 1e-3
NEW_TOKENS = 12
SAMPLED = {"do_sample": True, "temperature": 1.3, "top_k": 30, "top_p": 0.95, "repetition_penalty": 1.1}
QUESTIONS = (
    "Describe this image.", "Where is the red circle?", "How many shapes are there?", "What colour is it?", "你好!",
)  # fmt: skip


def picture(seed: int) -> Image.Image:
    rng = random.Random(seed)
    return scenes.sample_scene(rng, rng.choice([(112, 112), (112, 168), (140, 84)])).image


def clip(seed: int) -> list[Image.Image]:
    return scenes.sample_video(random.Random(seed), (84, 84), 4)[0]


MEDIA = [None, None, *({"type": "image", "image": picture(n)} for n in range(3)),
         *({"type": "video", "video": clip(n), "fps": 2.0 + n} for n in range(2))]


def generated(model, processor, messages, seed=None, **options) -> str:
    if seed is not None:
        torch.manual_seed(seed)
    inputs = model_inputs(build_prompt(processor, messages))
    plain = GenerationConfig(eos_token_id=processor.tokenizer.eos_token_id, **options)
    ids = model.generate(**inputs, generation_config=plain, max_new_tokens=NEW_TOKENS)
    return processor.tokenizer.decode(ids[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True)


class Pair:
    """A session, and beside it `generate` on the same export."""

    def __init__(self, folder):
        self.processor = AutoProcessor.from_pretrained(folder)
        self.model = self.load(folder)
        self.session = ChatSession(self.load(folder, compile=False), self.processor, max_cached_prefixes=3)
        self.answers, self.ties = 0, 0
        self.stood, self.fell = 0, 0  # guessed tokens (see session.drafts)

    @staticmethod
    def load(folder, **options):
        return OVModelForVisualCausalLM.from_pretrained(str(folder), device="CPU", ov_config=EXACT, **options)

    def check(self, messages, **options) -> str:
        """The session's answer to `messages`, which has to be generate's."""
        written = self.session.stream(messages, max_new_tokens=NEW_TOKENS, **options)
        answer, steps = "".join(written), written.stats.steps
        expected = generated(self.model, self.processor, messages, **options)
        self.answers += 1
        stood = written.stats.answer_tokens - 1 - sum(steps.values())
        self.stood += stood
        self.fell += sum((read - 1) * times for read, times in steps.items()) - stood
        if written.stats.finish_reason == "length" and expected.endswith(INCOMPLETE) and expected.startswith(answer):
            expected = answer  # a character that was cut is left out
        if answer != expected:
            assert "seed" not in options, (answer, expected, options)
            assert self.is_tie(messages, answer, expected), (answer, expected, options)
            self.ties += 1
        return answer

    def is_tie(self, messages, answer: str, expected: str) -> bool:
        """Whether generate's greedy choice between the two, where they part, was closer than TIE."""
        a, b = (self.processor.tokenizer(text, add_special_tokens=False)["input_ids"] for text in (answer, expected))
        at = next((i for i, pair in enumerate(zip(a, b, strict=False)) if pair[0] != pair[1]), min(len(a), len(b)))
        inputs = model_inputs(build_prompt(self.processor, messages))
        logits = self.model.generate(**inputs, max_new_tokens=at + 1, do_sample=False, output_logits=True,
                                     return_dict_in_generate=True).logits[at]
        best = logits[0].topk(2).values
        return float(best[0] - best[1]) < TIE


@pytest.fixture(scope="module")
def qwen2(fp32_dir) -> Pair:
    return Pair(fp32_dir)


@pytest.fixture(scope="module")
def qwen25(qwen25_dir) -> Pair:
    return Pair(qwen25_dir)


@pytest.fixture(scope="module")
def qwen3(qwen3_dir) -> Pair:
    return Pair(qwen3_dir)


@pytest.fixture(params=["qwen2", "qwen25", "qwen3"])
def pair(request) -> Pair:
    return request.getfixturevalue(request.param)


def question(text: str, medium: dict | None) -> dict:
    return {"role": "user", "content": [*([medium] if medium else []), {"type": "text", "text": text}]}


# ---- random histories -----------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "ask", "retry", "undo", "edit", "switch", "prepare"]),
        st.sampled_from(QUESTIONS), st.sampled_from(MEDIA), st.sampled_from([None, None, 1, 2]),
    ),
    min_size=2, max_size=6,
)  # fmt: skip


def play(pair: Pair, steps) -> None:
    """Two conversations of a person who cannot make up their mind."""
    conversations, current = [[], []], 0
    for action, text, medium, seed in steps:
        history = conversations[current]
        if action == "switch":
            current = 1 - current
            continue
        if action == "prepare":
            if medium:
                pair.session.prepare([*history, {"role": "user", "content": [medium]}])
            continue
        asked = question(text, medium)
        if action in ("retry", "undo", "edit") and history:
            asked = history[-2] if action == "retry" else asked
            del history[-2:]
        if action == "undo":
            continue
        messages = [*history, asked]
        options = {} if seed is None else {**SAMPLED, "seed": seed}
        history[:] = [*messages, {"role": "assistant", "content": pair.check(messages, **options)}]


@pytest.mark.parametrize("name, histories", [("qwen2", 50), ("qwen25", 40), ("qwen3", 30)])
def test_random_histories_with_undo_edit_retry_and_switching(name, histories, request):
    pair = request.getfixturevalue(name)

    @given(steps=STEPS)
    @settings(max_examples=histories, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    def histories_are_answered_alike(steps):
        play(pair, steps)

    histories_are_answered_alike()
    print(f"{name}: {pair.answers} answers, {pair.ties} ties; {pair.stood} guesses stood, {pair.fell} fell")
    assert pair.answers > histories
    assert pair.ties <= pair.answers // 50


# ---- one by one -----------------------------------------------------------------------------------------------------

def test_the_models_own_generation_config_is_heeded_as_by_generate(pair, monkeypatch):
    """As Qwen2-VL's real one: sampling in name, several end tokens, a repetition penalty."""
    ends = [pair.processor.tokenizer.eos_token_id, pair.processor.tokenizer.convert_tokens_to_ids(".")]
    real = {"do_sample": True, "temperature": 0.01, "top_k": 1, "top_p": 0.001, "repetition_penalty": 1.2}
    messages = [question("Describe this image.", MEDIA[2])]
    inputs = model_inputs(build_prompt(pair.processor, messages))
    for settings_of_the_model in ({**real, "eos_token_id": ends}, {"do_sample": True, "eos_token_id": ends[:1]}):
        config = GenerationConfig(**settings_of_the_model)
        for seed in range(4):
            torch.manual_seed(seed)
            ids = pair.model.generate(**inputs, generation_config=config, max_new_tokens=NEW_TOKENS)
            monkeypatch.setattr(pair.session, "_generation_config", config)
            answer = "".join(pair.session.stream(messages, max_new_tokens=NEW_TOKENS, seed=seed))
            written = ids[0, inputs["input_ids"].shape[1]:].tolist()
            written = written[:-1] if written[-1] in config.eos_token_id else written  # the session ends before it
            assert answer == pair.processor.tokenizer.decode(written, skip_special_tokens=True)


class Seer(DraftDecoder):
    """Guesses what was written the last time, and every third token wrongly; nothing while `told` is empty."""

    rng, told, written = random.Random(0), (), ()

    def draft(self) -> list[int]:
        ahead = self.told[len(self.ids):][: min(self.rng.randint(0, self._max_draft_tokens), self._tokens_left - 1)]
        return [token if self.rng.random() < 2 / 3 else 1 - min(token, 1) for token in ahead]

    def accept(self, *given) -> list[int]:
        new = super().accept(*given)
        Seer.written = tuple(self.ids)
        return new


def test_guesses_change_no_answer_whether_they_stand_or_fall(pair, monkeypatch):
    monkeypatch.setattr(f"{__name__}.NEW_TOKENS", 40)
    monkeypatch.setattr("chat_session.DraftDecoder", Seer)
    stood, fell = pair.stood, pair.fell
    for options in ({}, {**SAMPLED, "seed": 5}):
        messages = []
        for text, medium in zip(QUESTIONS, MEDIA[2:6], strict=False):
            messages.append(question(text, medium))
            monkeypatch.setattr(Seer, "told", ())
            answer = pair.check(messages, **options)
            monkeypatch.setattr(Seer, "told", Seer.written)
            assert pair.check(messages, **options) == answer
            messages.append({"role": "assistant", "content": answer})
    assert pair.stood > stood + 10
    assert pair.fell > fell + 20


def test_several_pictures_and_a_video_in_one_conversation(pair):
    content = [*MEDIA[2:], {"type": "text", "text": "What is the same?"}]
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": content}]
    for options in ({}, {**SAMPLED, "seed": 3}):
        pair.check(messages, **options)


def test_a_video_file_is_answered_as_by_generate(pair, tmp_path):
    path = write_video(tmp_path / "a.mp4", brightening(12, 112, 112))
    pair.check([question("What moves?", {"type": "video", "video": str(path)})])


def test_a_prompt_read_in_chunks_is_answered_as_one_read_at_once(pair, monkeypatch):
    monkeypatch.setattr("session.chunks.FIRST_CHUNK_TOKENS", 11)
    monkeypatch.setattr("session.chunks.LATER_CHUNK_TOKENS", 7)
    answer = pair.check([question("Where is it? " * 5, MEDIA[2]), {"role": "assistant", "content": "x"},
                         question("And this?", MEDIA[5])])
    assert isinstance(answer, str)


def test_an_answer_stopped_anywhere_leaves_no_trace(pair):
    messages = [question("Describe this image.", MEDIA[3])]
    whole = pair.check(messages)
    for tokens in range(4):
        answer = pair.session.stream(messages, max_new_tokens=NEW_TOKENS)
        for _ in range(tokens):
            next(answer, None)
        answer.close()
        pair.check([question("Describe this image.", MEDIA[4])])
    assert pair.check(messages) == whole


@pytest.mark.parametrize("options", [{}, {"repetition_penalty": 1.2}])
def test_an_answer_that_was_cut_goes_on_from_its_kv_cache_as_if_it_had_not_been(pair, options):
    """Wherever it was cut: in the middle of a word, too, where a tokenizer would give the text other tokens."""
    for messages in ([question("Describe this image.", MEDIA[3])], [question("你好!", None)]):
        whole = pair.check(messages, **options)
        for tokens in range(1, NEW_TOKENS):
            cut = pair.session.stream(messages, max_new_tokens=tokens, **options)
            text = "".join(cut)
            if cut.stats.finish_reason == "stop":
                break
            rest = pair.session.stream(
                [*messages, {"role": "assistant", "content": text}], continue_final_message=True,
                max_new_tokens=NEW_TOKENS - tokens, **options)
            assert text + "".join(rest) == whole  # also where the cut was within a character
            assert rest.stats.prompt_tokens == cut.stats.prompt_tokens + tokens
            assert rest.stats.cached_tokens == rest.stats.prompt_tokens - 1, "all but the last, for its logits"


def test_an_answer_from_elsewhere_goes_on_too(pair):
    messages = [question("Describe this image.", MEDIA[2]), {"role": "assistant", "content": "There is"}]
    answer = "".join(pair.session.stream(messages, continue_final_message=True, max_new_tokens=NEW_TOKENS))
    prompt = build_prompt(pair.processor, messages[:1])
    inputs = model_inputs(prompt)
    begun = pair.processor.tokenizer("There is", return_tensors="pt")["input_ids"]
    inputs["input_ids"] = torch.cat([inputs["input_ids"], begun], dim=1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    ids = pair.model.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False)
    assert answer == pair.processor.tokenizer.decode(ids[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True)


def test_interleaved_answers_never_see_each_other(pair):
    """Read in turns by one thread, token by token, and stopped at random."""
    asked = [[question(text, medium)] for text in QUESTIONS[:3] for medium in MEDIA[1:4]]
    expected = [pair.check(messages) for messages in asked]
    rng = random.Random(0)
    running = {n: (pair.session.stream(m, max_new_tokens=NEW_TOKENS), []) for n, m in enumerate(asked)}
    while running:
        number = rng.choice(list(running))
        answer, got = running[number]
        piece = next(answer, None)
        if piece is None:
            assert "".join(running.pop(number)[1]) == expected[number]
        elif rng.random() < 0.03:
            answer.close()
            assert expected[number].startswith("".join(running.pop(number)[1]))
        else:
            got.append(piece)


def test_answers_from_many_threads_are_their_askers(pair):
    asked = [[question(text, medium)] for text in QUESTIONS for medium in MEDIA[1:4]]
    expected = [pair.check(messages) for messages in asked]
    with ThreadPoolExecutor(8) as pool:
        preparing = [pool.submit(pair.session.prepare, [{"role": "user", "content": [m]}]) for m in MEDIA[2:]]
        answers = pool.map(lambda m: "".join(pair.session.stream(m, max_new_tokens=NEW_TOKENS)), asked)
        assert list(answers) == expected
        for future in preparing:
            future.result()


def test_what_is_not_wanted_is_not_read(qwen2):
    model = qwen2.session._model
    plan = PrefillPlan(build_prompt(qwen2.processor, [question("abc", None)]), model)
    embeddings, cache = model.embed(plan.prompt.ids), model.new_cache()
    model.wanted = lambda: False
    try:
        with pytest.raises(Interrupted):
            cache.forward(embeddings, plan.position_ids)
    finally:
        model.wanted = lambda: True
    assert cache.length == 0
    fresh = model.new_cache().forward(embeddings, plan.position_ids)
    assert (cache.forward(embeddings, plan.position_ids) == fresh).all()


def test_what_was_stopped_half_way_does_not_change_what_others_see(qwen2, monkeypatch):
    """Pictures of the size seen before: OpenVINO's graph would take the interrupted one's shapes for theirs."""
    monkeypatch.setattr(openvino_runtime, "POLL_MS", 1)
    model, rng = qwen2.session._model, random.Random(3)
    pictures = [scenes.sample_scene(rng, size).image for size in ((112, 112), (224, 336), (560, 560))]
    asked = [{"role": "user", "content": [{"type": "image", "image": picture} for picture in pictures]}]
    blocks = [medium.blocks[0] for medium in build_prompt(qwen2.processor, asked).media]
    expected, stopped = [model.encode(block) for block in blocks], 0
    for _ in range(40):
        end = time.perf_counter() + rng.random() * 0.1
        model.wanted = lambda end=end: time.perf_counter() < end
        try:
            model.encode(blocks[2])
        except Interrupted:
            stopped += 1
        finally:
            model.wanted = lambda: True
        at = rng.randrange(3)
        assert abs(model.encode(blocks[at]) - expected[at]).max() < 1e-4
    assert stopped > 10


def test_generate_goes_on_working_on_the_edited_model(qwen2):
    inputs = model_inputs(build_prompt(qwen2.processor, [question("Describe this image.", MEDIA[2])]))
    edited = qwen2.session._model._model
    options = {"max_new_tokens": NEW_TOKENS, "do_sample": False}
    assert torch.equal(edited.generate(**inputs, **options), qwen2.model.generate(**inputs, **options))
    assert ChatSession(edited, qwen2.processor)  # and another session can be made of it
    qwen2.check([question("Describe this image.", MEDIA[2])])


# ---- models that are not known --------------------------------------------------------------------------------------

def test_a_model_of_another_kind_is_refused_by_name(qwen2):
    from transformers import Qwen2VLForConditionalGeneration

    named = "qwen2_vl or qwen2_5_vl or qwen3_vl; this is a Qwen2VLForConditionalGeneration"
    with pytest.raises(UnsupportedModelError, match=named):
        ChatSession(Qwen2VLForConditionalGeneration.from_pretrained(TINY_DIR), qwen2.processor)


def test_an_export_without_a_state_is_refused(qwen2, monkeypatch):
    monkeypatch.setattr(qwen2.model.language_model, "stateful", False)
    with pytest.raises(UnsupportedModelError, match="without a state"):
        ChatSession(qwen2.model, qwen2.processor)


def test_a_model_without_its_graph_is_refused(qwen2, monkeypatch):
    monkeypatch.setattr(qwen2.model.language_model, "model", object())
    with pytest.raises(UnsupportedModelError, match="compile_only"):
        ChatSession(qwen2.model, qwen2.processor)


def test_a_picture_is_encoded_without_a_mask_and_to_the_same_numbers(pair, monkeypatch):
    """Qwen2.5-VL's other mask, which parts the picture into windows, stays."""
    model = pair.session._prefiller.model
    block = build_prompt(pair.processor, [question("What?", MEDIA[2])]).media[0].blocks[0]
    masks = []
    usual = model._cancellable_encoder._infer
    monkeypatch.setattr(model._cancellable_encoder, "_infer",
                        lambda request, inputs: (masks.append(inputs["attention_mask"].shape), usual(request, inputs)))
    features = model.encode(block)
    assert masks == [(1, 1, 4 * block.tokens)]
    expected = model._graphs.features(pair.model.get_vision_embeddings(block.patches, torch.tensor([block.grid])))
    assert abs(features - expected).max() <= 1e-5 * abs(expected).max()


@pytest.mark.parametrize("loaded", [True, False], ids=["compiled", "not compiled"])
@pytest.mark.parametrize(("given", "size"), [({}, 128), ({"DYNAMIC_QUANTIZATION_GROUP_SIZE": "64"}, 64)])
def test_the_faster_setting_is_compiled_in_unless_the_caller_set_it(int4_dir, processor, given, size, loaded):
    model = OVModelForVisualCausalLM.from_pretrained(str(int4_dir), device="CPU", compile=loaded, ov_config=given)
    ChatSession(model, processor)
    assert model.vision_embeddings_merger.request.get_property("DYNAMIC_QUANTIZATION_GROUP_SIZE") == size


def test_with_default_precision_most_answers_are_generates(ov_model, int4_dir, processor):
    """8-bit keys and values, bfloat16 where the processor has it: here other roundings may choose another word."""
    messages = [[question(text, medium)] for text in QUESTIONS for medium in MEDIA[2:]]

    expected = [generated(ov_model, processor, asked) for asked in messages]
    model = OVModelForVisualCausalLM.from_pretrained(str(int4_dir), device="CPU", compile=False)
    session = ChatSession(model, processor)
    answers = ["".join(session.stream(m, max_new_tokens=NEW_TOKENS)) for m in messages]
    same = sum(map(str.__eq__, answers, expected))
    print(f"{same} of {len(messages)} answers are generate's")
    assert same >= 0.8 * len(messages)
