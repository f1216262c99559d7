"""Does a device compute what the CPU computes? One short answer about a drawn picture, compared logit by logit.

A wrong driver or a number that overflows in 16 bits shows as an answer of nonsense, or of "!!!!", which a reader takes
for the model's. Not here: which devices there are (`environment/devices.py`), how well a model answers.
"""

import time
from pathlib import Path

import numpy as np

from environment.devices import COMBINING
from environment.machine import this_machine

QUESTION = "Describe this image."
VISUAL_TOKENS = 16  # of a picture of 112 x 112 pixels: a prompt short enough for any model on any CPU
NEW_TOKENS = 4
# Standard deviation of the difference, in that of the CPU's logits. Other precisions of the activations measured up to
# 0.02 on the practice model and 0.09 on random weights of the 2B shape, 32 bits instead of 4 for the practice model's
# weights 0.13; permuted logits are at 1.4.
FAR = 0.3
# In logits: what the device says must not be e^2, seven times, less likely to the CPU than what the CPU says.
CLEARLY = 2.0
COPY_FACTOR, COPY_BASE = 1.75, 500_000_000  # bytes of a copy on the CPU: 3.7 GB for the 2B shape, measured 3.4 to 3.6
PATIENCE_S = 180.0  # for AUTO, which begins on the CPU, until the device is ready that it will take
ADVICE = ("What to do: choose the CPU, or update the device's driver, or try ov_config="
          '{"INFERENCE_PRECISION_HINT": "f32"}, because a number may be too large for 16 bits.')


class DeviceCheckError(RuntimeError):
    """A device that computes something else than the CPU; the message says what differs and what to do."""


def self_check(model, processor) -> str:
    """Compares one short answer of `model` with that of the same files on the CPU, and returns the verdict, a sentence.

    model: an OVModelForVisualCausalLM. On the CPU there is nothing to compare, which is said at once. The copy on the
    CPU lives only as long as the check, and takes nearly twice the size of the weights; where that is not free, only
    NaN and infinity are looked for, and the verdict says so. Raises DeviceCheckError.
    """
    devices = devices_of(model)
    name = ", ".join(devices)
    took = f"{model._device} took {name}. " if model._device.partition(":")[0] in COMBINING else ""
    if all(device.partition(".")[0] == "CPU" for device in devices):
        return f"{took}Nothing to compare: the CPU is what other devices are compared with."
    inputs = short_question(processor)
    got = logits_on_device(model, inputs, name)
    folder, free = Path(model.model_save_dir), this_machine().memory_free
    if (needed := copy_bytes(folder)) > free:
        return (f"{took}{name} computes numbers, but whether they are right is not known: to compare them with the "
                f"CPU's takes {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free.")
    largest = compare(got, logits_on_cpu(folder, inputs), name)
    return f"{took}{name} computes what the CPU does: {len(got)} tokens, logits within {largest:.1%} of their spread."


def devices_of(model) -> list[str]:
    """Where the parts of a compiled model run, such as ["GPU.0"]; AUTO says so once it has made up its mind.

    While AUTO prepares another device it answers on the CPU and gives that in brackets: "(CPU)". Then this waits.
    """
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = {device for part in model.components.values() for device in execution_devices(part)}
        if not any(device.startswith("(") for device in found) or time.monotonic() > deadline:
            return sorted(found)
        time.sleep(0.5)


def execution_devices(part) -> list[str]:
    if part.request is None:
        part.compile()
    compiled = part.request.get_compiled_model() if hasattr(part.request, "get_compiled_model") else part.request
    devices = compiled.get_property("EXECUTION_DEVICES")
    return [devices] if isinstance(devices, str) else list(devices)


def short_question(processor) -> dict:
    """What `generate` takes, for a red circle on white and a question of three words."""
    from PIL import Image, ImageDraw

    from session.prompt import build_prompt, model_inputs
    from session.vision_inputs import MediaProcessor

    image = Image.new("RGB", (112, 112), "white")
    ImageDraw.Draw(image).ellipse((20, 20, 92, 92), fill="red")
    content = [{"type": "image", "image": image}, {"type": "text", "text": QUESTION}]
    messages = [{"role": "user", "content": content}]
    return model_inputs(build_prompt(processor, messages, MediaProcessor(processor), VISUAL_TOKENS))


def answer(model, inputs: dict) -> np.ndarray:
    """Logits of a greedy answer, (tokens, vocabulary)."""
    from transformers import GenerationConfig

    plain = GenerationConfig(max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, output_logits=True,
                             return_dict_in_generate=True)
    return np.stack([step[0].float().numpy() for step in model.generate(**inputs, generation_config=plain).logits])


def logits_on_device(model, inputs: dict, name: str) -> np.ndarray:
    try:
        logits = answer(model, inputs)
    except RuntimeError as error:  # OpenVINO's, from a driver
        raise DeviceCheckError(f"{name} cannot run this model: {str(error).strip()[-500:]}\n{ADVICE}") from error
    if not np.isfinite(logits).all():
        share = 1 - np.isfinite(logits).mean()
        raise DeviceCheckError(f"{name} computes what is no number (NaN or infinity): {share:.0%} of the logits of a "
                               f"short answer. A chat would be nonsense. {ADVICE}")
    return logits


def logits_on_cpu(folder: Path, inputs: dict) -> np.ndarray:
    from optimum.intel.openvino import OVModelForVisualCausalLM

    return answer(OVModelForVisualCausalLM.from_pretrained(str(folder), device="CPU"), inputs)


def copy_bytes(folder: Path) -> int:
    """The memory that a copy on the CPU takes: estimated from the size of its weights."""
    weights = sum(path.stat().st_size for path in folder.glob("openvino_*_model.bin"))
    return int(COPY_FACTOR * weights) + COPY_BASE


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
        if largest > FAR or behind > CLEARLY:
            raise DeviceCheckError(
                f"{name} computes something else than the CPU: at word piece {number} of a short answer the logits "
                f"differ by {largest:.0%} of their spread, and the CPU holds the device's choice for "
                f"{np.exp(min(behind, 20)):,.0f} times less likely than its own. {ADVICE}")
        if ours.argmax() != theirs.argmax():
            break
    return largest
