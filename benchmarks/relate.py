"""Pairs of patches related a second on the CPU: tiepoint's relater, its plain network and the same graph in Keras.

    python benchmarks/relate.py [--pairs 512] [--queries 32] [--rounds 3] [--threads 2] [--weights FILE]
        [--keras-python PATH] [--data SET] [--variants NAME ...] [--networks NAME ...]

First the deployed RRL-Net: the network as a library user would call it, `LearnedRelater` in its precisions, compiled or
not, and the graph of `relate_keras.py`, run by the interpreter PATH that has tensorflow (default: this one, if it has).
Then a shortlist for several networks: 10 candidates for each query, every pair by itself against patches encoded once.

Every variant runs in a process of its own, in turn, on the same weights and patches; a round's figure is the median of
its calls after uncounted ones. Probabilities must agree to 1e-2 in every pair, those of "bf16" on average: single
pairs differ more. Weights are fresh, their batch norms have the statistics of other patches, and the last layer
is stretched so that logits spread by 2; this makes rounding as large as it gets, so give --weights of a trained RRL-Net
to see it as users do, and --data, a PatchSet of two spectra, for patches as they are: half of the pairs match. How
often the adaptive one computes a pair twice depends on both.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from turns import print_table, repeat, time_variants

from tiepoint import nets
from tiepoint.data.labelled_pairs import labelled_pairs
from tiepoint.models.load import load, load_relater
from tiepoint.models.relater import CPU_CHUNK
from tiepoint.models.weights import read_weights, save_weights, weights_path
from tiepoint.nets.inputs import prepare as prepare_patches
from tiepoint.nets.relation import deploy
from tiepoint.patches import PatchSet

NAMES = {
    "keras": "Keras graph, predict in batches of 64",
    "plain": "plain network, one call",
    "plain-64": "plain network, batches of 64",
    "fp32": f"LearnedRelater fp32 (chunks of {CPU_CHUNK})",
    "mixed": "LearnedRelater mixed",
    "adaptive": "LearnedRelater adaptive",
    "bf16": "LearnedRelater bf16",
    "fp32-compiled": "LearnedRelater fp32, compiled",
    "mixed-compiled": "LearnedRelater mixed, compiled",
    "adaptive-compiled": "LearnedRelater adaptive, compiled",
    "bf16-compiled": "LearnedRelater bf16, compiled",
}
REFERENCE = "plain-64"  # whose probabilities the others are compared with
SHORTLISTS = {"pairwise": "each pair by itself", "once": "patches encoded once"}
NETWORKS = ("rrlnet", "efrnet", "filnet", "kglnet", "afdnet")
CANDIDATES = 10
AGREE = 1e-2


def main() -> None:
    """Time all variants, or with --worker do one variant's work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=512)
    parser.add_argument("--queries", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--weights", help="of a trained RRL-Net, as `tiepoint.load` takes them")
    parser.add_argument("--data", type=Path, help="a PatchSet whose pairs are related, not smooth noise")
    parser.add_argument("--keras-python", default=sys.executable, help="an interpreter that has tensorflow")
    parser.add_argument("--variants", nargs="+", choices=NAMES, default=list(NAMES), help="of the first table")
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), help="of the second table")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.worker:
        work(options.worker, options)
        return
    with tempfile.TemporaryDirectory() as folder:
        options.folder = Path(folder)
        prepare(options)
        compare_variants(options)
        for name in options.networks:
            compare_shortlists(name, options)


def prepare(options: argparse.Namespace) -> None:
    """Write patches and the weights of every network to the folder."""
    torch.manual_seed(0)
    if options.data:
        vis, nir = real_pairs(options.data, options.pairs)
    else:
        vis, nir = textures(options.pairs), textures(options.pairs)
        nir[::2] = vis[::2].sqrt()  # every second pair matches, in another spectrum
    np.savez(options.folder / "patches.npz", vis=vis[:, 0].numpy(), nir=nir[:, 0].numpy())
    for name in {"rrlnet", *options.networks}:
        trained = options.weights and name == "rrlnet"
        net = deploy(read_weights(weights_path(options.weights))[0]) if trained else fresh(name)
        save_weights(options.folder / f"{name}.safetensors", net, {"network": name, "deployed": True})
        if name == "rrlnet":
            np.savez(options.folder / "weights.npz", **{key: value.numpy() for key, value in net.state_dict().items()})


