"""The figures of `evaluate` as Markdown, for the terminal and for model cards."""

from collections.abc import Iterable

from .accuracy import wilson_interval


def as_table(figures: dict) -> str:
    """All tables, one under the other."""
    settings = ", ".join(f"{name} {value}" for name, value in figures["settings"].items())
    parts = [
        f"Measured with {settings}.",
        accuracy_table(figures),
        known_table(figures),
        curve_table("guidance scale", figures["guidance curve"]),
        curve_table("steps", figures["steps curve"]),
        "The same at guidance scale 2:",
        curve_table("steps", figures["steps curve at scale 2"]),
        negative_prompt_table(figures),
        quality_table(figures),
        judge_table(figures),
    ]
    return "\n\n".join(parts)


def accuracy_table(figures: dict) -> str:
    """Shares right with their 95 % intervals, for both splits."""

    def cell(split, share, n):
        low, high = wilson_interval(share, n)
        return f"{share:.3f} ({low:.2f} to {high:.2f})"

    splits = [figures[split] for split in ("train", "heldout")]
    names = [name for name in splits[0]["per_attribute"] if name in splits[1]["per_attribute"]]
    rows = [[a, *(cell(a, s["per_attribute"][a], s["counts"][a]) for s in splits)] for a in names]
    rows.append(["mean", *(f"{s['mean']:.3f}" for s in splits)])
    rows.append(["all right at once", *(cell(None, s["all_right"], s["n"]) for s in splits)])
    return _table(("attribute", "training split", "held-out combinations"), rows)


def beside_table(figures_by_name: dict[str, dict]) -> str:
    """What matters most, of several models side by side."""
    cells = {
        "prompts of each split": lambda f: str(f["train"]["n"]),
        "mean accuracy over attributes": lambda f: f"{f['train']['mean']:.3f}",
        "all right at once": lambda f: f"{f['train']['all_right']:.3f}",
        "all right at once, held-out combinations": lambda f: f"{f['heldout']['all_right']:.3f}",
        "Fréchet distance over its floor": lambda f: f"{f['frechet distance'] / f['frechet floor']:.1f}",
        "PSNR of the VAE": lambda f: f"{f['vae']['psnr']:.1f} dB",
    }
    rows = [[name, *(cell(f) for f in figures_by_name.values())] for name, cell in cells.items()]
    return _table(("beside", *figures_by_name), rows)


def known_table(figures: dict) -> str:
    from .evaluate import SEEDS_OF_KNOWN

    rows = [(prompt, right) for prompt, right in figures["known prompts"].items()]
    return _table(("prompt", f"right, of {SEEDS_OF_KNOWN}"), rows)


def curve_table(of: str, points: list[dict]) -> str:
    """One row for each point of a curve along `of`."""

    def cell(name, value):
        return f"{value:.3f}" if isinstance(value, float) and name != of else value

    return _table(points[0], [[cell(*item) for item in point.items()] for point in points])


def negative_prompt_table(figures: dict) -> str:
    rates = figures["negative prompt"]
    rows = [(name, *(f"{share:.3f}" for share in shares.values())) for name, shares in rates.items()]
    return _table(('"a cat wearing a hat", negative prompt', *rates["none"]), rows)


def quality_table(figures: dict) -> str:
    frechet, floor = figures["frechet distance"], figures["frechet floor"]
    rows = [
        ("PSNR of the VAE on held-out renders", f"{figures['vae']['psnr']:.1f} dB"),
        ("SSIM of the VAE on held-out renders", f"{figures['vae']['ssim']:.3f}"),
        ("Fréchet distance in the judge's features", f"{frechet:.2f}"),
        ("the same of as many renders (the floor)", f"{floor:.2f}, so {frechet / floor:.1f} times"),
        ("CLIP score (pocket-clip)", f"{figures['clip score']:.1f}"),
        ("pocket-clip picks a render's caption among 32", f"{figures['clip caption choice']:.3f}"),
    ]
    return _table(("quality", "measured"), rows)


def judge_table(figures: dict) -> str:
    rows = [(name, f"{share:.3f}") for name, share in figures["judge on renders"].items()]
    return _table(("the judge on fresh renders", "right"), rows)


def pixel_table(figures: dict) -> str:
    """The figures of `evaluate_pixel_model`, as one table or three."""
    floor = figures["frechet floor"]
    if "accuracy" not in figures:
        times = figures["frechet distance"] / floor
        rows = [
            ("Fréchet distance in the judge's features", f"{figures['frechet distance']:.1f}"),
            ("the same of as many drawn pictures (the floor)", f"{floor:.1f}, so {times:.1f} times"),
        ]
        return _table(("quality", "measured"), rows)
    scale = figures["settings"]["guidance scale"]
    rows = [(name, f"{share:.2f}") for name, share in figures["accuracy by class"].items()]
    rows.append(("all", f"{figures['accuracy']:.3f}"))
    by_class = _table((f"class, at guidance scale {scale:g}", "right"), rows)
    return "\n\n".join(
        [
            by_class,
            curve_table("guidance scale", figures["guidance curve"]),
            f"The floor of the Fréchet distance, that of as many drawn pictures, is {floor:.1f}.",
        ]
    )


def _table(head: Iterable, rows: Iterable[Iterable]) -> str:
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])
