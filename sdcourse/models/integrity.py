"""Are the files of a pipeline folder all there, and whole?

Checked before anything is loaded, because the libraries answer badly: a missing tokenizer gives an empty one
without an error, a truncated file an error that does not name it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path

from sdcourse.models import registry

CHECKSUMS = "SHA256SUMS"

PICKLE_REASON = (
    "a pickle can run any code that its author put into it; use a copy in .safetensors files, "
    "or pass allow_pickle=True if you trust where it comes from"
)

# The names under which diffusers and transformers save: half precision or not, whole or in numbered pieces.
_WEIGHTS = re.compile(
    r"(?:diffusion_pytorch_model|pytorch_model|model)(?P<half>\.fp16)?(?:-\d{5}-of-(?P<pieces>\d{5}))?"
    r"(?P<half_last>\.fp16)?\.(?P<format>safetensors|bin)"
)
_TOKENIZERS = ("Tokenizer", "TokenizerFast")
_PROCESSORS = ("Processor", "FeatureExtractor")


class DamagedWeights(RuntimeError):
    """A weights folder lacks files, or holds files that are not what was released."""


def read_parts(folder: Path) -> dict[str, str]:
    """Parts of the pipeline in `folder` with the names of their classes, as model_index.json lists them."""
    return parse_parts((folder / "model_index.json").read_text(encoding="utf-8"))


def parse_parts(model_index: str) -> dict[str, str]:
    """Like `read_parts`, for the text of a model_index.json."""
    entries = json.loads(model_index).items()
    return {
        name: value[1]
        for name, value in entries
        if not name.startswith("_") and isinstance(value, list) and len(value) == 2 and value[1] is not None
    }


def list_files(folder: Path) -> set[str]:
    """All files below `folder`, as paths relative to it with `/`."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def has_weights(class_name: str) -> bool:
    """Whether a part of this class is a network, as opposed to a scheduler, tokenizer or image processor."""
    return not class_name.endswith(("Scheduler", *_TOKENIZERS, *_PROCESSORS))


def weight_files(
    files: Iterable[str], part: str, allow_pickle: bool = False, half_first: bool = True
) -> list[str]:
    """The weight files of one part: safetensors, in half precision or not; pickles only if nothing else is.

    Args:
        files: paths relative to the pipeline folder.
        part: for example "unet".
        allow_pickle: whether .bin files may be taken.
        half_first: which precision to take where both are there.

    Returns:
        One path, or all pieces of a file saved in pieces; empty if there is no complete set.
    """
    prefix = f"{part}/"
    names = [f.removeprefix(prefix) for f in files if f.startswith(prefix)]
    matches = [m for m in map(_WEIGHTS.fullmatch, sorted(names)) if m]
    for file_format in ("safetensors", "bin") if allow_pickle else ("safetensors",):
        for half in (half_first, not half_first):
            found = [
                m for m in matches if m["format"] == file_format and bool(m["half"] or m["half_last"]) == half
            ]
            whole = [m for m in found if not m["pieces"]]
            if whole:
                return [prefix + whole[0].string]
            if found and len(found) == int(found[0]["pieces"]):
                return [prefix + m.string for m in found]
    return []


def is_half(file: str) -> bool:
    """Whether a weight file is the half-precision variant, by its name."""
    return ".fp16" in file.rsplit("/", 1)[-1]


def pickled_parts(files: Iterable[str], parts: dict[str, str]) -> list[str]:
    """Parts whose only weights are pickles."""
    return [
        part
        for part, class_name in parts.items()
        if has_weights(class_name)
        and not weight_files(files, part)
        and weight_files(files, part, allow_pickle=True)
    ]


def missing_files(files: Iterable[str], parts: dict[str, str], weights: bool = True) -> list[str]:
    """What a pipeline folder lacks; where one of several files would do, the usual one.

    Args:
        files: paths relative to the pipeline folder.
        parts: parts of the pipeline with the names of their classes.
        weights: whether weights are needed too, or only configurations and tokenizers.
    """
    files = set(files)
    missing = []
    for part, class_name in parts.items():
        if class_name.endswith(_TOKENIZERS):
            words = {f"{part}/vocab.json", f"{part}/merges.txt"}
            single = any(
                f.startswith(f"{part}/") and f.endswith((".model", "/tokenizer.json")) for f in files
            )
            if not single and not words <= files:
                missing.append(f"{part}/tokenizer.json")
        elif class_name.endswith("Scheduler"):
            missing += {f"{part}/scheduler_config.json"} - files
        elif class_name.endswith(_PROCESSORS):
            missing += {f"{part}/preprocessor_config.json"} - files
        else:
            missing += {f"{part}/config.json"} - files
            if weights and not weight_files(files, part, allow_pickle=True):
                of_diffusers = class_name.startswith(("UNet", "Autoencoder"))
                name = "diffusion_pytorch_model" if of_diffusers else "model"
                missing.append(f"{part}/{name}.safetensors")
    return missing


