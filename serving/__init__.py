"""The same session behind Ray Serve, for more visitors than one machine holds: see README.md, "More visitors".

wire     what crosses between processes, as plain data: conversations with their files, events, errors
replica  a ChatSession in a process of its own
remote   what stands in for a ChatSession on the other side of the handle
api      /v1/chat/completions and /v1/models
front    page and API under one address: `python -m serving.front`

Needs requirements-serve.txt and Linux. Nothing outside this folder imports it.
"""
