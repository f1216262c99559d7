"""What the tests of `serving/` share: a small Ray cluster on this machine, and replicas of the practice model on it.

Without Ray (requirements-serve.txt), none of them is collected. Nodes are local and stay on the loopback; after the
last test everything is shut down, and a process that is left over fails the run.
"""

import contextlib
import functools
import importlib.util
import os
import threading
import time
from pathlib import Path

import pytest

from serving.front import quiet

ROOT = Path(__file__).resolve().parent.parent.parent

if importlib.util.find_spec("ray") is None:
    collect_ignore_glob = ["test_*.py"]

HERE = "127.0.0.2"  # the loopback; Ray takes 127.0.0.1 for "the address that other machines know"
NODE = {"object_store_memory": 100 << 20, "node_ip_address": HERE}


def ray_processes() -> list[int]:
    """Of this machine, by their command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (folder / "cmdline").read_bytes().decode(errors="replace")
            if any(name in command for name in ("raylet", "gcs_server", "ray::", "ServeReplica")):
                found.append(int(folder.name))
    return found


@pytest.fixture(scope="session")
def cluster():
    """ray.cluster_utils.Cluster of one node with two CPUs; tests add and remove others."""
    import ray
    from ray._private import node
    from ray.cluster_utils import Cluster

    quiet()
    before = set(ray_processes())
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    # Told that it is `ray.init`'s own, a cluster does not report that it reports nothing (see serving.front.quiet).
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(node, "Node", functools.partial(node.Node, ray_init_cluster=True))
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False, **NODE})
    try:
        ray.init(nodes.address, logging_level="error", log_to_driver=False, _node_ip_address=HERE)
        ray.serve.start(proxy_location="Disabled")
        yield nodes
    finally:
        with contextlib.suppress(Exception):
            ray.serve.shutdown()
        ray.shutdown()
        nodes.shutdown()
    end = time.monotonic() + 20
    while (left := set(ray_processes()) - before) and time.monotonic() < end:
        time.sleep(0.2)
    assert not left, f"left over: {left}"


def deploy(folder, name: str, **options):
    """The handle of replicas of the model in `folder`, of which `pid` tells the process."""
    from ray import serve

    from serving.replica import DEPLOYMENT
    from tests.serving.tested import Tested, exact

    options = DEPLOYMENT | {"num_replicas": 2, "ray_actor_options": {"num_cpus": 1}} | options
    application = serve.deployment(Tested).options(name="Replica", **options).bind(str(folder), 1, exact)
    return serve.run(application, name=name, route_prefix=None)


@pytest.fixture(scope="session")
def handle(cluster, int4_dir):
    return deploy(int4_dir, "chat")


@pytest.fixture(scope="session")
def remote(handle, processor):
    from serving.remote import RemoteSession

    return RemoteSession(handle, processor, at_once=4)


@pytest.fixture(scope="session")
def direct(int4_dir):
    """The same model in this process."""
    from tests.serving.tested import exact

    return exact(str(int4_dir), 1)


@contextlib.contextmanager
def listening(app):
    """The address of `app`, served in a thread."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
