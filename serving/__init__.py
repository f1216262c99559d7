"""The same session behind Ray Serve, for more visitors than one machine holds: see README.md, "More visitors".

`replica` a ChatSession in a process of its own; `remote` what stands in for it elsewhere; `api` OpenAI's interface;
`front` page and API under one address: `python -m serving.front`. Needs requirements-serve.txt and Linux.
"""
