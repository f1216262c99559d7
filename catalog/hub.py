"""`fetch_model`: a model of the hub as a folder on this machine, whole, or an error in plain words.

    folder = fetch_model("Qwen/Qwen2-VL-2B-Instruct")  # ~/.cache/huggingface/hub/models--Qwen--.../snapshots/<revision>

huggingface_hub downloads, into its own cache, and obeys its settings: HF_HOME, HF_ENDPOINT, HF_HUB_OFFLINE, a log-in.
A cut connection is taken up again where it broke. Files that are whole are kept when the download fails all the same;
the one that was on its way begins anew, since huggingface_hub 1.x keeps no half of a file.
Here, too: what a name on the hub looks like. Not here: exporting, loading, which models there are.
"""

import contextlib
import errno
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from adapters.library_telemetry import turn_off_library_telemetry
from catalog.errors import ModelFolderError, read_json
from catalog.model_folder import THINKING, is_exported, require_model_dir, require_source_dir, what_is_not_run
from environment.machine import existing

HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")  # owner/name; not a path such as ./folder or ../folder
ORIGINAL = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
OPENVINO = ("openvino_*.xml", "openvino_*.bin", *ORIGINAL[1:])
SUBFOLDERS = "*/*"  # other formats of the same model, which nothing here reads
NO_SPACE = "No space left on device"  # in the text of an error of hf_xet's
AGAIN = "Run this again later: what is whole is kept"


def is_hub_id(text: str) -> bool:
    """Whether `text` has the form of a name on the hub, owner/name. Nobody is asked."""
    return HUB_ID.fullmatch(text) is not None


class HubError(RuntimeError):
    """A model that the hub did not give; the message says why, and what to do next."""


@dataclass(frozen=True)
class HubModel:
    """What the hub says of a model before its weights are downloaded."""

    config: dict
    size: int  # bytes of the files that would be downloaded
    exported: bool  # OpenVINO's already


def fetch_model(model) -> Path:
    """The folder of `model`: downloaded, unless it is there already. A folder is returned as it is.

    model: a name on the hub, such as "Qwen/Qwen2-VL-2B-Instruct". Without a network, what was downloaded earlier will
    do. Raises HubError, before anything is downloaded where the disk has no room for it.
    """
    name = str(model)
    if name and (folder := Path(name).expanduser()).is_dir():  # an empty path would mean the current folder
        return folder
    with in_plain_words(name):
        files = files_on_the_hub(name)
        if files is not None:
            read_config(name)  # another kind of model is refused before its weights come
            require_room(name, sum(file.file_size for file in files if file.will_download))
        folder = snapshot(name, files)
        return require_model_dir(folder) if is_exported(folder) else require_source_dir(folder)


def look_up(name: str) -> HubModel:
    """What a model on the hub is and how large, without its weights: only its config is downloaded. Raises HubError."""
    with in_plain_words(name):
        files = files_on_the_hub(name)
        if files is None:  # no network: what was downloaded earlier tells as well
            folder = snapshot(name, None)
            return HubModel(read_config(name), 0, is_exported(folder))
        return HubModel(read_config(name), sum(file.file_size for file in files), any(map(is_openvinos, files)))


def read_config(name: str) -> dict:
    """The model's config.json. Raises HubError for a model of another kind than this tutorial's."""
    from huggingface_hub import hf_hub_download

    config = read_json(Path(hf_hub_download(name, "config.json")))
    if problem := what_is_not_run(config):
        raise HubError(f"{name} is {problem}")
    if "thinking" in name.lower():  # the config is the Instruct model's; a folder's chat template tells as well
        raise HubError(f"{name} is {THINKING}")
    return config


def files_on_the_hub(name: str):
    """huggingface_hub's list of the files that are needed (name, size, in the cache or not); None without a network."""
    turn_off_library_telemetry()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import DryRunError

    try:
        files = snapshot_download(name, allow_patterns=[*ORIGINAL, *OPENVINO], ignore_patterns=SUBFOLDERS, dry_run=True)
    except DryRunError as error:
        if is_unreachable(error.__cause__):
            return None
        raise error.__cause__ or error from None
    exported = any(map(is_openvinos, files))
    return [file for file in files if not (exported and file.filename.endswith(".safetensors"))]


