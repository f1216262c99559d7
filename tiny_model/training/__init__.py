"""How the practice model was trained, and the script that prints its tables. Using the model needs none of this.

`architecture` builds the untrained model and its tokenizer; `batches` (with `textures`) makes tensors out of scenes and
questions; `forward` runs the model on them; `losses` says what is minimised, `muon` how; `train` puts it together;
`report` writes the measured figures into ../README.md.
"""
