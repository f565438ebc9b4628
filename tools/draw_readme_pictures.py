"""Draw the two pictures of the README: `python tools/draw_readme_pictures.py`."""

import dataclasses
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from sdcourse import image_grid, load_pipeline, text_to_image
from sdcourse.data.gallery import ATTRIBUTES, random_scenes, render
from sdcourse.images import to_pil
from sdcourse.metrics import evaluation_prompts

DOCS = Path(__file__).resolve().parent.parent / "docs"
SEEDS = (0, 1, 2, 3)
PICTURE = 128  # pixels of 64 drawn twice as large


def gallery_sheet() -> Image.Image:
    """One row per style, 14 scenes each."""
    scenes = random_scenes(14 * len(ATTRIBUTES["style"]), seed=7)
    styled = [dataclasses.replace(s, style=ATTRIBUTES["style"][i // 14]) for i, s in enumerate(scenes)]
    return image_grid(to_pil(render(styled, 96)), cols=14, padding=2)


def contact_sheet() -> Image.Image:
    """Each of the ten prompts under its four pictures, in two columns."""
    pipe = load_pipeline("pocket-sd")
    font = ImageFont.load_default(15)
    cell = (4 * (PICTURE + 2) - 2, PICTURE + 26)
    sheet = Image.new("RGB", (2 * cell[0] + 16, 5 * cell[1]), "white")
    for k, prompt in enumerate(p.text for p in evaluation_prompts(10, "known")):
        images = text_to_image(
            pipe, prompt, guidance_scale=5.0, num_inference_steps=25, seed=SEEDS, scheduler="dpm++",
            num_images_per_prompt=len(SEEDS), progress=False,
        )  # fmt: skip
        large = [image.resize((PICTURE, PICTURE), Image.Resampling.LANCZOS) for image in images]
        x, y = (k % 2) * (cell[0] + 16), (k // 2) * cell[1]
        sheet.paste(image_grid(large, rows=1, padding=2), (x, y))
        text = textwrap.shorten(prompt, 80)
        ImageDraw.Draw(sheet).text((x + 2, y + PICTURE + 3), text, fill=(40, 40, 40), font=font)
    return sheet


if __name__ == "__main__":
    DOCS.mkdir(exist_ok=True)
    gallery_sheet().convert("P", palette=Image.Palette.ADAPTIVE).save(DOCS / "gallery.png", optimize=True)
    contact_sheet().save(DOCS / "contact_sheet.png", optimize=True)
