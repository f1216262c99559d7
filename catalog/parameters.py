"""How many parameters a Qwen2-VL or Qwen2.5-VL has, and how many bytes an export takes, from the config alone.

    parameters = count_parameters(SHAPES["2b"])
    parameters.total            # 2 208 985 600
    export_bytes(parameters)    # 1.8e9
"""

from dataclasses import dataclass

from adapters.qwen_vl import MERGE_SIZE, PATCH_SIZE

# Bytes per number. INT4 keeps a 16-bit scale and a 4-bit zero point for every group of 128 weights.
BYTES = {"fp32": 4.0, "fp16": 2.0, "int8": 1.0, "int4": (4 + (16 + 4) / 128) / 8}
PATCHES = {"depth": 32, "patch_size": PATCH_SIZE, "spatial_merge_size": MERGE_SIZE, "temporal_patch_size": 2}
VISION_DEFAULTS = {  # of Transformers' config classes; tests/test_costs.py compares
    "qwen2_vl": {**PATCHES, "embed_dim": 1280, "mlp_ratio": 4, "hidden_size": 3584},
    "qwen2_5_vl": {**PATCHES, "hidden_size": 3584, "intermediate_size": 3420, "out_hidden_size": 3584},
}
COLOURS = 3


@dataclass(frozen=True)
class Parameters:
    """How many numbers a model has, by how an export stores them."""

    language: int  # the linear layers of the language model: what INT4 compresses to 4 bits
    embeddings: int
    head: int  # the output layer, which an export stores even where the original shares it with the embeddings
    vision: int  # the linear layers of the vision encoder
    rest: int  # biases and norms
    tied: bool

    @property
    def total(self) -> int:
        """As the original counts them."""
        return self.language + self.embeddings + self.vision + self.rest + (0 if self.tied else self.head)


def count_parameters(config: dict) -> Parameters:
    """Counts from a config as `config.json` has it, in the hub's flat layout or Transformers 5's nested one.

    Both families, Qwen2-VL and Qwen2.5-VL: their language models are built alike, their vision encoders are not.
    Raises KeyError for a config that lacks a size.
    """
    text = {**config, **config.get("text_config", {})}
    hidden, layers, vocabulary = text["hidden_size"], text["num_hidden_layers"], text["vocab_size"]
    keys = hidden // text["num_attention_heads"] * text["num_key_value_heads"]
    per_layer = 2 * hidden * hidden + 2 * hidden * keys + 3 * hidden * text["intermediate_size"]
    # Transformers leaves out of a saved config what equals its own defaults.
    vision = {**VISION_DEFAULTS[config["model_type"]], **config["vision_config"]}
    count = count_vision_25 if config["model_type"] == "qwen2_5_vl" else count_vision
    vision_linear, vision_rest = count(vision)
    return Parameters(
        language=layers * per_layer,
        embeddings=vocabulary * hidden,
        head=vocabulary * hidden,
        vision=vision_linear,
        rest=layers * (3 * hidden + 2 * keys) + hidden + vision_rest,
        tied=text["tie_word_embeddings"],
    )


def count_vision(vision: dict) -> tuple[int, int]:
    """(weights of linear layers, biases and norms) of Qwen2-VL's vision encoder with patch embedding and merger."""
    width, depth, out = vision["embed_dim"], vision["depth"], vision["hidden_size"]
    inner, merged = int(width * vision["mlp_ratio"]), width * vision["spatial_merge_size"] ** 2
    layers = depth * (4 * width * width + 2 * width * inner)
    merger = merged * merged + merged * out
    return layers + patch(vision) * width + merger, depth * (9 * width + inner) + 2 * width + merged + out


def count_vision_25(vision: dict) -> tuple[int, int]:
    """The same of Qwen2.5-VL's: a gated MLP (three matrices), norms without biases, and other names in the config."""
    width, depth, out = vision["hidden_size"], vision["depth"], vision["out_hidden_size"]
    inner, merged = vision["intermediate_size"], width * vision["spatial_merge_size"] ** 2
    layers = depth * (4 * width * width + 3 * width * inner)
    merger = merged * merged + merged * out
    return layers + patch(vision) * width + merger, depth * (7 * width + 2 * inner) + width + merged + out


def patch(vision: dict) -> int:
    """Numbers in a patch: three colours, over the patch's height and width and its frames."""
    return COLOURS * vision["temporal_patch_size"] * vision["patch_size"] ** 2


def export_bytes(parameters: Parameters, weight_format: str = "int4") -> int:
    """Bytes on disk of an export with the exporter's defaults; graphs and tokenizer (some MB) are not counted."""
    language = BYTES[weight_format]
    others = max(language, BYTES["int8"])  # INT4 leaves 8 bits to vision, embeddings and the output layer
    rest = max(language, BYTES["fp16"])  # biases and norms are never compressed
    return round(
        parameters.language * language
        + parameters.rest * rest
        + (parameters.embeddings + parameters.head + parameters.vision) * others
    )
