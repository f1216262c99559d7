"""Ray and Ray Serve (2.60): the switches that they read from the environment, and their undocumented parameters.

- RAY_SWITCHES: no usage statistics, a token for whoever connects, replicas as important as the page.
- `~/ray_bootstrap_config.yaml`: even with statistics off, Ray asks 169.254.169.254 and the name server which cloud it
  runs on, unless this file is there; and it reports that they are off, unless `ray.init` started the cluster.
- `_node_ip_address`: without it, Ray looks for an address of this machine by connecting to the outside.
- The consistent-hashing router is experimental: it keeps a session on one replica.

Noticed by tests/serving/.
"""

import os
import secrets
from pathlib import Path

RAY_SWITCHES = {
    "RAY_USAGE_STATS_ENABLED": "0", "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9/", "RAY_AUTH_MODE": "token",
    "RAY_worker_niceness": "0",  # replicas are as important as the page
    "RAY_SERVE_QUEUE_LENGTH_RESPONSE_DEADLINE_S": "1",  # who computes may take a moment to say how busy it is
}  # fmt: skip
SESSION_ROUTER = "ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"
OBJECT_STORE_BYTES = 512 << 20


def set_environment(root: Path) -> None:
    """The environment of Ray's processes and of this one, before Ray is imported: they connect to nobody, and only
    those who know a token connect to them. They import our code from `root`, and have a home folder below it.
    """
    home = root / "build" / "ray-home"
    home.mkdir(parents=True, exist_ok=True)
    (home / "ray_bootstrap_config.yaml").write_text("{}\n")
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    os.environ.update(RAY_SWITCHES, HOME=str(home), PYTHONPATH=path)
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def start_cluster(cpus: int, logging_level: str = "warning") -> None:
    """A Ray cluster on this machine alone, for `cpus` CPUs, and Ray Serve on it without its HTTP proxy."""
    import ray
    from ray import serve

    ray.init(
        num_cpus=cpus, object_store_memory=OBJECT_STORE_BYTES, include_dashboard=False, logging_level=logging_level,
        log_to_driver=False, _node_ip_address="127.0.0.1",
    )  # fmt: skip
    serve.start(proxy_location="Disabled")
