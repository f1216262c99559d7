# Every task in one place; the work is done by small Python modules that run without make too (docs/commands.md, "Without make").
# No absolute path and no $(CURDIR) anywhere, so that a clone in a path with spaces works.
PYTHON ?= python3
ifeq ($(OS),Windows_NT)
VENV_PYTHON = .venv/Scripts/python
else
VENV_PYTHON = .venv/bin/python
endif

.DEFAULT_GOAL := help
.PHONY: help run demo serve lab test test-slow test-serve test-clients lint notebook screenshots clean clean-models setup setup-tests setup-serve

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

run: setup  ## execute the notebook into build/ and print the first answer
	$(VENV_PYTHON) -m tasks.run_notebook

# An option is passed on only if it was typed (make demo MODEL=...): HOST and MODEL may be in a shell's environment for
# other reasons. make exports what was typed, so the shell quotes it and spaces are safe.
typed = $(if $(filter command,$(firstword $(origin $(1)))),--$(2) "$$$(1)")

demo: setup  ## the chat page without Jupyter: MODEL=... DEVICE=... HOST=... PORT=...
	$(VENV_PYTHON) -m tasks.demo $(call typed,MODEL,model) $(call typed,DEVICE,device) $(call typed,HOST,host) $(call typed,PORT,port)

serve: setup-serve  ## the page and an API for more visitors: MODEL=... REPLICAS=2 HOST=... PORT=... ADDRESS=...
	$(VENV_PYTHON) -m serving.front $(call typed,MODEL,model) $(call typed,REPLICAS,replicas) $(call typed,HOST,host) $(call typed,PORT,port) $(call typed,ADDRESS,address)

lab: setup  ## open the notebook in Jupyter Lab
	$(VENV_PYTHON) -m jupyter lab qwen2-vl.ipynb

test: setup-tests  ## run every test but those of serving/, the notebooks' cells included
	$(VENV_PYTHON) -m pytest -n 2 --dist loadfile tests --nbval-lax --nbval-current-env qwen2-vl.ipynb docs/how-it-works.ipynb

test-serve: setup-serve setup-tests  ## run the tests of serving/: replicas, nodes and clients that fail
	$(VENV_PYTHON) -m pytest tests/serving

test-slow: setup-tests  ## run the tests that take minutes: the real vocabulary
	$(VENV_PYTHON) -m pytest tests/slow

test-clients: setup-tests  ## run the tests with other people's clients of the API, installed into build/clients
	$(VENV_PYTHON) -m tests.clients.install
	$(VENV_PYTHON) -m pytest tests/clients

lint: setup-tests  ## check the style (ruff)
	$(VENV_PYTHON) -m ruff check .

notebook: setup  ## execute both notebooks in place: the outputs that are committed
	$(VENV_PYTHON) -m tasks.refresh_notebook

screenshots: setup-tests  ## take the README's pictures of the page anew, from the running page
	$(VENV_PYTHON) -m docs.screenshots

clean:  ## remove build/ and caches; keeps what took long: .venv, models/, checkpoints in build/train
	rm -rf .pytest_cache .ruff_cache .hypothesis .ipynb_checkpoints
	find . -path ./.venv -prune -o -name __pycache__ -prune -exec rm -rf {} +
	[ ! -d build ] || find build -mindepth 1 -maxdepth 1 ! -name train -exec rm -rf {} +

clean-models: setup  ## list the exported models and their sizes; delete the one that NAME=... names
	@$(VENV_PYTHON) -m tasks.clean_models $(call typed,NAME,name)

setup:  ## make .venv and install requirements.txt, where that is not done
	@"$(PYTHON)" -m tasks.bootstrap

setup-tests:  ## the same with requirements-test.txt
	@"$(PYTHON)" -m tasks.bootstrap --tests

setup-serve:  ## the same with requirements-serve.txt
	@"$(PYTHON)" -m tasks.bootstrap --serve
