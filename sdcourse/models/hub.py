"""From a hub repository to a local folder: the cache first, then the mirrors in order.

Pipelines are then loaded from that folder only. Loading by repository name would wait up to four minutes for
a network that is not there, and give an empty tokenizer where one file cannot be had.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sdcourse.models.integrity import (
    PICKLE_REASON,
    has_weights,
    list_files,
    missing_files,
    parse_parts,
    pickled_parts,
    read_parts,
    weight_files,
)
from sdcourse.network import answered_in_time, reason


class WeightsUnavailable(RuntimeError):
    """Weights are not on this machine and cannot be downloaded."""


def fetch_folder(
    name: str,
    repositories: Sequence[str],
    *,
    weights: bool = True,
    safety_checker: bool = False,
    allow_pickle: bool = False,
    endpoint: str | None = None,
) -> Path:
    """A local folder with the pipeline of one of `repositories`: from the cache, else downloaded.

    What is complete in the cache is used without asking the hub, so that it works offline and goes on working
    when a repository is removed. Only what the pipeline loads is downloaded: its configurations, tokenizers
    and half-precision .safetensors (full precision where there is no half), never single files at the root.

    Args:
        name: of the model, for messages.
        repositories: ids such as "CompVis/stable-diffusion-v1-4", tried in order.
        weights: False for configurations and tokenizers only.
        safety_checker: whether the safety checker is wanted too (about 600 MB more).
        allow_pickle: whether .bin weights may be taken where there is nothing else.
        endpoint: address of the hub; without it HF_ENDPOINT, or huggingface.co.

    Raises:
        WeightsUnavailable: one sentence with what was tried and what to do.
    """
    from huggingface_hub import constants

    def lacks(files: set[str], parts: dict[str, str]) -> str | None:
        parts = wanted_parts(parts, safety_checker)
        if missing := missing_files(files, parts, weights):
            return f"it lacks {', '.join(missing)}"
        if weights and not allow_pickle and (pickled := pickled_parts(files, parts)):
            return f"it holds {', '.join(pickled)} only as a pickle (.bin), and {PICKLE_REASON}"
        return None

    for repository in repositories:
        folder = _cached(repository)
        if folder and not lacks(list_files(folder), read_parts(folder)):
            return folder

    if constants.HF_HUB_OFFLINE:
        raise WeightsUnavailable(
            f"The weights of {name} are not on this machine, and offline mode is on (HF_HUB_OFFLINE=1; the "
            "pocket profile sets it): use load_pipeline('pocket-sd'), or connect and run setup('full') once, "
            f"or pass the path of a local folder; looked in the cache for {', '.join(repositories)}."
        )

    tried = []
    for repository in repositories:
        try:
            folder = _download(repository, lacks, weights, safety_checker, allow_pickle, endpoint)
        except _Unsuitable as unsuitable:
            tried.append(f"{repository}: {unsuitable}")
        # All classes: huggingface_hub has had three HTTP libraries, whose errors share no base class.
        except Exception as error:
            tried.append(f"{repository}: {reason(error)}")
            if getattr(error, "response", None) is None:
                break  # the hub itself did not answer, so the other repositories cannot be there either
        else:
            return folder
    raise WeightsUnavailable(
        f"The weights of {name} are not on this machine and could not be downloaded ({'; '.join(tried)}): "
        "use load_pipeline('pocket-sd'), or connect and try again, or pass the path of a local folder."
    )


def wanted_parts(parts: dict[str, str], safety_checker: bool) -> dict[str, str]:
    """`parts` without the safety checker and the image processor that only it needs, unless it is wanted."""
    if safety_checker:
        return parts
    return {part: cls for part, cls in parts.items() if part not in ("safety_checker", "feature_extractor")}


class _Unsuitable(Exception):
    """The repository is there, but the pipeline in it is incomplete or not safe to load."""


def _cached(repository: str) -> Path | None:
    """The cached snapshot of a repository, complete or not; None if it lacks model_index.json."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(
            snapshot_download(repository, local_files_only=True, allow_patterns=["model_index.json"])
        )
    except (OSError, ValueError):
        return None
    return folder if (folder / "model_index.json").is_file() else None


def _download(
    repository: str,
    lacks: Callable[[set[str], dict[str, str]], str | None],
    weights: bool,
    safety_checker: bool,
    allow_pickle: bool,
    endpoint: str | None,
) -> Path:
    """Download what is needed of one repository and return its folder."""
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download

    api = HfApi(endpoint=endpoint)
    info = answered_in_time(lambda: api.model_info(repository))
    files = {sibling.rfilename for sibling in info.siblings}
    if "model_index.json" not in files:
        raise _Unsuitable("it is not a diffusers pipeline (no model_index.json)")
    index = hf_hub_download(repository, "model_index.json", revision=info.sha, endpoint=endpoint)
    parts = parse_parts(Path(index).read_text(encoding="utf-8"))
    if lack := lacks(files, parts):
        raise _Unsuitable(lack)  # before gigabytes come down

    wanted = ["model_index.json"]
    for part, class_name in wanted_parts(parts, safety_checker).items():
        wanted += [
            f for f in files if f.startswith(f"{part}/") and f.endswith((".json", ".txt", "tokenizer.model"))
        ]
        if weights and has_weights(class_name):
            wanted += weight_files(files, part, allow_pickle)
    return Path(snapshot_download(repository, allow_patterns=wanted, endpoint=endpoint))
