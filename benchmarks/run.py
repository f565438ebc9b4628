"""Time things side by side: `make benchmarks` (about two minutes on two cores).

Each pair alternates within one run, after a warm-up, so that a busy machine slows both; what counts is the
ratio. Writes benchmarks/results.json and benchmarks/README.md, where widget_latency.py adds the times of the
explorer in a browser.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

import sdcourse
from sdcourse.data import BatchLoader, load_fashion
from sdcourse.data.gallery import random_scenes, render
from sdcourse.runtime import quiet_libraries

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.json"
LATENCY = HERE / "widget_latency.json"  # of widget_latency.py, once it has run
TRAINING = HERE / "time_to_accuracy.json"  # of time_to_accuracy.py, once it has run
ROUNDS = 7
PROMPT = "a cat wearing a white hat in the snow"


def alternate(rounds: int = ROUNDS, **functions: Callable[[], object]) -> dict[str, list[float]]:
    """Seconds of each function, called in turns; the first round warms up and does not count."""
    seconds = {name: [] for name in functions}
    for number in range(rounds + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def pair(title: str, seconds: dict[str, list[float]]) -> dict:
    """The first of two against the second: medians, ranges, and the median of the ratios round by round."""
    first, second = seconds
    ratios = [a / b for a, b in zip(seconds[first], seconds[second], strict=True)]
    return {
        "title": title,
        "seconds": {name: summary(values) for name, values in seconds.items()},
        "ratio": summary(ratios),
    }


def summary(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def sampling(pipe) -> list[dict]:
    """Our loop against the pipeline of diffusers, and against itself."""
    pipe.set_progress_bar_config(disable=True)

    def ours(scale, n=1):
        return sdcourse.text_to_image(
            pipe,
            PROMPT,
            guidance_scale=scale,
            num_inference_steps=20,
            num_images_per_prompt=n,
            progress=False,
        )

    def theirs(scale):
        return pipe(PROMPT, guidance_scale=scale, num_inference_steps=20)

    return [
        pair("text_to_image against StableDiffusionPipeline, guidance scale 7.5, 20 steps",
             alternate(ours=partial(ours, 7.5), pipeline=partial(theirs, 7.5))),
        pair("text_to_image against StableDiffusionPipeline, guidance scale 1, 20 steps",
             alternate(ours=partial(ours, 1.0), pipeline=partial(theirs, 1.0))),
        pair("guidance scale 1 against 7.5: the unconditional half is not computed",
             alternate(scale_1=partial(ours, 1.0), scale_7_5=partial(ours, 7.5))),
        pair("one batch of 8 pictures against 8 single ones",
             alternate(batch=partial(ours, 7.5, 8), singles=lambda: [ours(7.5) for _ in range(8)])),
    ]  # fmt: skip


def renderer() -> dict:
    """Pictures a second, drawn 1,024 at once."""
    scenes = random_scenes(1024, seed=0)
    seconds = alternate(render=lambda: render(scenes))["render"]
    return {"title": "pictures a second of the renderer, 64×64", **summary([1024 / s for s in seconds])}


def loaders() -> dict:
    """Forty batches of clothing from our loader, against a transform for each picture in a `DataLoader`."""
    dataset = load_fashion("pocket")["train"]

    def transform(rows):
        images = [torch.tensor(np.asarray(image)) / 127.5 - 1 for image in rows["image"]]
        return {
            "images": [F.pad(image, [2] * 4, value=-1)[None] for image in images],
            "labels": rows["label"],
        }

    by_batch = BatchLoader(dataset, batch_size=64)
    by_picture = DataLoader(dataset.with_transform(transform), batch_size=64, shuffle=True)
    return pair(
        "40 batches of 64 pictures of clothing: by batch against picture by picture",
        alternate(
            by_batch=lambda: list(islice(by_batch, 40)), by_picture=lambda: list(islice(by_picture, 40))
        ),
    )


def imports() -> dict[str, dict]:
    """Seconds that a fresh Python takes to import the package and to load the pipeline."""
    start = "import time; t = time.perf_counter(); import sdcourse; "
    programs = {
        "import sdcourse": start + "print(time.perf_counter() - t)",
        "import and load_pipeline()": start + "sdcourse.load_pipeline(); print(time.perf_counter() - t)",
    }
    return {name: summary([_seconds_printed(p) for _ in range(3)]) for name, p in programs.items()}


def _seconds_printed(program: str) -> float:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def arithmetic(pipe) -> dict[str, float]:
    """What one picture of 20 guided steps costs, and what the machine could do at best."""
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with counter:
        sdcourse.text_to_image(pipe, PROMPT, guidance_scale=7.5, num_inference_steps=20, progress=False)
    matrix = torch.randn(2048, 2048)
    seconds = statistics.median(alternate(matmul=lambda: matrix @ matrix)["matmul"])
    rate = 2 * 2048**3 / seconds
    return {
        "operations for a picture": counter.get_total_flops(),
        "operations a second of a matrix product": rate,
    }


def machine() -> str:
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), torch {torch.__version__} with "
        f"{torch.get_num_threads()} threads, Python {platform.python_version()}"
    )


def as_markdown(results: dict) -> str:
    rows = [
        f"| {p['title']} | "
        + " | ".join(f"{name.replace('_', ' ')} {s['median']:.3f} s" for name, s in p["seconds"].items())
        + f" | {p['ratio']['median']:.2f} ({p['ratio']['least']:.2f} to {p['ratio']['most']:.2f}) |"
        for p in results["pairs"]
    ]
    loads = [f"| {name} | {s['median']:.2f} s |" for name, s in results["imports"].items()]
    operations, rate = results["arithmetic"].values()
    floor = operations / rate
    picture = results["pairs"][0]["seconds"]["ours"]["median"]
    r = results["renderer"]
    return f"""# Benchmarks

