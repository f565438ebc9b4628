"""Pictures: every form is understood, shown as one output with alternative text, saved and loaded safely."""

import base64
import http.server
import io
import re
import subprocess
import sys
import threading
import time
import types

import numpy as np
import pytest
import torch
from PIL import Image

from sdcourse.images import (
    files,
    image_grid,
    load_image,
    save_image,
    show,
    show_image,
    show_images,
    to_pil,
    to_tensor,
    unique_path,
)


def noise(size=64, seed=0):
    """A picture that compresses badly: the worst case for size limits."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def plain(color, size=(64, 64)):
    return Image.new("RGB", size, color)


# --- between tensors, arrays and PIL


RED = np.zeros((2, 4, 3), dtype=np.uint8)  # (H, W, 3): not square, so that swapped axes are noticed
RED[:, :, 0] = 255
RED[0, 3] = (0, 255, 0)  # the upper right corner is green, so that mirroring is noticed
RED_TENSOR = torch.from_numpy(RED).permute(2, 0, 1)  # (3, H, W)


@pytest.mark.parametrize(
    ("form", "count"),
    [
        (Image.fromarray(RED), 1),
        (RED, 1),
        (RED / 255, 1),
        (RED.astype(np.float32) / 255, 1),
        (np.stack([RED, RED]), 2),
        (RED_TENSOR, 1),
        (RED_TENSOR.float() / 255, 1),
        (RED_TENSOR.half() / 255, 1),
        (RED_TENSOR.bfloat16() / 255, 1),
        (RED_TENSOR.double() / 255, 1),
        ((RED_TENSOR.float() / 255).requires_grad_(), 1),
        (torch.stack([RED_TENSOR] * 3), 3),
        ([Image.fromarray(RED), RED, RED_TENSOR], 3),
        ((RED for _ in range(2)), 2),
        ([torch.stack([RED_TENSOR] * 2), RED], 3),
    ],
    ids=lambda value: value if isinstance(value, int) else getattr(value, "dtype", type(value).__name__),
)
def test_every_form_gives_the_same_picture(form, count):
    items = list(form) if isinstance(form, types.GeneratorType) else form
    pictures = to_pil(items)
    assert len(pictures) == count
    for picture in pictures:
        assert picture.mode == "RGB"
        assert (np.asarray(picture) == RED).all()
    tensor = to_tensor(items)
    assert tensor.shape == (count, 3, 2, 4) and tensor.dtype == torch.float32
    assert torch.allclose(tensor, RED_TENSOR.float().div(255).expand(count, -1, -1, -1), atol=1e-6)


@pytest.mark.parametrize(
    "form",
    [
        np.array([[0, 255], [255, 0]], dtype=np.uint8),
        np.array([[False, True], [True, False]]),
        np.array([[0.0, 1.0], [1.0, 0.0]])[..., None],
        torch.tensor([[0, 255], [255, 0]], dtype=torch.uint8),
        torch.tensor([[False, True], [True, False]]),
        torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]),
        torch.tensor([[[[0.0, 1.0], [1.0, 0.0]]]]),
        Image.fromarray(np.array([[0, 255], [255, 0]], dtype=np.uint8)),
    ],
)
def test_grey_and_masks(form):
    expected = np.array([[0, 255], [255, 0]], dtype=np.uint8)[..., None].repeat(3, -1)
    assert (np.asarray(to_pil(form)[0]) == expected).all()
    assert torch.equal(to_tensor(form)[0], torch.from_numpy(expected).permute(2, 0, 1) / 255)


def test_rounding_is_to_the_nearest_and_keeps_every_value():
    every = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)
    assert np.asarray(to_pil(every.float() / 255)[0])[..., 0].ravel().tolist() == list(range(256))
    assert np.asarray(to_pil(torch.full((2, 2), 0.999))[0]).max() == 255  # 254.7 is nearer to 255


def test_to_tensor_keeps_exact_numbers_and_gradient():
    latent = torch.full((1, 3, 2, 2), 0.12345, requires_grad=True)
    tensor = to_tensor(latent)
    tensor.sum().backward()
    assert tensor[0, 0, 0, 0].item() == pytest.approx(0.12345, abs=1e-8)
    assert torch.equal(latent.grad, torch.ones_like(latent))


def test_transparent_becomes_white_and_deep_grey_keeps_its_shades():
    clear = Image.new("RGBA", (2, 2), (0, 0, 0, 0))
    assert to_pil(clear)[0].getpixel((0, 0)) == (255, 255, 255)
    assert to_pil(clear.convert("LA"))[0].getpixel((0, 0)) == (255, 255, 255)
    deep = Image.fromarray(np.array([[0, 0x8000]], dtype=np.uint16))
    assert [p[0] for p in np.asarray(to_pil(deep)[0])[0].tolist()] == [0, 128]


@pytest.mark.parametrize(
    ("form", "error", "words"),
    [
        (torch.full((3, 4, 4), -0.5), ValueError, "(x / 2 + 0.5).clamp(0, 1)"),
        (np.full((4, 4, 3), -1.0), ValueError, "(x / 2 + 0.5).clamp(0, 1)"),
        (torch.full((3, 4, 4), 1.5), ValueError, "(x / 2 + 0.5).clamp(0, 1)"),
        (torch.full((3, 4, 4), 200.0), ValueError, "Divide by 255"),
        (torch.full((3, 4, 4), float("nan")), ValueError, "NaN"),
        (torch.zeros(1, 4, 8, 8), ValueError, "latents"),
        (torch.zeros(4, 4, 3), ValueError, ".permute(2, 0, 1)"),
        (torch.zeros(2, 8, 8, 3), ValueError, ".permute(0, 3, 1, 2)"),
        (np.zeros((3, 4, 4)), ValueError, ".transpose(1, 2, 0)"),
        (np.zeros((2, 3, 8, 8)), ValueError, ".transpose(0, 2, 3, 1)"),
        (torch.zeros(5), ValueError, "(3, H, W)"),
        (torch.zeros(0, 3, 4, 4), ValueError, "(0, 3, 4, 4)"),
        (np.zeros((4, 4, 3), dtype=np.int64), TypeError, "int64"),
        (torch.zeros(3, 4, 4, dtype=torch.int64), TypeError, "int64"),
        ([], ValueError, "no pictures"),
        ("cat.png", TypeError, "load_image"),
        (7, TypeError, "int is not a picture"),
        ([plain("red"), None], TypeError, "NoneType"),
    ],
)
@pytest.mark.parametrize("convert", [to_pil, to_tensor])
def test_what_is_no_picture_is_named(form, error, words, convert):
    with pytest.raises(error, match=re.escape(words)):
        convert(form)


def test_a_hair_outside_the_range_is_rounding():
    assert np.asarray(to_pil(torch.full((3, 2, 2), 1.0004))[0]).min() == 255


def test_one_tensor_needs_one_size():
    with pytest.raises(ValueError, match="32×32, 64×64"):
        to_tensor([plain("red"), plain("red", (32, 32))])


# --- showing


@pytest.fixture
def shown(monkeypatch):
    """What a notebook would receive: a list of (bundle, metadata)."""
    import IPython.display

    outputs = []
    monkeypatch.setattr(show, "_in_ipython", lambda: True)
    monkeypatch.setattr(
        IPython.display, "display", lambda bundle, metadata, raw: outputs.append((bundle, metadata))
    )
    return outputs


def tags(html, name):
    """The attributes of every tag of that name, as a browser would read them."""
    from html.parser import HTMLParser

    found = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            if tag == name:
                found.append(dict(attrs))

    Reader().feed(html)
    return found


def from_uri(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1])))


def whole(bundle):
    """The figure as one picture."""
    return Image.open(io.BytesIO(base64.b64decode(bundle["image/jpeg"])))


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 17, 100])
def test_any_number_is_one_output_with_alt_and_within_the_limit(shown, count):
    show_images([noise(64, seed) for seed in range(count)], alt="noise")
    assert len(shown) == 1
    bundle, metadata = shown[0]
    assert set(bundle) == {"text/html", "image/jpeg", "text/plain"}
    pictures = tags(bundle["text/html"], "img")
    assert len(pictures) == count and all(tag["alt"] for tag in pictures)
    assert "noise" in bundle["text/html"] and "noise" in bundle["text/plain"]
    assert sum(map(len, bundle.values())) <= show.OUTPUT_BYTES
    assert max(whole(bundle).size) > 64
    assert metadata["image/jpeg"]["alt"] == bundle["text/plain"]


def test_large_pictures_stay_within_the_limit(shown):
    show_images([noise(768), noise(768, 1)])
    bundle, _ = shown[0]
    assert sum(map(len, bundle.values())) <= show.OUTPUT_BYTES
    widths = [int(tag["width"]) for tag in tags(bundle["text/html"], "img")]
    assert widths[0] == widths[1] and sum(widths) <= show.FIGURE_WIDTH


@pytest.mark.parametrize(
    ("own", "size", "width", "height", "stored"),
    [
        ((64, 64), None, 192, 192, (64, 64)),
        ((64, 32), None, 192, 96, (64, 32)),
        ((8, 8), None, 192, 192, (192, 192)),
        ((28, 28), None, 196, 196, (196, 196)),
        ((256, 256), None, 256, 256, (256, 256)),
        ((2000, 1000), None, 800, 400, (800, 400)),
        ((64, 64), 100, 100, 100, (64, 64)),
        ((64, 64), 32, 32, 32, (32, 32)),
    ],
)
def test_small_pictures_are_enlarged_on_the_screen(shown, own, size, width, height, stored):
    show_image(plain("red", own), size=size)
    tag = tags(shown[0][0]["text/html"], "img")[0]
    assert (int(tag["width"]), int(tag["height"])) == (width, height)
    assert from_uri(tag["src"]).size == stored
    assert whole(shown[0][0]).size == (width, height)


def test_without_loss_when_it_fits(shown):
    picture = noise()
    show_image(picture)
    assert (
        np.asarray(from_uri(tags(shown[0][0]["text/html"], "img")[0]["src"])) == np.asarray(picture)
    ).all()


def test_enlarged_maps_keep_hard_squares_and_pictures_become_smooth(shown):
    def between(picture):
        """The share of pixels that are neither black nor white."""
        pixels = np.asarray(picture.convert("L"))
        return ((pixels > 20) & (pixels < 235)).mean()

    show_image(np.indices((8, 8)).sum(0) % 2 == 0)
    assert between(from_uri(tags(shown[0][0]["text/html"], "img")[0]["src"])) == 0
    assert between(whole(shown[0][0])) == 0
    show_image(np.indices((64, 64)).sum(0) % 2 == 0)
    assert between(whole(shown[1][0])) > 0.2


def test_titles_and_alternative_texts_reach_every_form(shown):
    show_images(
        [plain("red"), plain("blue")], titles=["scale 1 <b>", "scale 7"], alt=["a red one", "a blue one"]
    )
    bundle, _ = shown[0]
    assert [tag["alt"] for tag in tags(bundle["text/html"], "img")] == ["a red one", "a blue one"]
    assert "scale 1 &lt;b&gt;" in bundle["text/html"] and "<b>" not in bundle["text/html"]
    assert bundle["text/plain"] == (
        "[2 pictures]\n  1. picture 64×64: scale 1 <b> — a red one\n  2. picture 64×64: scale 7 — a blue one"
    )
    show_images([plain("red"), plain("blue")])
    assert whole(shown[1][0]).size == (392, 192)
    drawn = whole(bundle).convert("L")
    assert drawn.height > 192 and np.asarray(drawn.crop((0, 192, 192, drawn.height))).min() < 128  # letters


def test_titles_are_read_out_where_there_is_no_other_text(shown):
    show_images([plain("red"), plain("blue")], titles=["seed 1", "seed 2"])
    show_image(plain("red"), title='a cat, "quoted"')
    show_images([plain("red"), plain("blue")], alt="two colours")
    alts = [[tag["alt"] for tag in tags(bundle["text/html"], "img")] for bundle, _ in shown]
    assert alts == [
        ["seed 1", "seed 2"],
        ['a cat, "quoted"'],
        ["two colours (picture 1 of 2)", "picture 2 of 2"],
    ]


def test_long_titles_wrap_under_their_picture(shown):
    long = "an oil painting of a collie in a top hat, scale 7.5, seed 4"
    assert len(show._wrap(long, 192)) > 1
    show_image(plain("red"), title=long)
    assert whole(shown[0][0]).width == 192 and whole(shown[0][0]).height >= 192 + 3 * 17
    assert all(show._font().getlength(line) <= 192 for line in show._wrap(long, 192))


def test_rows_are_balanced_and_columns_obeyed(shown):
    for count, columns in [(5, None), (8, None), (5, 5), (3, 1), (2, 7)]:
        show_images([plain("red")] * count, columns=columns)
    rows = [[row.count("<img") for row in bundle["text/html"].split("</tr>")[:-1]] for bundle, _ in shown]
    assert rows == [[3, 2], [4, 4], [5], [1, 1, 1], [2]]


def test_a_plot_is_shown_once_with_its_alternative_text(shown):
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots()
    axes.plot([1, 2, 3])
    show_image(figure, alt="a rising line")
    assert shown[0][0]["text/plain"] == "[picture 640×480: a rising line]"
    assert tags(shown[0][0]["text/html"], "img")[0]["alt"] == "a rising line"
    assert not plt.fignum_exists(figure.number)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"titles": ["one"]}, "1 titles for 2 pictures"),
        ({"titles": "one"}, "1 titles for 2 pictures"),
        ({"alt": ["a", "b", "c"]}, "3 alternative texts for 2 pictures"),
        ({"columns": 0}, "one column or more"),
        ({"size": 0}, "one pixel or more"),
    ],
)
def test_bad_arguments_are_named(shown, arguments, words):
    with pytest.raises(ValueError, match=words):
        show_images([plain("red"), plain("blue")], **arguments)
    assert not shown


def test_show_image_wants_one(shown):
    with pytest.raises(ValueError, match="use show_images"):
        show_image(torch.zeros(2, 3, 4, 4))


def test_outside_a_notebook_it_prints(capsys):
    show_images([plain("red"), plain("blue", (32, 16))], titles=["a", "b"])
    assert capsys.readouterr().out == "[2 pictures]\n  1. picture 64×64: a\n  2. picture 32×16: b\n"


def test_importing_pictures_does_not_import_torch_or_matplotlib():
    code = (
        "import sys; from PIL import Image; from sdcourse import images; "
        "images.show_image(Image.new('RGB', (8, 8)), title='x'); "
        "print(sorted({'torch', 'matplotlib', 'IPython', 'diffusers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[picture 8×8: x]", "[]"]


# --- grids and files


@pytest.mark.parametrize(
    ("count", "arguments", "size"),
    [
        (1, {}, (64, 64)),
        (4, {}, (130, 130)),
        (5, {}, (196, 130)),
        (6, {"rows": 1}, (394, 64)),
        (6, {"cols": 2, "padding": 0}, (128, 192)),
        (3, {"rows": 2, "cols": 3}, (196, 130)),
    ],
)
def test_grid_has_its_own_size(count, arguments, size):
    assert image_grid([plain("red")] * count, **arguments).size == size


def test_grid_order_is_row_by_row_and_free_places_are_white():
    grid = image_grid([plain(color, (4, 4)) for color in ("red", "lime", "blue")], cols=2)
    assert [grid.getpixel(at) for at in [(1, 1), (7, 1), (1, 7), (7, 7), (5, 1)]] == [
        (255, 0, 0),
        (0, 255, 0),
        (0, 0, 255),
        (255, 255, 255),
        (255, 255, 255),
    ]


def test_grid_takes_tensors():
    assert image_grid(torch.zeros(4, 3, 8, 8)).size == (18, 18)


@pytest.mark.parametrize(
    ("pictures", "arguments", "words"),
    [
        ([plain("red"), plain("red", (32, 32))], {}, "32×32, 64×64"),
        ([plain("red")] * 5, {"rows": 2, "cols": 2}, "4 places for 5"),
        ([plain("red")], {"cols": 0}, "1 or more"),
        ([plain("red")], {"padding": -1}, "0 or more"),
        ([], {}, "no pictures"),
    ],
)
def test_grids_that_cannot_be(pictures, arguments, words):
    with pytest.raises(ValueError, match=words):
        image_grid(pictures, **arguments)


def test_saved_in_its_own_size_unless_asked(tmp_path):
    picture = noise()
    path = save_image(picture, tmp_path / "new folder" / "a.png")
    assert (np.asarray(Image.open(path)) == np.asarray(picture)).all()
    assert Image.open(save_image(picture, tmp_path / "b.png", scale=4)).size == (256, 256)
    assert Image.open(save_image(torch.zeros(3, 8, 8), str(tmp_path / "c.jpg"))).format == "JPEG"


def test_saving_never_overwrites(tmp_path):
    path = save_image(plain("red"), tmp_path / "a.png")
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match=r"a\.png exists and is kept.*unique_path"):
        save_image(plain("blue"), path)
    assert path.read_bytes() == before


def test_free_names(tmp_path):
    path = tmp_path / "cat.png"
    assert unique_path(path) == path
    save_image(plain("red"), unique_path(path))
    save_image(plain("red"), unique_path(path))
    assert unique_path(path) == tmp_path / "cat-3.png"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["cat-2.png", "cat.png"]


def test_the_prompt_travels_inside_the_file(tmp_path):
    path = save_image(plain("red"), tmp_path / "a.png", info={"prompt": "a café in 日本", "seed": "4"})
    assert Image.open(path).text == {"prompt": "a café in 日本", "seed": "4"}


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("a", {}, "end it in .png"),
        ("a.docx", {}, "end it in .png"),
        ("a.jpg", {"info": {"prompt": "x"}}, "Only PNG"),
        ("a.png", {"scale": 0}, "scale is 1 or more"),
    ],
)
def test_what_cannot_be_saved_leaves_no_file(tmp_path, name, arguments, words):
    with pytest.raises(ValueError, match=words):
        save_image(plain("red"), tmp_path / name, **arguments)
    assert list(tmp_path.iterdir()) == []


def test_save_image_wants_one(tmp_path):
    with pytest.raises(ValueError, match="these are 2"):
        save_image([plain("red")] * 2, tmp_path / "a.png")


def as_bytes(picture, kind="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    return buffer.getvalue()


def test_load_from_everything(tmp_path):
    picture = noise()
    path = save_image(picture, tmp_path / "a.png")
    with path.open("rb") as file:
        for source in (path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), picture, file):
            loaded = load_image(source)
            assert loaded.mode == "RGB" and (np.asarray(loaded) == np.asarray(picture)).all()


def test_loading_turns_the_picture_upright():
    picture = Image.new("RGB", (4, 2), "red")
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side
    assert load_image(as_bytes(picture, "JPEG", exif=exif)).size == (2, 4)


def test_a_missing_file_names_the_nearest(tmp_path):
    save_image(plain("red"), tmp_path / "collie.png")
    with pytest.raises(FileNotFoundError, match=r"no file .*colie\.png\. Did you mean 'collie\.png'\?"):
        load_image(tmp_path / "colie.png")
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere either"):
        load_image(tmp_path / "nowhere" / "collie.png")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        load_image(tmp_path)


@pytest.mark.parametrize(
    ("source", "arguments", "error", "words"),
    [
        (b"hello", {}, ValueError, "not a picture"),
        (b"", {}, ValueError, "not a picture"),
        (as_bytes(noise())[:4000], {}, ValueError, "damaged picture"),
        (as_bytes(noise()), {"max_bytes": 100}, ValueError, "larger than 100 bytes"),
        (io.BytesIO(as_bytes(noise())), {"max_bytes": 100}, ValueError, "larger than 100 bytes"),
        ("ftp://example.org/cat.png", {}, ValueError, "allowed: http, https"),
        ("file:///etc/passwd", {}, ValueError, "allowed: http, https"),
        ("data:image/png;base64,AAAA", {}, ValueError, "allowed: http, https"),
        ("http://", {}, ConnectionError, "Cannot reach"),
        (None, {}, TypeError, "NoneType"),
    ],
)
def test_what_cannot_be_loaded_is_named(source, arguments, error, words):
    with pytest.raises(error, match=words):
        load_image(source, **arguments)


def test_a_file_over_the_limit_is_refused(tmp_path):
    path = save_image(noise(), tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png is larger than 1,000 bytes"):
        load_image(path, max_bytes=1000)


def test_too_many_pixels_are_refused_before_they_are_unpacked(monkeypatch):
    data = as_bytes(plain("red", (40, 40)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    monkeypatch.setattr(Image.Image, "convert", lambda *_: pytest.fail("unpacked"))
    monkeypatch.setattr(files.ImageOps, "exif_transpose", lambda *_: pytest.fail("unpacked"))
    with pytest.warns(Image.DecompressionBombWarning), pytest.raises(ValueError, match="too many pixels"):
        load_image(data)


@pytest.fixture
def server():
    """A web server on this machine. `served` counts the bytes that it got rid of."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/cat.png":
                self.answer(as_bytes(plain("red")))
            elif self.path == "/page.html":
                self.answer(b"<html>no picture</html>")
            elif self.path == "/moved.png":
                self.send_response(302)
                self.send_header("Location", "/cat.png")
                self.end_headers()
            elif self.path == "/short.png":
                data = as_bytes(noise())
                self.answer(data[:5000], announced=len(data))
            elif self.path == "/silent.png":
                time.sleep(30)
            elif self.path == "/drip.png":
                self.stream(b"x", pause=0.1)
            elif self.path == "/endless.png":
                self.stream(b"x" * 100_000, pause=0)
            else:
                self.send_error(404)

        def answer(self, data, announced=None):
            self.send_response(200)
            self.send_header("Content-Length", str(announced or len(data)))
            self.end_headers()
            self.wfile.write(data)

        def stream(self, chunk, pause):
            self.send_response(200)
            self.end_headers()
            try:
                for _ in range(1000):
                    self.wfile.write(chunk)
                    self.wfile.flush()
                    self.server.served += len(chunk)
                    time.sleep(pause)
            except OSError:
                pass  # the reader hung up, as it should

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close, server.served = True, False, 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.address = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()
    server.server_close()


