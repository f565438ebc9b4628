"""`load_pipeline`: a Stable Diffusion from a name, a folder or a single file."""

from __future__ import annotations

import inspect
import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sdcourse import runtime
from sdcourse.errors import check_name
from sdcourse.models import registry
from sdcourse.models.hub import fetch_folder, wanted_parts
from sdcourse.models.integrity import (
    PICKLE_REASON,
    DamagedWeights,
    check_files,
    file_damage,
    is_half,
    list_files,
    missing_files,
    pickled_parts,
    read_parts,
    restore_hint,
    weight_files,
)
from sdcourse.models.my_sd import MY_SD, check_my_sd

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline, StableDiffusionPipeline

_PICKLES = (".ckpt", ".bin", ".pt", ".pth")
_UNET = "model.diffusion_model."
# What a single file of a whole Stable Diffusion holds: the start of its tensors' names, and what they are.
_SINGLE_FILE_PARTS = {
    "UNet": (_UNET,),
    "VAE": ("first_stage_model.",),
    "text encoder": ("cond_stage_model.", "conditioner.embedders."),
}


def load_pipeline(
    name: str | Path | None = None,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    *,
    allow_pickle: bool = False,
    safety_checker: bool = False,
    config: str | Path | None = None,
) -> StableDiffusionPipeline:
    """Load a Stable Diffusion, ready to use.

    Nothing is loaded before it is checked: all files there, weights whole, and the shipped ones as released.

    Args:
        name: one of `sdcourse.models.MODELS`, such as "pocket-sd" (shipped) or "sd15" (from a hub, once);
            "my-sd", what you trained in lessons 04 to 06; or the path of a folder in the layout of
            `diffusers`, or of a single .safetensors file. Without it, the model of the profile. A folder that
            has the name of a model is meant by "./name".
        device: "cpu", "cuda", "cuda:1", "mps"; without it, the best one there is.
        dtype: precision to compute in, whatever the files hold; without it float16 on CUDA, else float32.
        allow_pickle: also take .ckpt and .bin weights. Opening a pickle can run any code that its author put
            into it. `torch` opens them with a restricted reader, which is a second lock and no guarantee.
        safety_checker: also load the network that blackens pictures which it takes for unsafe, where the
            model has one. Lesson 15 is about it.
        config: for a single file, the folder (or the name) of a model of the same architecture, which gives
            the tokenizer and the configurations that such a file lacks. Without it they come from the package
            for a file that fits pocket-sd, and from the hub, once, for Stable Diffusion 1.x, 2.1 (the version
            for 768×768) and XL.

    Returns:
        The pipeline on `device`: of the class that the model's folder names, mostly a
        `StableDiffusionPipeline`. Its own progress bar stays on.

    Raises:
        ValueError: unknown name, device, dtype or kind of file; pickles without `allow_pickle`; or parts of
            my-sd that do not fit each other.
        FileNotFoundError: the path does not exist, or a part of my-sd is not trained yet.
        DamagedWeights: files are missing, truncated or changed; names one and says how to restore it.
        WeightsUnavailable: not on this machine and not to be downloaded; within a second when offline.
    """
    source = name if name is not None else registry.default_model()
    spec = registry.MODELS.get(source) if isinstance(source, str) else None
    if source == MY_SD:
        path = check_my_sd()
    else:
        path = None if spec else _existing_path(source)
    device = _checked_device(device)
    dtype = _checked_dtype(dtype, device)

    if config is not None and (path is None or path.is_dir()):
        raise ValueError("config= is for single files only: a folder holds its own configurations.")
    if path is not None and path.is_file():
        if safety_checker:
            raise ValueError("A single file holds no safety checker: leave out safety_checker=True.")
        pipe = _load_file(path, dtype, allow_pickle, config)
    else:
        if path is None:
            path = _model_folder(spec, safety_checker=safety_checker, allow_pickle=allow_pickle)
        pipe = _load_folder(path, dtype, allow_pickle, safety_checker)
    _check_tokenizers(pipe, path)
    return pipe.to(device)


def _existing_path(source: str | Path) -> Path:
    path = Path(source).expanduser()
    if str(source) and path.exists():
        return path
    for spec in registry.MODELS.values():
        if source in spec.repositories:
            raise ValueError(f"{source!r} is a repository on the hub: load it by its name, {spec.name!r}.")
    looks_like_a_path = set(str(source)) & set("/\\~") or path.suffix in (".safetensors", *_PICKLES)
    if looks_like_a_path or isinstance(source, Path):
        raise FileNotFoundError(f"There is no file or folder {str(source)!r} (looked in {Path.cwd()}).")
    try:
        check_name("model", source, [*registry.MODELS, MY_SD])
    except ValueError as error:
        allowed = str(error).removesuffix(".")
        raise ValueError(f"{allowed}, or the path of a diffusers folder or of a .safetensors file.") from None