def real_pairs(path: Path, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Seeded pairs of a PatchSet, matches and non-matches of every category alike; (count, 1, 64, 64) in 0..1 each."""
    patch_set = PatchSet.open(path)
    pairs = labelled_pairs(patch_set, count=count)
    rows = np.random.default_rng(0).permutation(len(pairs.first))[:count]
    sides = (torch.from_numpy(patch_set.patches[side[rows]]) for side in (pairs.first, pairs.second))
    vis, nir = (prepare_patches(side, 64) for side in sides)
    return vis, nir


def textures(count: int) -> torch.Tensor:
    """Smooth noise (count, 1, 64, 64) in 0..1."""
    return F.interpolate(torch.rand(count, 1, 12, 12), size=64, mode="bicubic", align_corners=False).clamp(0, 1)


@torch.no_grad()
def fresh(name: str) -> torch.nn.Module:
    """A deployed network whose scores differ as those of a trained one do, see above."""
    net = deploy(nets.create(name)).train()
    norms = [module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    vis, nir = textures(64), textures(64)
    net(vis, nir)
    logits = net.eval()(vis, nir)
    last = [module for module in net.modules() if isinstance(module, torch.nn.Linear)][-1]
    scale = 2 / logits.std()
    last.weight *= scale
    last.bias *= scale
    last.bias[-1] -= scale * logits.mean()  # of one class, or of two whose difference is the logit
    return net


def compare_variants(options: argparse.Namespace) -> None:
    """The first table."""
    names = {name: NAMES[name] for name in NAMES if name in {*options.variants, REFERENCE}}
    found = subprocess.run([options.keras_python, "-c", "import tensorflow"], capture_output=True, check=False)
    if found.returncode:
        names.pop("keras", None)
        print(f"Keras: skipped, {options.keras_python} has no tensorflow (see --keras-python)")
    rates = time_variants(__file__, list(names), options.rounds, passed(options))
    title = f"deployed RRL-Net, {options.pairs} pairs a call, {options.threads} threads, {options.rounds} rounds"
    print_table(title, "pairs/s", rates, names)
    check_scores(options.folder, list(names), REFERENCE)


def compare_shortlists(name: str, options: argparse.Namespace) -> None:
    """One network of the second table."""
    variants = {f"{name}-{way}": text for way, text in SHORTLISTS.items()}
    rates = time_variants(__file__, list(variants), options.rounds, passed(options))
    print_table(f"{name}, {options.queries} queries with {CANDIDATES} candidates, fp32", "pairs/s", rates, variants)
    check_scores(options.folder, list(variants), f"{name}-pairwise")


def check_scores(folder: Path, names: list[str], reference: str) -> None:
    """Print how far probabilities are from those of `reference`, and fail if it is too far."""
    scores = {name: np.load(folder / f"scores-{name}.npy") for name in names}
    expected = scores.pop(reference)
    print(f"probabilities of {reference}: {expected.min():.3f} to {expected.max():.3f}; differences from them:")
    for name, found in scores.items():
        differences = np.abs(found - expected)
        print(f"  {name}: {differences.max():.1e} at most, {differences.mean():.1e} on average")
        limited = differences.mean() if name.startswith("bf16") else differences.max()
        assert limited <= AGREE, name


def passed(options: argparse.Namespace) -> list[str]:
    """What a worker needs of the command line."""
    numbers = {"pairs": options.pairs, "queries": options.queries, "threads": options.threads}
    words = [str(word) for key, value in numbers.items() for word in (f"--{key}", value)]
    return [*words, "--folder", str(options.folder), "--keras-python", options.keras_python]


def work(variant: str, options: argparse.Namespace) -> None:
    """Time one variant, print its rates and write its scores."""
    folder: Path = options.folder
    if variant == "keras":
        script = Path(__file__).with_name("relate_keras.py")
        command = [options.keras_python, str(script), str(folder), "--threads", str(options.threads)]
        subprocess.run(command, check=True)
        return
    with np.load(folder / "patches.npz") as arrays:
        vis, nir = (torch.from_numpy(arrays[name]).unsqueeze(1) for name in ("vis", "nir"))
    if variant in NAMES:
        scores = relate_pairs(variant, folder, vis, nir)
    else:
        scores = relate_shortlist(variant, folder, vis[: options.queries], nir[: options.queries])
    np.save(folder / f"scores-{variant}.npy", scores.numpy())


def relate_pairs(variant: str, folder: Path, vis: torch.Tensor, nir: torch.Tensor) -> torch.Tensor:
    """A variant of the first table."""
    if variant.startswith("plain"):
        net = read_weights(folder / "rrlnet.safetensors")[0].eval()
        batch = 64 if variant.endswith("64") else len(vis)

        @torch.inference_mode()
        def relate() -> Any:
            return torch.cat([net(*pair) for pair in zip(vis.split(batch), nir.split(batch), strict=True)]).sigmoid()
    else:
        precision, _, compiled = variant.partition("-")
        relater: Any = load(folder / "rrlnet.safetensors", precision=precision, compile=bool(compiled))

        def relate() -> Any:
            return relater.probabilities(vis, nir)

    repeat(relate, len(vis), warm=2, runs=5)
    scores: torch.Tensor = relate()
    return scores


def relate_shortlist(variant: str, folder: Path, vis: torch.Tensor, nir: torch.Tensor) -> torch.Tensor:
    """A variant of the second table; the candidates of all queries are as many patches as there are queries."""
    name, _, way = variant.rpartition("-")
    relater = load_relater(folder / f"{name}.safetensors")
    draw = torch.Generator().manual_seed(0)
    rows = torch.arange(len(vis)).repeat_interleave(CANDIDATES)
    pairs = torch.stack([rows, torch.randint(len(nir), rows.shape, generator=draw)], dim=1)

    def relate() -> torch.Tensor:
        if way == "pairwise":
            return relater.probabilities(vis[pairs[:, 0]], nir[pairs[:, 1]])
        return relater.relate(relater.encode(vis, "vis"), relater.encode(nir, "nir"), pairs)

    repeat(relate, len(pairs), warm=1, runs=3)
    return relate()


if __name__ == "__main__":
    main()
