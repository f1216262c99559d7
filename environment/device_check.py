"""Does a device compute what the CPU computes? One short answer about a drawn picture, compared logit by logit.

    print(self_check(model, processor))
    # GPU.0 computes what the CPU does: 4 tokens, logits within 1.2% of their spread.

A wrong driver or a number that overflows in 16 bits shows as an answer of nonsense, or of "!!!!", which a reader takes
for the model's. Not here: which devices there are (`environment/devices.py`), how well a model answers.
"""

import time
from pathlib import Path

import numpy as np

from adapters.qwen_vl import PIXELS_PER_TOKEN
from environment.devices import COMBINING
from environment.machine import this_machine

QUESTION = "Describe this image."
SIDE_PIXELS = 112  # of the picture: 16 visual tokens, a prompt short enough for any model on any CPU
VISUAL_TOKENS = SIDE_PIXELS**2 // PIXELS_PER_TOKEN
NEW_TOKENS = 4
# Standard deviation of the difference, divided by that of the CPU's logits. Other precisions of the activations came to
# 0.02 on the practice model and to 0.09 on random weights of the 2B shape; 32 bits instead of 4 for the practice
# model's weights to 0.13; permuted logits are at 1.4.
MAX_DIFFERENCE = 0.3
# In logits: what the device says must not be e^2, seven times, less likely to the CPU than what the CPU says.
MAX_LOGITS_BEHIND = 2.0
COPY_FACTOR, COPY_BASE_BYTES = 1.75, 500_000_000  # of a copy on the CPU: 3.7 GB for the 2B shape, measured 3.4 to 3.6
AUTO_TIMEOUT_S = 180.0  # for AUTO, which begins on the CPU, until the device is ready that it will take
POLL_S = 0.5
ADVICE = (
    "What to do: choose the CPU, or update the device's driver, or try ov_config="
    '{"INFERENCE_PRECISION_HINT": "f32"}, because a number may be too large for 16 bits.'
)


class DeviceCheckError(RuntimeError):
    """A device that computes something else than the CPU; the message says what differs and what to do."""


def self_check(model, processor) -> str:
    """Compares one short answer of `model` with that of the same files on the CPU, and returns the verdict, a sentence.

    model: an OVModelForVisualCausalLM. On the CPU there is nothing to compare, which is said at once. The copy on the
    CPU lives only as long as the check, and takes nearly twice the size of the weights; where that is not free, only
    NaN and infinity are looked for, and the verdict says so. Raises DeviceCheckError.
    """
    from adapters.optimum_intel import model_folder, requested_device

    devices = devices_of(model)
    name, requested = ", ".join(devices), requested_device(model)
    took = f"{requested} took {name}. " if requested.partition(":")[0] in COMBINING else ""
    if all(device.partition(".")[0] == "CPU" for device in devices):
        return f"{took}Nothing to compare: the CPU is the reference."
    inputs = short_question(processor)
    got = logits_on_device(model, inputs, name)
    folder, free = model_folder(model), this_machine().memory_free
    needed = copy_bytes(folder)
    if needed > free:
        return (
            f"{took}{name} computes numbers, but whether they are right is not known: to compare them with the CPU's "
            f"takes {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free."
        )
    largest = compare(got, logits_on_cpu(folder, inputs), name)
    return f"{took}{name} computes what the CPU does: {len(got)} tokens, logits within {largest:.1%} of their spread."


def devices_of(model) -> list[str]:
    """Where the parts of a compiled model run, such as ["GPU.0"]; AUTO says so once it has made up its mind.

    While AUTO prepares another device it answers on the CPU and gives that in brackets: "(CPU)". Then this waits.
    """
    from adapters.optimum_intel import execution_devices

    deadline = time.monotonic() + AUTO_TIMEOUT_S
    while True:
        found = execution_devices(model)
        is_preparing = any(device.startswith("(") for device in found)
        if not is_preparing or time.monotonic() > deadline:
            return sorted(found)
        time.sleep(POLL_S)


def short_question(processor) -> dict:
    """What `generate` takes, for a red circle on white and a question of three words."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (SIDE_PIXELS, SIDE_PIXELS), "white")
    ImageDraw.Draw(image).ellipse((20, 20, 92, 92), fill="red")
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}]
    text = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return dict(
        processor(
            text=[text],
            images=[image],
            min_pixels=PIXELS_PER_TOKEN,
            max_pixels=VISUAL_TOKENS * PIXELS_PER_TOKEN,
            return_tensors="pt",
        )
    )


def answer(model, inputs: dict) -> np.ndarray:
    """Logits of a greedy answer, (tokens, vocabulary)."""
    from transformers import GenerationConfig

    greedy = GenerationConfig(
        max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, output_logits=True, return_dict_in_generate=True
    )
    steps = model.generate(**inputs, generation_config=greedy).logits
    return np.stack([step[0].float().numpy() for step in steps])


def logits_on_device(model, inputs: dict, name: str) -> np.ndarray:
    """The same, or DeviceCheckError where there is no answer, or one of what is no number."""
    try:
        logits = answer(model, inputs)
    except RuntimeError as error:  # OpenVINO's, from a driver
        raise DeviceCheckError(f"{name} cannot run this model: {str(error).strip()[-500:]}\n{ADVICE}") from error
    finite = np.isfinite(logits)
    if not finite.all():
        raise DeviceCheckError(
            f"{name} computes what is no number (NaN or infinity): {1 - finite.mean():.0%} of the logits of a short "
            f"answer. A chat would be nonsense. {ADVICE}"
        )
    return logits


def logits_on_cpu(folder: Path, inputs: dict) -> np.ndarray:
    """The same of a copy on the CPU, which is gone afterwards."""
    from adapters.optimum_intel import load_model

    return answer(load_model(folder, "CPU", compile=True), inputs)


def copy_bytes(folder: Path) -> int:
    """The memory that a copy on the CPU takes: estimated from the size of its weights."""
    weights = sum(path.stat().st_size for path in folder.glob("openvino_*_model.bin"))
    return int(COPY_FACTOR * weights) + COPY_BASE_BYTES


def compare(got: np.ndarray, expected: np.ndarray, name: str) -> float:
    """The largest difference, in spreads of the CPU's logits; raises DeviceCheckError for one that is too large.

    Both: (tokens, vocabulary). Where the two choose different tokens that are about as likely, the answers part, and
    what comes after is not compared.
    """
    largest = 0.0
    for number, (ours, theirs) in enumerate(zip(got, expected, strict=True), 1):
        difference = (ours - ours.mean()) - (theirs - theirs.mean())
        largest = max(largest, float(difference.std() / theirs.std()))
        behind = float(theirs.max() - theirs[ours.argmax()])
        if largest > MAX_DIFFERENCE or behind > MAX_LOGITS_BEHIND:
            raise DeviceCheckError(
                f"{name} computes something else than the CPU: at word piece {number} of a short answer the logits "
                f"differ by {largest:.0%} of their spread, and the CPU holds the device's choice for "
                f"{np.exp(min(behind, 20)):,.0f} times less likely than its own. {ADVICE}"
            )
        if ours.argmax() != theirs.argmax():
            break
    return largest
