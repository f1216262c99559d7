"""Qwen's real vocabulary and files as the hub has them, around small random weights of all three families.

A flat config where the hub's is flat, `chat_template.json`, `preprocessor_config.json`, and a `generation_config.json`
that samples of the one likeliest token and has two end tokens. Here: from such files to answers. Not here: JSON of a
schema (`test_real_vocabulary.py`), the hub itself (`tests/test_hub.py`).
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
from benchmarks.random_model import flat
from catalog.errors import ModelFolderError
from catalog.open import open_model
from chat_session import ChatSession
from session.decode import text_pieces
from session.prompt import build_prompt, model_inputs
from tasks import run_notebook
from tests import random_3, random_25
from tests.conftest import EXACT
from tests.loopback import refusing_proxy
from tests.real_vocabulary import real_tokenizer
from tests.test_notebook import NOTEBOOK, clone, printed

__all__ = ["clone"]  # a fixture

WRITERS = {"qwen2": lambda folder, known: shutil.copytree(known, folder), "qwen25": random_25.write,
           "qwen3": random_3.write}  # fmt: skip
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
ENDS = ["<|im_end|>", "<|endoftext|>"]


def asked(text: str) -> list[dict]:
    return [{"role": "user", "content": [{"type": "image", "image": PICTURE}, {"type": "text", "text": text}]}]


def as_on_the_hub(folder: Path) -> Path:
    """The files that Transformers wrote, changed to those that Qwen's checkpoints have."""
    config = json.loads((folder / "config.json").read_text())
    if config["model_type"] != "qwen3_vl":  # whose config is nested there, too
        config = flat(config)
    (folder / "config.json").write_text(json.dumps(config))
    processor = json.loads((folder / "processor_config.json").read_text())
    (folder / "processor_config.json").unlink()
    (folder / "preprocessor_config.json").write_text(
        json.dumps(processor["image_processor"] | {"processor_class": processor["processor_class"]})
    )
    if config["model_type"] == "qwen3_vl":
        (folder / "video_preprocessor_config.json").write_text(json.dumps(processor["video_processor"]))
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    tokens = json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
    ids = {token["content"]: token["id"] for token in tokens}
    (folder / "generation_config.json").write_text(json.dumps({
        "do_sample": True, "top_k": 1, "top_p": 0.001, "temperature": 0.1, "eos_token_id": [ids[end] for end in ENDS],
        "pad_token_id": ids["<|endoftext|>"], "bos_token_id": ids["<|endoftext|>"],
    }))  # fmt: skip
    return folder


@pytest.fixture(scope="module", params=WRITERS)
def source(request, real_source, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp(request.param) / "source"
    WRITERS[request.param](folder, real_source)
    return as_on_the_hub(folder)


@pytest.fixture(scope="module")
def opened(source):
    export = source.with_name("export")
    cmd_helper.optimum_cli(source, export, additional_args={"weight-format": "fp32"})
    return open_model(export, ov_config=EXACT)


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
    for _ in range(300):
        row = [int(token) for token in rng.integers(0, len(tokenizer), rng.integers(1, 40)) if token not in special]
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


def test_the_whole_notebook_runs_with_a_folder_of_ones_own(real_source, clone, tmp_path, monkeypatch):
    mine = as_on_the_hub(shutil.copytree(real_source, tmp_path / "mine"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cells = {cell.id: cell for cell in notebook.cells}
    cells["choose"].source = cells["choose"].source.replace('model_name = ""', f"model_name = {str(mine)!r}")
    with monkeypatch.context() as during, refusing_proxy(during):  # the photograph is not reached
        run_notebook.execute(notebook, clone)
    assert "My own folder: mine: models/mine-" in printed(cells["export"])
    assert run_notebook.first_answer(notebook).partition("Answer:")[2].strip()
