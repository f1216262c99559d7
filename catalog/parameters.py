"""How many parameters a Qwen-VL has, and how many bytes an export of it takes, from the config alone.

    parameters = count_parameters(SHAPES["2b"])
    parameters.total            # 2 208 985 600
    export_bytes(parameters)    # 1.8e9
"""

from dataclasses import dataclass

from adapters.qwen_vl import FAMILIES, MERGE_SIZE

# Bytes per number. INT4 keeps a 16-bit scale and a 4-bit zero point for every group of 128 weights.
BYTES = {"fp32": 4.0, "fp16": 2.0, "int8": 1.0, "int4": (4 + (16 + 4) / 128) / 8}
PATCHES = {"spatial_merge_size": MERGE_SIZE, "temporal_patch_size": 2}
VISION_DEFAULTS = {  # of Transformers' config classes; tests/test_costs.py compares
    "qwen2_vl": {"depth": 32, "embed_dim": 1280, "mlp_ratio": 4, "hidden_size": 3584},
    "qwen2_5_vl": {"depth": 32, "hidden_size": 3584, "intermediate_size": 3420, "out_hidden_size": 3584},
    "qwen3_vl": {"depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "out_hidden_size": 3584,
                 "num_position_embeddings": 2304, "deepstack_visual_indexes": [8, 16, 24]},
}  # fmt: skip
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

    Qwen2-VL's and Qwen2.5-VL's language models are built alike; Qwen3-VL's has norms of queries and keys where theirs
    have biases. Raises KeyError for a config that lacks a size.
    """
    text = {**config, **config.get("text_config", {})}
    hidden, layers, vocabulary = text["hidden_size"], text["num_hidden_layers"], text["vocab_size"]
    head = text.get("head_dim") or hidden // text["num_attention_heads"]
    queries, keys = head * text["num_attention_heads"], head * text["num_key_value_heads"]
    per_layer = 2 * hidden * queries + 2 * hidden * keys + 3 * hidden * text["intermediate_size"]
    family = config["model_type"]
    biases_or_norms = 2 * head if family == "qwen3_vl" else queries + 2 * keys
    # Transformers leaves out of a saved config what equals its own defaults.
    patches = {**PATCHES, "patch_size": FAMILIES[family].patch_size}
    vision_linear, vision_rest = COUNT_VISION[family]({**patches, **VISION_DEFAULTS[family], **config["vision_config"]})
    return Parameters(
        language=layers * per_layer,
        embeddings=vocabulary * hidden,
        head=vocabulary * hidden,
        vision=vision_linear,
        rest=layers * (2 * hidden + biases_or_norms) + hidden + vision_rest,
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


def count_vision_3(vision: dict) -> tuple[int, int]:
    """The same of Qwen3-VL's: learned positions, and a merger more for each layer whose features DeepStack takes."""
    width, depth, out = vision["hidden_size"], vision["depth"], vision["out_hidden_size"]
    inner, merged = vision["intermediate_size"], width * vision["spatial_merge_size"] ** 2
    layers = depth * (4 * width * width + 2 * width * inner)
    merger = merged * merged + merged * out
    extra = len(vision["deepstack_visual_indexes"])
    embeddings = (patch(vision) + vision["num_position_embeddings"]) * width
    norms_and_biases = depth * (9 * width + inner) + 3 * width + merged + out + extra * (3 * merged + out)
    return layers + embeddings + (1 + extra) * merger, norms_and_biases


COUNT_VISION = {"qwen2_vl": count_vision, "qwen2_5_vl": count_vision_25, "qwen3_vl": count_vision_3}


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
