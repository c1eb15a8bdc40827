"""Train sdgmnet-any: one describer for any two sensors, in the dense form in which `register` asks it.

    python runs/sdgmnet_any.py ../shared/data runs/sdgmnet-any

Each step draws pairs of images of four kinds, cuts the same place of both under a small relative transform, describes
all windows of both crops (`tiepoint.nets.dense`), and asks the loss of the windows that show one point. Every third
step describes single patches of aligned images instead, so that the weights serve both forms. Single images get a
partner by a change like that of another spectrum: tone curves, inversion, local contrast, gradients, speckle. The last
images of each kind are held out; of their windows, the share whose nearest descriptor in the whole other image lies
within one stride of the truth is logged for each kind. The last weights are kept.

The loss is InfoNCE over the windows of all four crops. SDGM, which `--loss sdgm` takes, gains less here
(docs/experiments.md). A run goes on from its checkpoint; no test folder is read. The shipped weights came in two runs
of an hour each on one core: 1,800 steps from `sdgmnet-visir`, whose patches were those of the crops, and from these
`--start sdgmnet-any --steps 2200 --lr 3e-4`.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from tiepoint.allocator import keep_memory
from tiepoint.evaluation.registration.calibration import image_pairs
from tiepoint.files import write_json
from tiepoint.losses.all_negatives.log_sum_exp import InfoNCE
from tiepoint.losses.sdgm import SDGM
from tiepoint.models.load import load_describer
from tiepoint.models.weights import save_weights
from tiepoint.nets.dense import WINDOW_PX, DenseForm

CROP_PX, ZOOM = 112, 0.5  # px of the network's input; of which one is two of the image
TURN = 15.0  # degrees, largest between the two crops
SPACING = 3  # windows between those that are compared, so 12 px of the input
PATCHES, PATCH_IMAGES, PATCH_SPACING = 256, 16, 8  # of a step on patches; the images that they come from; px
MIN_CONTRAST = 0.005
BATCHES = 200  # time constant of the loss's statistics
KINDS = ("visnir", "visir", "optsar", "Nighttime", "Optical-Depth", "Optical-Infrared", "Optical-Map",
         "Optical-Optical", "Optical-SAR", "single")  # fmt: skip
ALIGNED = KINDS[:3]
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Pair:
    """Two images at ZOOM, float32 in 0..1, and the transform (3, 3) from the first's pixels to the second's."""

    first: Array
    second: Array
    truth: NDArray[np.float64]
    held_out: bool


def read(path: Path) -> Array:
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    return cv2.resize(image, None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def reduced(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """A transform of full-size pixels as one of pixels at ZOOM."""
    up = np.array([[1 / ZOOM, 0, 0.5 / ZOOM - 0.5], [0, 1 / ZOOM, 0.5 / ZOOM - 0.5], [0, 0, 1]])
    return np.linalg.inv(up) @ matrix @ up


def read_pairs(data: Path) -> dict[str, list[Pair]]:
    found: dict[str, list[Pair]] = {kind: [] for kind in KINDS}
    for kind, one, two in (("visnir", "vis", "nir"), ("visir", "vis", "ir"), ("optsar", "opt", "sar")):
        paths = image_pairs(data / kind / "train", one, two)
        for number, (first, second) in enumerate(paths):
            found[kind].append(
                Pair(read(first), read(second), np.eye(3), number >= len(paths) - max(2, len(paths) // 10))
            )
    mended = json.loads((data / "srif" / "optical_sar_mended.json").read_text())
    for kind in KINDS[3:9]:
        folder = data / "srif" / "train" / kind
        truths = sorted(folder.glob("gt_*.txt"), key=lambda p: int(re.findall(r"\d+", p.stem)[0]))
        if kind == "Optical-SAR":
            truths = [path for path in truths if re.findall(r"\d+", path.stem)[0] in mended]
        for place, path in enumerate(truths):
            number = re.findall(r"\d+", path.stem)[0]
            matrix = np.eye(3)
            if kind == "Optical-SAR":
                matrix = radar_truth(**mended[number])
            else:
                matrix[:2] = np.loadtxt(path).reshape(2, 3)
            first, second = (read(next(folder.glob(f"pair{number}_{side}.*"))) for side in (1, 2))
            found[kind].append(Pair(first, second, reduced(matrix), place >= 0.9 * len(truths)))
    scenes = sorted(p for p in (data / "scenes" / "train").rglob("*.jpg"))
    for number, path in enumerate(scenes[::3]):
        image = read(path)
        found["single"].append(Pair(image, image, np.eye(3), number % 10 == 9))
    for kind in ("visnir", "visir", "optsar", "Optical-Optical"):
        found["single"] += [Pair(p.first, p.first, np.eye(3), p.held_out) for p in found[kind][::4]]
    return found


def radar_truth(rotation: float, size: int, agreement: float) -> NDArray[np.float64]:
    scale, turn = 256 / size, math.radians(rotation)
    grow = np.array([[scale, 0, 0.5 * scale - 0.5], [0, scale, 0.5 * scale - 0.5], [0, 0, 1]])
    linear = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    about = np.eye(3)
    about[:2, :2], about[:2, 2] = linear, 127.5 - linear @ [127.5, 127.5]
    return about @ grow


def small_transform(random: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Up to 15 degrees, a few per cent of scale and stretch, about the centre of a crop."""
    turn, scale = math.radians(random.uniform(-TURN, TURN)), math.exp(random.uniform(-0.1, 0.1))
    linear = scale * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    matrix, centre = np.eye(3), np.full(2, (size - 1) / 2)
    matrix[:2, :2] = linear + random.normal(0, 0.02, (2, 2))
    matrix[:2, 2] = centre + random.uniform(-2, 2, 2) - matrix[:2, :2] @ centre
    return matrix


