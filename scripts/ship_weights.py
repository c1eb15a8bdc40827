"""Ship a run's weights: half precision, with their card, after a check that FPR95 does not move.

    python scripts/ship_weights.py RUN NAME

Writes tiepoint/weights/NAME.safetensors and NAME.json. The check uses the run's own validation pairs, held out of the
training data: both precisions are measured, both figures go into the card, and a difference of more than 0.05 points
(and, since a few hundred pairs step more coarsely, of more than two pairs) is refused.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch

from tiepoint.allocator import keep_memory
from tiepoint.models.weights import WEIGHTS, read_weights, save_weights
from tiepoint.patches import PatchSet
from tiepoint.training import setup
from tiepoint.training.recipe_file import load_recipe

LARGEST_MOVE = 0.0005
LICENCE = "Apache-2.0; trained on images that were released for research"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    options = parser.parse_args()
    keep_memory()
    recipe = load_recipe(options.run / "recipe.yaml")
    data = PatchSet.open(recipe.data)
    net, card = read_weights(options.run / "model.safetensors")
    pairs = setup.split(recipe, data)[1](int(net.input_size), torch.device("cpu"))
    halved = {k: v.half().float() if v.is_floating_point() else v for k, v in net.state_dict().items()}
    full = pairs.fpr95(net)
    net.load_state_dict(halved)
    half = pairs.fpr95(net)
    print(f"validation FPR95: float32 {100 * full:.3f} %, float16 {100 * half:.3f} %")
    if abs(half - full) > max(LARGEST_MOVE, 2 / pairs.count):
        print("half precision moves FPR95: not shipped", file=sys.stderr)
        return 1
    log = (json.loads(line) for line in (options.run / "log.jsonl").read_text().splitlines())
    curve = {entry["step"]: entry["validation_fpr95"] for entry in log if "validation_fpr95" in entry}
    card |= {
        "name": options.name,
        "precision": "float16",
        "licence": LICENCE,
        "metrics": {
            "validation_fpr95_float32": full,
            "validation_fpr95_float16": half,
            "validation_fpr95_by_step": curve,
        },
    }
    save_weights(WEIGHTS / f"{options.name}.safetensors", net, card, half=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
