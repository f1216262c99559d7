"""Figures for the notebook and the page, drawn with Pillow alone.

`charts`   bar_chart (how long something took), position_chart (the positions of a prompt's tokens)
`pictures` token_grid (a picture's visual tokens), draw_box (a box that the model wrote), side_by_side
`boxes`    draw_boxes (all boxes of an answer, with their labels)
`deepstack` deepstack_shares (what Qwen3-VL's vision encoder adds to which layers, as numbers for bar_chart)
`cat.jpg`  Chelsea, by Stéfan van der Walt, in the public domain (CC0): the picture to ask about where none can be had

Not here: where the other numbers come from; whoever calls asks the processor and the model.
"""