def file_damage(path: Path) -> str | None:
    """What is wrong with a .safetensors or .json file, in a few words; None if it is whole.

    A .safetensors file states the length of all its tensors: a truncated one is found without reading it all.
    """
    try:
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
            return None
        with path.open("rb") as file:
            if file.read(12) == b"version http":
                return "is only a Git LFS pointer (run `git lfs pull`)"

        from safetensors import safe_open

        with safe_open(path, framework="np"):
            return None
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    except Exception as error:  # safetensors raises its own class, json a ValueError: both mean "not whole"
        return f"is damaged ({str(error).strip() or type(error).__name__})"


def verify_weights(folder: str | Path | None = None) -> list[str]:
    """Check a weights folder: pipelines complete, files whole, checksums as released.

    Checksums are compared where SHA256SUMS, in the folder or in its parent, has a line for a file.

    Args:
        folder: a pipeline folder, or a folder of several; without it, all weights that come with the package.

    Returns:
        One sentence for each problem, with how to restore the file; empty when all is well.
    """
    if folder is None:
        shipped = [spec.folder for spec in registry.MODELS.values() if spec.folder]
        absent = [f"{path} is missing; {restore_hint(path)}." for path in shipped if not path.is_dir()]
        return absent + (verify_weights(registry.WEIGHTS_ROOT) if registry.WEIGHTS_ROOT.is_dir() else [])
    folder = Path(folder).resolve()
    if not folder.is_dir():
        return [f"{folder} is missing; {restore_hint(folder)}."]

    files = list_files(folder)
    problems = {}
    for index in sorted(f for f in files if f.rsplit("/", 1)[-1] == "model_index.json"):
        home = (folder / index).parent
        if damage := file_damage(folder / index):
            problems[folder / index] = damage
        else:
            problems |= {home / f: "is missing" for f in missing_files(list_files(home), read_parts(home))}
    for file in sorted(files):
        if file.endswith((".safetensors", ".json")) and (damage := file_damage(folder / file)):
            problems[folder / file] = damage
    for path, checksum in _released_checksums(folder).items():
        if not path.is_file():
            problems.setdefault(path, "is missing")
        elif path not in problems and _sha256(path) != checksum:
            problems[path] = "differs from the released file (sha256)"
    return [f"{path} {what}; {restore_hint(path)}." for path, what in problems.items()]


def check_files(folder: Path, files: Iterable[str]) -> None:
    """Raise `DamagedWeights` unless these files of a pipeline folder are whole and as released."""
    released = _released_checksums(folder)
    for path in (folder / file for file in files):
        damage = file_damage(path) if path.suffix in (".safetensors", ".json") else None
        checksum = released.get(path.absolute())
        if not damage and checksum and _sha256(path) != checksum:
            damage = "differs from the released file (sha256)"
        if damage:
            raise DamagedWeights(f"{path} {damage}; {restore_hint(path)}.")


def write_checksums(weights_root: str | Path) -> Path:
    """Write SHA256SUMS for all .safetensors files below `weights_root`.

    Only these: Git may change the line ends of text files.

    Returns:
        The path of the file, with lines `<sha256>  <path relative to weights_root>`, sorted.
    """
    root = Path(weights_root)
    names = sorted(f for f in list_files(root) if f.endswith(".safetensors"))
    path = root / CHECKSUMS
    lines = [f"{_sha256(root / name)}  {name}\n" for name in names]
    path.write_text("".join(lines), encoding="utf-8", newline="\n")
    return path


def _released_checksums(folder: Path) -> dict[Path, str]:
    """Checksums by absolute path, for files below `folder`."""
    folder = folder.absolute()
    for root in (folder, folder.parent):
        if (root / CHECKSUMS).is_file():
            text = (root / CHECKSUMS).read_text(encoding="utf-8")
            pairs = re.findall(r"^([0-9a-f]{64})  (.+)$", text, flags=re.MULTILINE)
            checksums = {root / name.strip(): checksum for checksum, name in pairs}
            return {path: checksum for path, checksum in checksums.items() if path.is_relative_to(folder)}
    return {}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def restore_hint(path: Path) -> str:
    """How to get a file back, by where it lies."""
    path = path.absolute()
    if path.is_relative_to(registry.WEIGHTS_ROOT):
        inside = path.relative_to(registry.WEIGHTS_ROOT).as_posix()
        return (
            f"restore it with `git checkout -- sdcourse/weights/{inside}` in a clone, "
            "or with `pip install --force-reinstall --no-deps sdcourse`"
        )
    if "snapshots" in path.parts and path.is_symlink():
        # The cache of the hub: a snapshot is a folder of links; only when the file behind one is gone is it
        # downloaded again.
        return f"delete {path.resolve()} and load again to download it anew"
    return "copy or download it again"
