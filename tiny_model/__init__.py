"""The embedded practice model: a Qwen2-VL small enough to ship, trained on drawn scenes. See README.md beside this
file.
"""
