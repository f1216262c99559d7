"""optimum-intel's `model.generate`, as its documentation shows it: what ChatSession is compared with."""

from adapters.optimum_intel import import_library
from benchmarks.engines import pytorch, take_pictures_as_they_are
from catalog.open import open_model

import_library()


class Engine(pytorch.Engine):
    """Asked as Transformers is, because its `generate` is that of Transformers."""

    def __init__(self, model_dir, weights=None, ov_config=None):
        self.model, self.processor = open_model(model_dir, "CPU", ov_config=ov_config)
        take_pictures_as_they_are(self.processor)
        self.model.compile()