def test_load_from_an_address(server):
    for name in ("cat.png", "moved.png"):
        assert load_image(f"{server.address}/{name}").getpixel((5, 5)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("name", "arguments", "error", "words"),
    [
        ("none.png", {}, ConnectionError, r"none\.png answered 404 \(Not Found\)"),
        ("page.html", {}, ValueError, r"page\.html is not a picture"),
        ("short.png", {}, ValueError, "damaged picture"),
        ("silent.png", {"timeout": 0.3}, TimeoutError, "within 0.3 seconds"),
        ("drip.png", {"timeout": 0.5}, TimeoutError, "within 0.5 seconds"),
        ("endless.png", {"max_bytes": 300_000}, ValueError, "larger than 300,000 bytes"),
    ],
)
def test_what_an_address_can_do_wrong(server, name, arguments, error, words):
    start = time.monotonic()
    with pytest.raises(error, match=words):
        load_image(f"{server.address}/{name}", **arguments)
    assert time.monotonic() - start < 10  # the slow ones would take 30 seconds and more


def test_a_download_stops_at_the_limit(server):
    with pytest.raises(ValueError, match="larger than"):
        load_image(f"{server.address}/endless.png", max_bytes=300_000)
    time.sleep(0.3)
    assert server.served < 50_000_000  # of 100 million: the rest was never sent


def test_nobody_listens(server):
    server.shutdown()
    server.server_close()
    with pytest.raises(ConnectionError, match=r"Cannot reach 127\.0\.0\.1:\d+ .*check the address"):
        load_image(f"{server.address}/cat.png")
