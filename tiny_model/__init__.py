"""The practice model: a Qwen2-VL small enough to ship (`weights/`), trained by us on drawn scenes of coloured shapes.

`scenes` draws them, `questions` asks about them and knows the right answers (in the words of `phrases`), `evaluate`
counts how often a model gives these. How the weights were made is `training/`, which nothing else needs. README.md
beside this file has the accuracy tables.
"""
