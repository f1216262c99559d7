"""`model_widget`: the table of models and their costs, and the dropdown to choose one.

Not here: which models there are (`choices`), what they cost (`costs`).
"""

from pathlib import Path

from catalog.choices import ModelChoice, model_choices
from catalog.costs import costs_table
from environment.machine import this_machine

_picked: dict[str, str] = {}  # {the variable in the notebook: what was chosen in the dropdown since it says this}


def model_widget(model: str = "", folder: str | Path = "models"):
    """Shows what each model costs, and returns a dropdown of them; its `.value` is the ModelChoice.

    model: what is chosen at first, as in a variable that the reader edits: "" for the practice model, a name on the
    hub, or a folder. What the reader then chooses in the dropdown stays chosen when the cell runs again ("Run All"),
    until the variable is edited; a new kernel begins with the variable. folder: where exports go, for what fits on its
    disk. Raises ModelFolderError and HubError for a `model` that cannot be used.
    """
    import ipywidgets
    from IPython.display import Markdown, display

    choices, at_first = choices_and_default(model)
    display(Markdown(costs_table(choices, this_machine(folder))))
    labels = [choice.label for choice in choices]
    picked = _picked.get(model, "")
    dropdown = ipywidgets.Dropdown(
        options=list(zip(labels, choices, strict=True)),
        value=choices[labels.index(picked)] if picked in labels else at_first,
        description="Model:",
        layout={"width": "max-content"},
    )
    dropdown.observe(lambda change: _picked.update({model: change["new"].label}), names="value")
    return dropdown


def choices_and_default(model: str) -> tuple[list[ModelChoice], ModelChoice]:
    """All choices, a model of the reader's own among them, and the one that `model` names."""
    choices = model_choices()
    for choice in choices:
        if model in ("", choice.source, choice.label):
            return choices, choice
    choices = model_choices(model)
    return choices, choices[-1]
