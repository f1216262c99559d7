"""The same session behind Ray Serve, for more visitors than one machine holds: see README.md, "More visitors".

front        page and API under one address: `python -m serving.front`
openai_api   /v1/chat/completions and /v1/models
remote       RemoteSession: what page and API call, where the ChatSession is in another process
replica      a ChatSession in a process of its own

Needs requirements-serve.txt and Linux. What we know of Ray beyond its documentation is in `adapters.ray_serve`.
"""