`make benchmarks` writes this page. Pairs alternate in one run; the ratio is the first against the second,
median of {ROUNDS} rounds and range.

Machine: {results["machine"]}.

| what | first | second | ratio |
|---|---|---|---|
{chr(10).join(rows)}

| in a fresh Python | median of 3 |
|---|---|
{chr(10).join(loads)}

The renderer draws {r["median"]:,.0f} pictures of 64×64 a second ({r["least"]:,.0f} to {r["most"]:,.0f}).

One picture of 20 guided steps takes {operations / 1e9:.1f} billion floating-point operations (in matrix
products and convolutions). A large matrix product runs here at {rate / 1e9:.0f} billion a second, which
gives a floor of {floor:.3f} s; a picture takes {picture:.2f} s, {picture / floor:.1f} times the floor.
"""


def latency_as_markdown(results: dict) -> str:
    rows = [
        f"| {what} | {s['median']:.2f} s | {s['least']:.2f} to {s['most']:.2f} s | {len(s['times'])} |"
        for what, s in results.items()
        if what != "machine"
    ]
    return f"""
## The explorer in a browser

`benchmarks/widget_latency.py` writes this part: times of PromptExplorer with pocket-sd and 20 steps, from
the event in the browser to the frame with the picture.

Machine: {results["machine"]}.

| to the | median | range | times |
|---|---|---|---|
{chr(10).join(rows)}
"""


def training_as_markdown(results: dict) -> str:
    """How long a class-conditional model trains until the judge reads its pictures."""
    rows = [
        f"| {name} | {point['seconds']:.0f} s | {point['pictures']:,} | {point['accuracy']:.2f} |"
        for name, curve in results["curves"].items()
        for point in curve[:: 2 if name == "ours" else 1][:8]
    ]
    return f"""
## Time to accuracy

`benchmarks/time_to_accuracy.py` writes this part. Two recipes for clothing by class train beside each other,
one thread each: ours (`sdcourse train fashion`) and the usual one of tutorials (16 million weights, learning
rate 3e-4, batches of 64, no averaging). Both are measured with 100 pictures of 25 DDPM steps; the clock
stands still meanwhile.

| recipe | training | pictures seen | the judge reads right |
|---|---|---|---|
{chr(10).join(rows)}

Compared at {results["accuracy of the usual recipe"]:.2f}, the best that the usual recipe reached:
ours took {results["seconds of ours"]:.0f} s, the usual {results["seconds of the usual"]:.0f} s,
a ratio of {results["ratio"]:.2f}. Ours was at 0.90 after {results["seconds of ours to 0.90"]:.0f} s.
Computed from its pace, the usual recipe takes {results["hours of 25 usual epochs, computed"]:.0f} hours
on one thread for its 25 epochs,
and {results["hours to draw 100 pictures in 1000 steps, computed"]:.1f} hours to draw 100 pictures in
1000 steps.
"""


def write_readme() -> str:
    """The page, from the figures in both files; also returned."""
    text = as_markdown(json.loads(RESULTS.read_text()))
    if LATENCY.exists():
        text += latency_as_markdown(json.loads(LATENCY.read_text()))
    if TRAINING.exists():
        text += training_as_markdown(json.loads(TRAINING.read_text()))
    (HERE / "README.md").write_text(text)
    return text


def main():
    quiet_libraries()
    pipe = sdcourse.load_pipeline("pocket-sd", device="cpu")
    results = {
        "machine": machine(),
        "pairs": [*sampling(pipe), loaders()],
        "renderer": renderer(),
        "imports": imports(),
        "arithmetic": arithmetic(pipe),
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(write_readme())


if __name__ == "__main__":
    main()