def tone(random: np.random.Generator, image: Array) -> Array:
    """Through a random curve of five points, which need not rise."""
    values = random.uniform(0, 1, 5)
    if random.random() < 0.6:
        values = np.sort(values)[:: random.choice([-1, 1])]
    return np.interp(image, np.linspace(0, 1, 5), values).astype(np.float32)


def like_another_spectrum(random: np.random.Generator, image: Array) -> Array:
    """A seeded change of one image in the manner in which spectra differ."""
    choice = random.integers(5)
    if choice == 0:
        x, y = (cv2.Sobel(cv2.GaussianBlur(image, (0, 0), 1.0), cv2.CV_32F, dx, 1 - dx) for dx in (0, 1))
        image = np.clip(np.hypot(x, y) * 2, 0, 1)
    elif choice == 1:
        mean = cv2.GaussianBlur(image, (0, 0), random.uniform(4, 12))
        spread = np.sqrt(cv2.GaussianBlur((image - mean) ** 2, (0, 0), 12)) + 0.02
        image = np.clip(0.5 + 0.2 * (image - mean) / spread, 0, 1)
    elif choice == 2:
        image = np.round(cv2.bilateralFilter(image, 9, 0.15, 5) * random.integers(4, 9)) / 8
    if random.random() < 0.8:
        image = tone(random, np.clip(image, 0, 1))
    if random.random() < 0.3:
        looks = random.uniform(3, 20)
        image = image * random.gamma(looks, 1 / looks, image.shape).astype(np.float32)
    return image


def jitter(random: np.random.Generator, image: Array) -> Array:
    """Brightness, contrast, gamma, blur and noise, as of another exposure."""
    image = np.clip(image, 0, 1) ** math.exp(random.uniform(-0.3, 0.3))
    image = image * math.exp(random.uniform(-0.3, 0.3)) + random.uniform(-0.05, 0.05)
    if random.random() < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), random.uniform(0.4, 1.2))
    noisy = image + random.normal(0, random.uniform(0, 0.1) * image.std(), image.shape)
    return np.clip(noisy, 0, 1.2).astype(np.float32)


def cut(random: np.random.Generator, pair: Pair, kind: str) -> tuple[list[Array], list[Array], NDArray[np.float64]]:
    """Two crops, what of them is valid, and the transform from the first crop's pixels to the second's."""
    height, width = pair.first.shape
    scale, turn = math.exp(random.uniform(-0.35, 0.35)), random.uniform(0, 2 * math.pi)
    linear = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]) / scale
    if random.random() < 0.5:
        linear = linear @ np.diag([-1, 1])
    grid, centre = np.eye(3), np.full(2, (CROP_PX - 1) / 2)
    near = CROP_PX / 2 - 8
    at = [random.uniform(min(near, side / 2), max(side - near, side / 2)) for side in (width, height)]
    grid[:2, :2], grid[:2, 2] = linear, at - linear @ centre
    change = small_transform(random, CROP_PX)
    to_images = grid, pair.truth @ grid @ np.linalg.inv(change)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    crops, seen = [], []
    for image, matrix in zip((pair.first, pair.second), to_images, strict=True):
        crops.append(cv2.warpPerspective(image, matrix, (CROP_PX, CROP_PX), flags=flags))
        # A turned second image has a collar: valid is what the first one's frame reaches.
        inside = cv2.warpPerspective(np.ones(image.shape, np.float32), matrix, (CROP_PX, CROP_PX), flags=flags)
        if image is pair.second and kind != "single":
            frame = np.pad(np.ones((height - 6, width - 6), np.float32), 3)
            back = np.linalg.inv(pair.truth) @ matrix
            inside = np.minimum(inside, cv2.warpPerspective(frame, back, (CROP_PX, CROP_PX), flags=flags))
        seen.append((inside > 0.999).astype(np.float32))
    if kind == "single":
        crops[1] = like_another_spectrum(random, crops[1])
    elif random.random() < 0.1:
        crops[1] = 1 - crops[1]
    return [jitter(random, crop) for crop in crops], seen, change