def is_openvinos(file) -> bool:
    """Whether a file of the hub's list is a graph of OpenVINO's."""
    return file.filename.startswith("openvino_") and file.filename.endswith(".xml")


def snapshot(name: str, files) -> Path:
    """Downloads `files` where they are not in the cache; with None, finds what was downloaded earlier."""
    from huggingface_hub import snapshot_download

    if files is None:
        return Path(snapshot_download(name, local_files_only=True))
    # One at a time, so that a download that fails loses one file and not every file.
    return Path(snapshot_download(name, allow_patterns=[file.filename for file in files], max_workers=1))


def require_room(name: str, size: int) -> None:
    """Raises HubError where the disk of the hub's cache has no room for `size` bytes."""
    from huggingface_hub import constants

    free = shutil.disk_usage(existing(Path(constants.HF_HUB_CACHE).absolute())).free
    if size > free:
        raise HubError(f"{name} takes {size / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free on the disk of the hub's "
                       "cache. Free some, or set HF_HOME to a folder on a larger disk; nothing was downloaded.")


# ---- what went wrong -------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def in_plain_words(name: str):
    """Around calls of huggingface_hub: turns what they raise about the model `name` into HubError."""
    import httpx
    from huggingface_hub.errors import HFValidationError

    try:
        yield
    except HubError:
        raise
    except ModelFolderError as error:
        raise HubError(f"{name} is on this machine now, but: {error}") from error
    except (OSError, RuntimeError, httpx.HTTPError, HFValidationError) as error:  # RuntimeError: hf_xet's only one
        raise HubError(reason(name, root_of(error))) from error


def root_of(error: BaseException) -> BaseException:
    """The error that says most: an answer of the server or a broken connection, else the innermost one."""
    import httpx

    chain = [error]
    while cause := chain[-1].__cause__:
        chain.append(cause)
    return next((link for link in chain if isinstance(link, httpx.HTTPError)), chain[-1])


def is_unreachable(error: BaseException | None) -> bool:
    """Whether an error says that the hub could not be asked."""
    import httpx
    from huggingface_hub.errors import OfflineModeIsEnabled

    return isinstance(error, (OfflineModeIsEnabled, httpx.ConnectError, httpx.TimeoutException))


def reason(name: str, error: BaseException) -> str:
    """One or two sentences: what is the matter, and what to do."""
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, GatedRepoError):
        return (f"{name} is gated: its owner gives it to those who accept terms. Open {constants.ENDPOINT}/{name}, "
                "accept them, then log in here with `hf auth login`.")
    if isinstance(error, (RepositoryNotFoundError, HFValidationError)) or status in (401, 404):
        return (f"There is no folder {name!r} here, and no model of that name on the hub, unless it is private. Check "
                "the spelling (owner/name); for a private one, log in with `hf auth login`.")
    if status == 429:
        return ("The hub answers no more requests from here for now (429, too many). Wait some minutes, or log in with "
                f"`hf auth login`, which allows more. {AGAIN}.")
    if status is not None:
        return f"The hub answered {status} when asked for {name}. {AGAIN}."
    return reason_on_this_side(name, error)


def reason_on_this_side(name: str, error: BaseException) -> str:
    """The same for what is no answer of the hub: the disk, the network."""
    import httpx
    from huggingface_hub import constants
    from huggingface_hub.errors import LocalEntryNotFoundError

    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or NO_SPACE in str(error):
        return f"The disk of the hub's cache is full: free some, or set HF_HOME to a folder on a larger one. {AGAIN}."
    if isinstance(error, LocalEntryNotFoundError) and constants.HF_HUB_OFFLINE:
        return (f"{name} has not been downloaded yet, and HF_HUB_OFFLINE forbids the network. "
                "Unset it, or choose a model that is on disk.")
    if isinstance(error, (LocalEntryNotFoundError, httpx.ConnectError, httpx.TimeoutException)):
        return (f"The hub cannot be reached, and {name} has not been downloaded yet. Check the network (behind a "
                "proxy, set HTTPS_PROXY), or choose a model that is on disk.")
    if isinstance(error, httpx.TransportError):
        return f"The connection broke off while {name} was being downloaded. {AGAIN}."
    return f"{name} could not be downloaded ({type(error).__name__}: {error}). {AGAIN}."