def _checked_device(device: str | torch.device | None) -> str:
    if device is None:
        return runtime.default_device()
    kind, *number = str(device).split(":", 1)
    return ":".join([check_name("device", kind, runtime.available_devices()), *number])


def _checked_dtype(dtype: torch.dtype | None, device: str) -> torch.dtype:
    default = runtime.default_dtype(device)
    if dtype is not None and not isinstance(dtype, type(default)):
        raise ValueError(
            f"dtype is one of torch's, such as torch.float16, not {dtype!r}."
        )  # diffusers ignores it
    return default if dtype is None else dtype


def _model_folder(spec: registry.ModelSpec, **wanted: bool) -> Path:
    """The local folder of a model that is known by name."""
    if not spec.folder:
        return fetch_folder(spec.name, spec.repositories, **wanted)
    if not (spec.folder / "model_index.json").is_file():
        raise DamagedWeights(f"{spec.folder} is missing or empty; {restore_hint(spec.folder)}.")
    return spec.folder


def _load_folder(
    folder: Path, dtype: torch.dtype, allow_pickle: bool, safety_checker: bool
) -> DiffusionPipeline:
    index = folder / "model_index.json"
    if not index.is_file():
        raise ValueError(f"{folder} is not a pipeline folder of diffusers: it has no model_index.json.")
    if damage := file_damage(index):
        raise DamagedWeights(f"{index} {damage}; {restore_hint(index)}.")
    if safety_checker and "safety_checker" not in read_parts(folder):
        raise ValueError(f"{folder} holds no safety checker: leave out safety_checker=True.")

    parts = wanted_parts(read_parts(folder), safety_checker)
    files = list_files(folder)
    pickled = pickled_parts(files, parts)
    if pickled and not allow_pickle:
        file = weight_files(files, pickled[0], allow_pickle=True)[0]
        raise ValueError(f"{folder / file} is a pickle, and {PICKLE_REASON}.")
    for file in missing_files(files, parts):
        raise DamagedWeights(f"{folder / file} is missing; {restore_hint(folder / file)}.")
    half_first = dtype.itemsize == 2
    weights = [file for part in parts for file in weight_files(files, part, half_first=half_first)]
    configs = [file for file in sorted(files) if file.split("/")[0] in parts and file.endswith(".json")]
    check_files(folder, configs + weights)  # and no others: a folder may hold more than is loaded
    with _quiet():
        pipeline_class = _pipeline_class(folder)
        return pipeline_class.from_pretrained(
            str(folder),
            # Without it, half-precision files give a float16 text encoder beside a float32 UNet.
            **_dtype_argument(dtype),
            variant="fp16" if any(map(is_half, weights)) else None,
            # None lets a pickle in where a part has nothing else.
            use_safetensors=None if pickled else True,
            local_files_only=True,
            **_without_safety_checker(pipeline_class, safety_checker),
        )


def _load_file(
    path: Path, dtype: torch.dtype, allow_pickle: bool, config: str | Path | None
) -> DiffusionPipeline:
    if path.suffix in _PICKLES and not allow_pickle:
        raise ValueError(f"{path} is a pickle, and {PICKLE_REASON}.")
    if path.suffix not in (".safetensors", *_PICKLES):
        raise ValueError(f"{path} is not a weights file, which ends in .safetensors (or .ckpt: a pickle).")
    if path.suffix == ".safetensors" and (damage := file_damage(path)):
        raise DamagedWeights(f"{path} {damage}; {restore_hint(path)}.")

    shapes = _tensor_shapes(path)
    absent = [
        part for part, starts in _SINGLE_FILE_PARTS.items() if not any(k.startswith(starts) for k in shapes)
    ]
    if absent:
        raise ValueError(
            f"{path} is not a whole Stable Diffusion in one file: it has no {' and no '.join(absent)}; "
            "to load one part of a pipeline, pass the folder that holds its model_index.json."
        )
    folder = _config_folder(path, shapes, config)
    with _quiet():
        pipeline_class = _pipeline_class(folder)
        return pipeline_class.from_single_file(
            str(path),
            config=str(folder),
            **_dtype_argument(dtype),
            local_files_only=True,
            **_without_safety_checker(pipeline_class, safety_checker=False),
        )