def batch_of(random: np.random.Generator, pairs: dict[str, list[Pair]], count: int) -> list[torch.Tensor]:
    """Crops and masks of both sides (count, 1, S, S), and the changes (count, 3, 3)."""
    sides: list[list[Array]] = [[], [], [], []]
    changes = []
    for kind in random.choice(KINDS, count, replace=False):
        train = [pair for pair in pairs[kind] if not pair.held_out]
        crops, seen, change = cut(random, train[random.integers(len(train))], kind)
        for side, image in zip(sides, (*crops, *seen), strict=True):
            side.append(image)
        changes.append(change)
    images = [torch.from_numpy(np.stack(side))[:, None] for side in sides]
    return [*images, torch.from_numpy(np.stack(changes))]


def correspond(stride: int, valid: list[torch.Tensor], changes: torch.Tensor, random: np.random.Generator):  # type: ignore[no-untyped-def]
    """Crop, row and column of windows of both sides that show one point, twelve px and more apart on the first side."""
    _, _, h, w = valid[0].shape
    half = (WINDOW_PX - 1) / 2
    found = []
    for number, change in enumerate(changes):
        y0, x0 = random.integers(SPACING, size=2)
        y, x = (grid.ravel() for grid in np.mgrid[y0:h:SPACING, x0:w:SPACING])
        points = np.stack([x * stride + half, y * stride + half, np.ones(len(x))])
        mapped = change.numpy() @ points
        u, v = np.rint((mapped[:2] / mapped[2] - half) / stride).astype(int)
        inside = (u >= 0) & (v >= 0) & (u < w) & (v < h)
        y, x, u, v = y[inside], x[inside], u[inside], v[inside]
        kept = valid[0][number, 0, y, x] & valid[1][number, 0, v, u]
        found.append(np.stack([np.full(len(y), number), y, x, v, u], 1)[kept.numpy()])
    return torch.from_numpy(np.concatenate(found))


