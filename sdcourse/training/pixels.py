"""Train the small diffusion models on pixels: clothing without and with classes, and gallery pictures."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import UNet2DModel
from diffusers.models.attention_processor import Attention, AttnProcessor

from sdcourse.data import BatchLoader, load_fashion
from sdcourse.data.fashion import CLASSES
from sdcourse.models.components import SMALL_SIZE, make_pixel_scheduler, make_pixel_unet
from sdcourse.models.judge import Judge

from .batches import gallery_batch
from .loop import start_from, train_for

BATCH_SIZE = 32
LEARNING_RATE = 1e-3
LABEL_DROPOUT = 0.1
JUDGE_LEARNING_RATE = 2e-3


def pixel_loss(unet, scheduler, clean_images, labels=None) -> torch.Tensor:
    """The noise prediction loss (Ho et al., 2020, eq. 14), every timestep weighted alike.

    Or that of the velocity, where the scheduler says so (Salimans and Ho, 2022, appendix D). As in the
    lessons; min-SNR weights (Hang et al., 2023), with which pocket-sd is trained, count nearly clean steps
    for little.

    Args:
        clean_images: (n, channels, 32, 32) in [-1, 1].
        labels: (n,), for a model that knows classes.
    """
    # Sample noise to add to the images
    noise = torch.randn_like(clean_images)
    # Sample a random timestep for each image
    steps = scheduler.config.num_train_timesteps
    timesteps = torch.randint(0, steps, (len(clean_images),), device=clean_images.device)
    noisy_images = scheduler.add_noise(clean_images, noise, timesteps)
    # Get the model prediction: of the noise, or of the velocity between noise and images
    prediction = unet(noisy_images, timesteps, class_labels=labels).sample
    by_velocity = scheduler.config.prediction_type == "v_prediction"
    target = scheduler.get_velocity(clean_images, noise, timesteps) if by_velocity else noise
    # Compare the prediction with what it should be
    return F.mse_loss(prediction.float(), target)


def fashion_batches(seed: int, batch_size: int = BATCH_SIZE) -> Iterator[dict[str, torch.Tensor]]:
    """Endless batches of the training split."""
    loader = BatchLoader(load_fashion()["train"], batch_size, seed=seed)
    while True:
        yield from loader


def gallery_batches(seed: int) -> Iterator[dict[str, torch.Tensor]]:
    """Endless batches of gallery pictures, reduced to 32×32."""
    step = 0
    while True:
        _, images = gallery_batch(step, BATCH_SIZE, seed=4_000_000 + seed)
        yield {"images": F.avg_pool2d(images, images.shape[-1] // SMALL_SIZE)}
        step += 1


def train_fashion(folder: Path, budget: float, device: str, seed: int = 0) -> UNet2DModel:
    """Clothing by class, with a null class for classifier-free guidance, in `folder/fashion`."""
    null = len(CLASSES)

    def drop(labels):
        dropped = torch.rand(len(labels), device=labels.device) < LABEL_DROPOUT
        return torch.where(dropped, null, labels)

    make = partial(make_pixel_unet, num_class_embeds=null + 1)
    return _train(folder, "fashion", fashion_batches, make, budget, device, seed, drop)


def train_fashion_unconditional(folder: Path, budget: float, device: str, seed: int = 0) -> UNet2DModel:
    """Clothing without classes, in `folder/fashion-unconditional`.

    It predicts the velocity: what is drawn is decided at the noisiest steps, where an error in the noise is
    up to 160 times as large in the picture. By class, much is decided beforehand.
    """
    return _train(
        folder, "fashion-unconditional", fashion_batches, make_pixel_unet, budget, device, seed,
        prediction_type="v_prediction",
    )  # fmt: skip


def train_gallery_pixels(folder: Path, budget: float, device: str, seed: int = 0) -> UNet2DModel:
    """Gallery pictures of 32×32 without captions, in `folder/gallery-pixels`."""
    make = partial(make_pixel_unet, channels=3)
    return _train(folder, "gallery-pixels", gallery_batches, make, budget, device, seed)


def _train(
    folder: Path, name: str, batches: Callable, make: Callable, budget: float, device: str, seed: int,
    change_labels: Callable | None = None, prediction_type: str = "epsilon",
) -> UNet2DModel:  # fmt: skip
    torch.manual_seed(seed)
    unet = start_from(folder / name / "unet", UNet2DModel, make).to(device)
    use_plain_attention(unet)
    scheduler, batch = make_pixel_scheduler(prediction_type), batches(seed)

    def compute_loss(step):
        drawn = next(batch)
        images = drawn["images"]
        labels = change_labels(drawn["labels"].to(device)) if change_labels else None
        with torch.autocast(device, torch.bfloat16):
            return pixel_loss(unet, scheduler, images.to(device), labels), {}

    train_for(budget, unet, compute_loss, folder / "runs" / name, LEARNING_RATE)
    unet.save_pretrained(folder / name / "unet")
    scheduler.save_pretrained(folder / name / "scheduler")
    return unet


def use_plain_attention(unet: UNet2DModel) -> None:
    """Attention written out: the fused one's backward pass is slow on a CPU."""
    for module in unet.modules():
        if isinstance(module, Attention):
            module.set_processor(AttnProcessor())


def train_fashion_judge(folder: Path, budget: float, device: str, seed: int = 0) -> Judge:
    """Reads the class of clothing; in `folder/fashion-judge`. Half of its batches are a little noisy."""
    torch.manual_seed(seed)
    path = folder / "fashion-judge"
    judge = Judge.load(path) if path.is_dir() else Judge({"class": CLASSES}, channels=1, size=SMALL_SIZE)
    judge, batch = judge.to(device), fashion_batches(seed + 1)

    def compute_loss(step):
        drawn = next(batch)
        images, labels = drawn["images"].to(device), drawn["labels"].to(device)
        if step % 2:
            images = images + 0.1 * torch.rand(len(images), 1, 1, 1, device=device) * torch.randn_like(images)
        logits = judge(images)["class"]
        accuracy = (logits.argmax(1) == labels).float().mean()
        return F.cross_entropy(logits, labels), {"accuracy": accuracy.item()}

    train_for(budget, judge, compute_loss, folder / "runs" / "fashion-judge", JUDGE_LEARNING_RATE, 0.05)
    judge.save(path)
    return judge
