"""optimum-intel's `model.generate`, as its documentation shows it: what ChatSession is compared with."""

from optimum.intel.openvino import OVModelForVisualCausalLM
from transformers import AutoProcessor

from benchmarks.engines import pytorch as engine_pytorch


class Engine(engine_pytorch.Engine):
    """Asked as Transformers is, because its `generate` is that of Transformers."""

    def __init__(self, model_dir, weights):
        self.processor = AutoProcessor.from_pretrained(model_dir)
        self.model = OVModelForVisualCausalLM.from_pretrained(model_dir, device="CPU")
