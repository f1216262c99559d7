"""What the way over HTTP adds to an answer: `python -m benchmarks api-overhead MODEL_DIR`.

The same questions in turn to a ChatSession in this process and, over the loopback, to the API before the same session
(`serving.openai_api`), with the `openai` package as the client. Medians of one visitor. The session's caches are warm
for both, so that what is left of the first token is mostly the way.
"""

import argparse
import time
from statistics import median

from tabulate import tabulate

from benchmarks import records
from benchmarks.options import add_model_dir

WARM_UP_RUNS, RUNS = 4, 40
MODEL, QUESTION = "m", [{"role": "user", "content": "Describe this image, although there is none."}]
OPTIONS = {"max_tokens": 24}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_dir(parser)
    parser.add_argument("--json", action="store_true", help=f"write results/{records.API.name}")


def run(options: argparse.Namespace) -> int:
    from catalog.open import open_model
    from chat_session import ChatSession
    from serving.api import guarded
    from serving.openai_api import make_api

    session = ChatSession(*open_model(options.model_dir), shared_cache=True)
    found = measured(session, guarded(make_api(session, MODEL), "127.0.0.1", ""))
    if options.json:
        records.write(records.API, found)
    print(tabulate([[name, *row.values()] for name, row in found.items()],
                   ["", "first token, ms", "each further one, ms"], tablefmt="github"))  # fmt: skip
    return 0


def measured(session, app) -> dict[str, dict[str, float]]:
    """{"direct" or "api": {"first_token_ms": median, "next_token_ms": median}}."""
    import httpx
    import openai
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical"))
    address, stop = _started(server)
    client = openai.OpenAI(base_url=f"{address}/v1", api_key="-", http_client=httpx.Client(trust_env=False))
    asks = {
        "direct": lambda: session.stream(QUESTION, max_new_tokens=OPTIONS["max_tokens"], do_sample=False),
        "api": lambda: client.chat.completions.create(model=MODEL, messages=QUESTION, stream=True, **OPTIONS),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in asks}
    try:
        for number in range(WARM_UP_RUNS + RUNS):
            for name, ask in asks.items():
                found = _times_ms(ask)
                if number >= WARM_UP_RUNS:
                    times[name].append(found)
    finally:
        stop()
    names = ("first_token_ms", "next_token_ms")
    return {name: {key: round(median(column), 3) for key, column in zip(names, zip(*rows, strict=True), strict=True)}
            for name, rows in times.items()}  # fmt: skip


def _times_ms(ask) -> tuple[float, float]:
    """Milliseconds to the first piece, and from each to the next."""
    began = time.perf_counter()
    moments = [time.perf_counter() for _ in ask()]
    return 1000 * (moments[0] - began), 1000 * (moments[-1] - moments[0]) / max(1, len(moments) - 1)


def _started(server) -> tuple[str, object]:
    """The address of `server`, which runs in a thread, and what ends it."""
    import threading

    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)

    def stop() -> None:
        server.should_exit = True
        thread.join()

    return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", stop