def _tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors in a weights file, without reading the tensors."""
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(path, framework="np") as file:
            return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}

    import torch

    try:
        tensors = torch.load(path, map_location="meta", weights_only=True)
    except Exception as error:  # unpickling can raise anything
        raise ValueError(
            f"{path} cannot be opened with torch's restricted reader, the only one that this course uses; "
            "use a copy in .safetensors."
        ) from error
    while "state_dict" in tensors:
        tensors = tensors["state_dict"]
    return {key: tuple(value.shape) for key, value in tensors.items() if isinstance(value, torch.Tensor)}


def _config_folder(path: Path, shapes: dict[str, tuple[int, ...]], config: str | Path | None) -> Path:
    """The folder whose tokenizer and configurations belong to the tensors of a single file."""
    first = shapes.get(f"{_UNET}input_blocks.0.0.weight", (0, 0))
    keys = [v for k, v in shapes.items() if k.startswith(_UNET) and k.endswith("attn2.to_k.weight")]
    found = {
        "block_out_channels": first[0],
        "in_channels": first[1],
        "cross_attention_dim": keys[0][1] if keys else 0,
    }

    if config is None:
        pocket = registry.MODELS["pocket-sd"].folder
        if (pocket / "unet" / "config.json").is_file() and _unet_sizes(pocket) == found:
            return pocket
        known = {768: "sd15", 1024: "sd21", 2048: "sdxl"}
        config = known.get(found["cross_attention_dim"])
        if config is None:
            raise ValueError(
                f"{path} is of no known architecture ({_in_words(found)}): pass config=, the folder of a "
                "pipeline of the same architecture, which gives the tokenizer and the configurations."
            )
    spec = registry.MODELS.get(config) if isinstance(config, str) else None
    if spec is None:
        folder = _existing_path(config)
        if not (folder / "unet" / "config.json").is_file() or not (folder / "model_index.json").is_file():
            raise ValueError(f"config={str(config)!r} is not a pipeline folder of diffusers.")
    elif spec.folder:
        folder = _model_folder(spec)
    else:
        folder = fetch_folder(f"the configuration of {spec.name}", spec.repositories, weights=False)
    if _unet_sizes(folder) != found:
        raise ValueError(
            f"{path} does not fit the configuration in {folder}: the file has {_in_words(found)}, the "
            f"configuration {_in_words(_unet_sizes(folder))}; pass config= with a folder that fits."
        )
    return folder


def _unet_sizes(folder: Path) -> dict[str, int]:
    config = json.loads((folder / "unet" / "config.json").read_text(encoding="utf-8"))
    return {
        "block_out_channels": config["block_out_channels"][0],
        "in_channels": config["in_channels"],
        "cross_attention_dim": config["cross_attention_dim"],
    }


def _in_words(sizes: dict[str, int]) -> str:
    return (
        f"{sizes['in_channels']} input channels, {sizes['block_out_channels']} channels in the first block "
        f"and text states of width {sizes['cross_attention_dim']}"
    )


def _pipeline_class(folder: Path) -> type[DiffusionPipeline]:
    import diffusers

    name = json.loads((folder / "model_index.json").read_text(encoding="utf-8")).get("_class_name")
    if not isinstance(name, str) or not hasattr(diffusers, name):
        raise ValueError(f"{folder} is a {name}, which diffusers {diffusers.__version__} does not have.")
    return getattr(diffusers, name)


def _dtype_argument(dtype: torch.dtype) -> dict[str, torch.dtype]:
    """Pipelines take `dtype` since diffusers 0.40; before, they ignore it and want `torch_dtype`."""
    import diffusers
    from packaging.version import Version

    return {"dtype" if Version(diffusers.__version__) >= Version("0.40") else "torch_dtype": dtype}


def _without_safety_checker(pipeline_class: type[DiffusionPipeline], safety_checker: bool) -> dict:
    """Arguments that leave the safety checker out, for classes that have one."""
    arguments = inspect.signature(pipeline_class.__init__).parameters
    if safety_checker or "requires_safety_checker" not in arguments:
        return {}
    return {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


def _check_tokenizers(pipe: DiffusionPipeline, path: Path) -> None:
    """Refuse a tokenizer that does not belong to its text encoder: pictures would ignore the prompt.

    transformers gives an empty tokenizer, without an error, where its files are missing.
    """
    for suffix in ("", "_2"):
        tokenizer = getattr(pipe, f"tokenizer{suffix}", None)
        text_encoder = getattr(pipe, f"text_encoder{suffix}", None)
        if tokenizer is None or text_encoder is None:
            continue
        rows = text_encoder.get_input_embeddings().num_embeddings
        if tokenizer.vocab_size <= 100 or rows not in (tokenizer.vocab_size, len(tokenizer)):
            raise DamagedWeights(
                f"The tokenizer{suffix} of {path} has {len(tokenizer)} tokens, but the text encoder expects "
                f"{rows}; {restore_hint(path)}."
            )


@contextmanager
def _quiet():
    """No bars and no chatter of the libraries while a pipeline loads; what the user had set comes back."""
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # before diffusers, whose import makes transformers speak
    from diffusers.utils import logging as diffusers_logging

    if runtime.is_set_up():
        runtime.quiet_libraries()  # setup() could not reach what is imported only now
    diffusers_verbosity = diffusers_logging.get_verbosity()
    diffusers_logging.set_verbosity_error()
    with_bars = [lib for lib in (transformers_logging, diffusers_logging) if lib.is_progress_bar_enabled()]
    for library in with_bars:
        library.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        diffusers_logging.set_verbosity(diffusers_verbosity)
        for library in with_bars:
            library.enable_progress_bar()