def aligned_patches(random: np.random.Generator, pairs: list[Pair]) -> list[torch.Tensor]:
    """Patches (PATCHES, 1, 32, 32) of both images of aligned pairs, at points evenly spread and shaken a little."""
    train = [pair for pair in pairs if not pair.held_out]
    sides: list[list[Array]] = [[], []]
    while len(sides[0]) < PATCHES:
        pair = train[random.integers(len(train))]
        start = random.integers(PATCH_SPACING, size=2)
        y, x = (np.arange(s, side - WINDOW_PX, PATCH_SPACING) for s, side in zip(start, pair.first.shape, strict=True))
        at = np.stack(np.meshgrid(y, x), -1).reshape(-1, 2)
        turns, flip = random.integers(4), random.integers(2)
        for top, left in random.permutation(at)[: PATCHES // PATCH_IMAGES]:
            cut = [image[top : top + WINDOW_PX, left : left + WINDOW_PX] for image in (pair.first, pair.second)]
            if min(patch.std() for patch in cut) > MIN_CONTRAST:
                for side, patch in zip(sides, cut, strict=True):
                    patch = np.rot90(patch, turns)
                    side.append(jitter(random, np.ascontiguousarray(patch[::-1] if flip else patch)))
    return [torch.from_numpy(np.stack(side[:PATCHES]))[:, None] for side in sides]


@torch.inference_mode()
def validate(form: DenseForm, pairs: dict[str, list[Pair]]) -> dict[str, float]:
    """For each kind the share of right nearest neighbours on held-out pairs, the second image turned to the first."""
    form.eval()
    random, shares = np.random.default_rng(0), {}
    for kind in KINDS:
        hits = []
        for pair in [p for p in pairs[kind] if p.held_out][:6]:
            height, width = pair.first.shape
            change = small_transform(random, min(height, width))
            seen = np.ones(pair.first.shape, np.float32)
            to_second = pair.truth @ np.linalg.inv(change)
            second = cv2.warpPerspective(pair.second, np.linalg.inv(to_second), (width, height))
            valid = cv2.warpPerspective(np.pad(seen[6:, 6:], 3), change, (width, height))
            if kind == "single":
                second = like_another_spectrum(random, second)
            one = form(torch.from_numpy(pair.first)[None, None])
            two = form(
                torch.from_numpy(second)[None, None], torch.from_numpy((valid > 0.999).astype(np.float32))[None, None]
            )
            at = correspond(form.stride, [one[1], two[1]], torch.from_numpy(change)[None], random)
            if not len(at):
                continue
            a = one[0][0, :, at[:, 1], at[:, 2]]
            scores = (a.T @ two[0][0].flatten(1)).masked_fill(~two[1].flatten(), -2.0)
            best = scores.argmax(dim=1)
            v, u = best // two[0].shape[3], best % two[0].shape[3]
            hits.append(((v - at[:, 3]).abs() <= 1) & ((u - at[:, 4]).abs() <= 1))
        shares[kind] = round(float(torch.cat(hits).float().mean()), 4) if hits else math.nan
    shares["mean"] = round(float(np.nanmean(list(shares.values()))), 4)
    form.train()
    return shares


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=1800)
    parser.add_argument("--crops", type=int, default=4)
    parser.add_argument("--loss", choices=("sdgm", "info-nce"), default="info-nce")
    parser.add_argument("--every", type=int, default=200)
    parser.add_argument("--start", default="sdgmnet-visir")
    parser.add_argument("--lr", type=float, default=2e-4)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    keep_memory()
    torch.manual_seed(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    pairs = read_pairs(options.data)
    print({kind: (len(p), sum(q.held_out for q in p)) for kind, p in pairs.items()}, flush=True)
    net = load_describer(options.start, "cpu").net
    form = DenseForm(net).to(memory_format=torch.channels_last)
    for module in net.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    make = {
        "sdgm": lambda: SDGM(momentum=1 - 1 / BATCHES, unbiased=True, warm_up=0.0, duplicate_start=0.0),
        "info-nce": lambda: InfoNCE(temperature=0.07, candidates="all"),
    }
    losses = torch.nn.ModuleList(make[options.loss]() for _ in range(2))
    optimizer = torch.optim.AdamW(net.parameters(), options.lr, weight_decay=1e-4)
    kept, start, seconds = options.out / "checkpoint.pt", 0, 0.0
    if kept.is_file():
        state = torch.load(kept, weights_only=True)
        net.load_state_dict(state["net"])
        losses.load_state_dict(state["losses"])
        optimizer.load_state_dict(state["optimizer"])
        start, seconds = state["step"], state["seconds"]
    log = (options.out / "log.jsonl").open("a")

    def write(**entry: object) -> None:
        log.write(json.dumps(entry) + "\n")
        log.flush()

    if not start:
        write(step=0, **validate(form, pairs))
    net.train()
    running: list[float] = []
    began = time.monotonic()
    for step in range(start, options.steps):
        random = np.random.default_rng([options.seed, step])
        progress = step / options.steps
        for group in optimizer.param_groups:
            group["lr"] = options.lr * min(1.0, (step + 1) / 50) * (1 - progress)
        patchwise = step % 3 == 2
        if patchwise:
            kind = ALIGNED[step // 3 % len(ALIGNED)]
            first, second = (net(side) for side in aligned_patches(random, pairs[kind]))
        else:
            *images, changes = batch_of(random, pairs, options.crops)
            sides = [image.contiguous(memory_format=torch.channels_last) for image in images]
            described = [form(sides[side], sides[2 + side]) for side in range(2)]
            at = correspond(form.stride, [whole for _, whole in described], changes, random)
            if len(at) < 32:
                continue
            number, y, x, v, u = at.T
            first, second = described[0][0][number, :, y, x], described[1][0][number, :, v, u]
        loss = losses[int(patchwise)](first, second, progress)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        running.append(float(loss.detach()))
        done = step + 1
        if done % 25 == 0 or done == options.steps:
            elapsed = seconds + time.monotonic() - began
            write(step=done, loss=float(np.mean(running)), pairs=len(first), seconds=round(elapsed, 1))
            running = []
        if done % 100 == 0 or done == options.steps:
            state = {"net": net.state_dict(), "losses": losses.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save({**state, "step": done, "seconds": seconds + time.monotonic() - began}, kept)
        if done % options.every == 0 or done == options.steps:
            write(step=done, **validate(form, pairs))
    shares = validate(form, pairs)
    counts = {kind: len([p for p in found if not p.held_out]) for kind, found in pairs.items()}
    settings = {key: value for key, value in vars(options).items() if key not in ("data", "out")}
    card = {
        "name": "sdgmnet-any", "network": "sdgmnet", "options": {"dropout": 0.0}, "support": 12.0, "upright": 64,
        "data": {"pairs": counts}, "recipe": {"script": "runs/sdgmnet_any.py", **settings},
        "result": {"steps": options.steps, "seconds": round(seconds + time.monotonic() - began, 1)},
        "metrics": {"validation_nearest_right": shares},
        "precision": "float16", "licence": "Apache-2.0; trained on images that were released for research",
    }  # fmt: skip
    save_weights(options.out / "model.safetensors", net, card, half=True)
    write_json(options.out / "result.json", {"steps": options.steps, **shares})


if __name__ == "__main__":
    main()
