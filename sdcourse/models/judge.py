"""The judges: small classifiers that read every attribute of a gallery picture, or the class of clothing.

They tell whether a picture shows what was asked for, and their features give a Fréchet distance.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from sdcourse.data.gallery import ATTRIBUTES, Scene
from sdcourse.errors import check_name

from .integrity import DamagedWeights, verify_weights
from .registry import WEIGHTS_ROOT

FEATURES = 192
FOLDERS = {"gallery": "judge", "fashion": "judge-fashion"}
_WIDTHS = (32, 64, 128, FEATURES)


class Judge(nn.Module):
    """Pictures (n, channels, size, size) in [-1, 1] to one set of logits for each attribute.

    Args:
        attributes: names with their values; those of the gallery unless told otherwise.
        size: a multiple of 16.
    """

    def __init__(
        self, attributes: dict[str, tuple[str, ...]] = ATTRIBUTES, channels: int = 3, size: int = 64
    ):
        super().__init__()
        self.channels, self.size = channels, size
        self.attributes = {name: tuple(values) for name, values in attributes.items()}
        layers = []
        for width in _WIDTHS:
            layers += [nn.Conv2d(channels, width, 4, 2, 1, bias=False), nn.BatchNorm2d(width), nn.SiLU()]
            layers += [_Residual(width)]
            channels = width
        self.trunk = nn.Sequential(*layers)
        self.mix = nn.Sequential(nn.Linear(FEATURES * (size // 16) ** 2, FEATURES), nn.SiLU())
        self.heads = nn.ModuleDict({k: nn.Linear(FEATURES, len(v)) for k, v in self.attributes.items()})

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """(n, 192)."""
        return self.mix(self.trunk(images).flatten(1))

    def early_features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """What its first two stages see, (n, 32, size / 2, size / 2) and (n, 64, size / 4, size / 4)."""
        stages, x = [], images
        for layer in self.trunk[:8]:
            x = layer(x)
            if isinstance(layer, _Residual):
                stages.append(x)
        return stages

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        features = self.features(images)
        return {name: head(features) for name, head in self.heads.items()}

    @torch.no_grad()
    def read(self, images: torch.Tensor, batch_size: int = 256) -> list[dict[str, str]]:
        """What each picture shows.

        Args:
            images: (n, channels, size, size) in [-1, 1].
        """
        device = next(self.parameters()).device
        readings = []
        for part in images.split(batch_size):
            best = {k: logits.argmax(1).tolist() for k, logits in self(part.to(device)).items()}
            readings += [{k: self.attributes[k][v[i]] for k, v in best.items()} for i in range(len(part))]
        return readings

    def save(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        state = {k: v.half() if v.is_floating_point() else v for k, v in self.state_dict().items()}
        save_file({k: v.contiguous() for k, v in state.items()}, folder / "model.safetensors")
        config = {"attributes": self.attributes, "channels": self.channels, "size": self.size}
        (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "Judge":
        config = json.loads((folder / "config.json").read_text())
        judge = cls(**config)
        state = load_file(folder / "model.safetensors")
        judge.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
        return judge.eval()


class _Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv, self.norm, self.act = (
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.SiLU(),
        )

    def forward(self, x):
        return x + self.act(self.norm(self.conv(x)))


def labels(
    scenes: list[Scene], attributes: dict[str, tuple[str, ...]] = ATTRIBUTES
) -> dict[str, torch.Tensor]:
    """The attributes of scenes as class numbers, (n,) each."""
    return {k: torch.tensor([v.index(getattr(s, k)) for s in scenes]) for k, v in attributes.items()}


def load_judge(of: str = "gallery", device: str | None = None) -> Judge:
    """A shipped judge, ready to read.

    Args:
        of: "gallery" reads pictures (n, 3, 64, 64), "fashion" clothing (n, 1, 32, 32).

    Raises:
        ValueError: for another judge.
        DamagedWeights: one of its files is missing or damaged; names it and says how to restore it.
    """
    folder = WEIGHTS_ROOT / FOLDERS[check_name("judge", of, FOLDERS)]
    if problems := verify_weights(folder):
        raise DamagedWeights(problems[0])
    return Judge.load(folder).to(device or "cpu")
