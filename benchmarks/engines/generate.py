"""optimum-intel's `model.generate`, as its documentation shows it: what ChatSession is compared with."""

from benchmarks.engines import import_optimum_intel, pytorch
from catalog.open import open_model

import_optimum_intel()


class Engine(pytorch.Engine):
    """Asked as Transformers is, because its `generate` is that of Transformers."""

    def __init__(self, model_dir, weights):
        self.model, self.processor = open_model(model_dir, "CPU")
        self.model.compile()
