"""What make's targets run, each as a module from the repository's folder: `python -m tasks.demo`. Nobody imports them.

bootstrap           make .venv and install the pinned packages; standard library only
run_notebook        execute the notebook into build/ and print its first answer
refresh_notebook    execute it in place, for its outputs to be committed
demo                the chat page without Jupyter
clean_models        list the exports in models/, or delete one
"""
