"""What the tests of `serving/` share: a small Ray cluster on this machine, and replicas of the practice model on it.

Without Ray (requirements-serve.txt), none of them is collected. Nodes are local and stay on the loopback; after the
last test everything is shut down, and a process that is left over fails the run.
"""

import contextlib
import functools
import importlib.util
import io
import time
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from adapters import ray_serve
from serving.front import ROOT

HAS_RAY = importlib.util.find_spec("ray") is not None
collect_ignore_glob = [] if HAS_RAY else ["test_*.py"]
LOOPBACK = "127.0.0.2"  # the loopback; Ray takes 127.0.0.1 for "the address that other machines know"
NODE = {"object_store_memory": 100 << 20, "node_ip_address": LOOPBACK}
TIMEOUT_S = 240  # on a busy machine
POLL_S = 0.05


def pytest_configure(config):
    if HAS_RAY:
        ray_serve.set_environment(ROOT)  # before Ray is imported, which reads it only then


def wait_until(true, seconds: float = TIMEOUT_S) -> None:
    end = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < end:
        time.sleep(POLL_S)
    assert found


def ray_processes() -> set[int]:
    """Of this machine, by their command line."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (folder / "cmdline").read_bytes().decode(errors="replace")
            if any(name in command for name in ("raylet", "gcs_server", "ray::", "ServeReplica")):
                found.add(int(folder.name))
    return found


@pytest.fixture(scope="session")
def cluster():
    """ray.cluster_utils.Cluster of one node, told that it has four CPUs; tests add and remove others."""
    before = ray_processes()
    import ray
    from ray._private import node
    from ray.cluster_utils import Cluster

    # Told that it is `ray.init`'s own, a cluster does not report that it reports nothing (see adapters.ray_serve).
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(node, "Node", functools.partial(node.Node, ray_init_cluster=True))
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 4, "include_dashboard": False, **NODE})
    try:
        ray.init(nodes.address, logging_level="error", log_to_driver=False, _node_ip_address=LOOPBACK)
        ray.serve.start(proxy_location="Disabled")
        yield nodes
    finally:
        with contextlib.suppress(Exception):
            ray.serve.shutdown()
        ray.shutdown()
        nodes.shutdown()
    wait_until(lambda: not ray_processes() - before, 30)


def deploy(folder, name: str, **options):
    """The handle of replicas of the model in `folder`, of which `state` tells what they do."""
    from ray import serve

    from serving.replica import DEPLOYMENT
    from tests.serving.tested import Tested, exact

    options = DEPLOYMENT | {"num_replicas": 2, "ray_actor_options": {"num_cpus": 1}} | options
    application = serve.deployment(Tested).options(name="Replica", **options).bind(str(folder), 1, exact)
    return serve.run(application, name=name, route_prefix=None)


def states(handle) -> dict[int, int]:
    """For the process of each replica, how many answers are under way there; {} while one is being replaced."""
    from ray.exceptions import RayError
    from ray.serve.exceptions import RayServeException

    try:
        return dict(handle.broadcast("state").results(timeout_s=10))
    except (RayError, RayServeException, TimeoutError):
        return {}


def idle(handle) -> bool:
    found = states(handle)
    return bool(found) and not any(found.values())


@pytest.fixture(scope="session")
def handle(cluster, int4_dir):
    return deploy(int4_dir, "tested")


@pytest.fixture(scope="session")
def remote(handle, processor):
    from serving.remote import RemoteSession

    return RemoteSession(handle, processor, max_concurrent_answers=4)


@pytest.fixture(scope="session")
def direct(int4_dir):
    """The same model in this process."""
    from tests.serving.tested import exact

    return exact(str(int4_dir), 1)


def drawing(colour="red") -> bytes:
    """Of a PNG file."""
    image = Image.new("RGB", (168, 168), "white")
    ImageDraw.Draw(image).ellipse((40, 40, 120, 120), fill=colour)
    image.save(file := io.BytesIO(), "PNG")
    return file.getvalue()


def asked(text="Describe this image.", image=None) -> list[dict]:
    media = [{"type": "image", "image": image}] if image else []
    return [{"role": "user", "content": [*media, {"type": "text", "text": text}]}]
