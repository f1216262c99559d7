"""Qwen's real vocabulary and files as the hub has them, around small random weights of all three families.

Here: from such files (`tests.real_vocabulary.as_on_the_hub`) to answers. Not here: JSON of a schema
(`test_real_vocabulary.py`), the hub itself (`tests/test_hub.py`).
"""

import json
import shutil
from pathlib import Path

import nbformat
import numpy as np
import openvino_tokenizers  # noqa: F401  registers the tokenizer's operations
import pytest
import torch
from PIL import Image

import cmd_helper
from adapters.openvino_runtime import ov
from catalog.errors import ModelFolderError
from catalog.open import open_model
from chat_session import ChatSession
from session.decode import text_pieces
from session.prompt import build_prompt, model_inputs
from tasks import run_notebook
from tests.conftest import EXACT
from tests.loopback import refusing_proxy
from tests.real_vocabulary import ENDS, FAMILIES, VOCABULARY, real_tokenizer
from tests.test_notebook import NOTEBOOK, clone, printed

__all__ = ["clone"]  # a fixture

SENTENCES = [
    "What is in the picture?", "Was ist auf dem Bild?", "Qu'y a-t-il sur l'image ?", "¿Qué hay en la imagen?",
    "Cosa c'è nell'immagine?", "O que há na imagem?", "Что на картинке?", "Що на зображенні?",
    "Τι υπάρχει στην εικόνα;",
    "ماذا يوجد في الصورة؟", "מה יש בתמונה?", "चित्र में क्या है?", "ছবিতে কী আছে?", "படத்தில் என்ன இருக்கிறது?",
    "ในภาพมีอะไร", "图片里有什么？", "圖片裡有什麼？", "画像には何が写っていますか。", "그림에 무엇이 있나요?",
    "Trong ảnh có gì?", "Resimde ne var?", "👩‍👩‍👧‍👦 🇨🇦 👍🏽 what?", "one\r\ntwo\r\n\r\nthree\t\tfour   five",
    "zero\u200bwidth\u200djoiner\ufeff", "e\u0301 and \u00e9",
]  # fmt: skip
TYPED = "<tool_call>{}</tool_call> <|im_end|> <|vision_start|><|image_pad|>"
PICTURE = Image.radial_gradient("L").resize((112, 112)).convert("RGB")


def asked(text: str) -> list[dict]:
    return [{"role": "user", "content": [{"type": "image", "image": PICTURE}, {"type": "text", "text": text}]}]


@pytest.fixture(scope="module", params=FAMILIES)
def source(request, real_models) -> Path:
    return real_models[request.param]


@pytest.fixture(scope="module")
def opened(source):
    return open_model(source.with_name("export"), ov_config=EXACT)


@pytest.fixture(scope="module")
def session(opened) -> ChatSession:
    return ChatSession(*opened)


def test_prompts_in_all_languages_are_the_processors_own(opened):
    _, processor = opened
    for sentence in SENTENCES:
        messages = asked(sentence)
        text = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        expected = processor(text=[text], images=[PICTURE])["input_ids"][0]
        assert build_prompt(processor, messages).ids == list(expected), sentence


def test_the_exported_tokenizer_agrees_and_round_trips(opened, source):
    core, export = ov.Core(), source.with_name("export")
    encode = core.compile_model(export / "openvino_tokenizer.xml", "CPU")
    decode = core.compile_model(export / "openvino_detokenizer.xml", "CPU")
    for sentence in SENTENCES:
        ids = encode([sentence])["input_ids"]
        assert ids[0].tolist() == opened[1].tokenizer(sentence)["input_ids"], sentence
        assert decode([ids])[0][0] == opened[1].tokenizer.decode(ids[0], skip_special_tokens=True), sentence


def test_what_is_typed_stays_text(opened):
    _, processor = opened
    prompt = build_prompt(processor, asked(TYPED))
    tokenizer = processor.tokenizer
    typed = prompt.ids[len(prompt.ids) - prompt.ids[::-1].index(tokenizer.convert_tokens_to_ids("<|vision_end|>")):]
    special = {id_ for id_, token in tokenizer.added_tokens_decoder.items() if token.special}
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert [id_ for id_ in typed if id_ in special] == [end, tokenizer.convert_tokens_to_ids("<|im_start|>")]
    assert TYPED in tokenizer.decode(typed)


def test_pieces_of_random_tokens_add_up_to_what_is_decoded():
    tokenizer = real_tokenizer()
    rng = np.random.default_rng(0)
    special = set(tokenizer.all_special_ids)
    for _ in range(3000):
        row = [int(token) for token in rng.integers(0, VOCABULARY, rng.integers(1, 40)) if token not in special]
        whole = tokenizer.decode(row, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert "".join(text_pieces(iter(row), tokenizer, is_cut=lambda: False)) == whole


@pytest.mark.parametrize("sentence", [SENTENCES[0], SENTENCES[15], TYPED])
def test_answers_are_those_of_generate_with_the_hubs_own_settings(opened, session, sentence):
    model, processor = opened
    inputs = model_inputs(build_prompt(processor, asked(sentence)))
    torch.manual_seed(0)
    ids = model.generate(**inputs, max_new_tokens=24)[0, inputs["input_ids"].shape[1]:]
    answer = session.stream(asked(sentence), max_new_tokens=24)
    said = "".join(answer)
    expected = processor.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert said == expected or (answer.stats.finish_reason == "length" and expected.startswith(said))
    assert said


def test_both_end_tokens_end_an_answer(opened):
    model, processor = opened
    assert [processor.tokenizer.convert_ids_to_tokens(id_) for id_ in model.generation_config.eos_token_id] == ENDS


def test_a_template_that_only_the_tokenizer_has_is_found(opened, source, tmp_path):
    export = shutil.copytree(source.with_name("export"), tmp_path / "export")
    for name in ("chat_template.jinja", "chat_template.json"):
        (export / name).unlink(missing_ok=True)
    (export / "export_manifest.json").unlink()  # what is changed on purpose is not what was exported
    template = opened[1].chat_template
    config = json.loads((export / "tokenizer_config.json").read_text())
    (export / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": template}))
    _, processor = open_model(export)
    assert build_prompt(processor, asked("Hello")).ids == build_prompt(opened[1], asked("Hello")).ids


@pytest.mark.parametrize("missing", ["preprocessor_config.json", "chat_template.json"])
def test_a_model_of_which_nothing_could_be_asked_is_refused_before_the_export(source, tmp_path, missing):
    bare = shutil.copytree(source, tmp_path / "bare")
    (bare / missing).unlink()
    with pytest.raises(ModelFolderError, match=r"copy .*there from the model"):
        cmd_helper.export_if_needed(str(bare))


def test_the_whole_notebook_runs_with_a_folder_of_ones_own(real_models, clone, tmp_path, monkeypatch):
    mine = shutil.copytree(real_models["qwen2"], tmp_path / "mine")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cells = {cell.id: cell for cell in notebook.cells}
    cells["choose"].source = cells["choose"].source.replace('model_name = ""', f"model_name = {str(mine)!r}")
    with monkeypatch.context() as during, refusing_proxy(during):  # the photograph is not reached
        run_notebook.execute(notebook, clone)
    assert "My own folder: mine: models/mine-" in printed(cells["export"])
    assert run_notebook.first_answer(notebook).partition("Answer:")[2].strip()
