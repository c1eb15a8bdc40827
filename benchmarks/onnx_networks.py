"""Every network as ONNX: its size, and how far ONNX Runtime is from torch on fresh weights.

    python benchmarks/onnx_networks.py [NETWORK ...]

Relaters are pruned for deployment and give probabilities, as `tiepoint export onnx` writes them.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import torch

from tiepoint import nets
from tiepoint.cli.output import emit_table
from tiepoint.errors import InputError
from tiepoint.export.onnx import BATCHES, compare, write_graph
from tiepoint.models.relater import Probability
from tiepoint.nets.relation import deploy


def export(name: str, folder: Path) -> tuple[str | float, ...]:
    torch.manual_seed(0)
    net = nets.create(name)
    size = int(net.input_size)  # type: ignore[arg-type]
    inputs, outputs = ["patches"], ["descriptors"]
    if name in nets.RELATERS:
        net, inputs, outputs = Probability(deploy(net), 1.0), ["vis", "nir"], ["probability", "logit"]
    net = net.eval().requires_grad_(False)
    path, start = folder / f"{name}.onnx", time.perf_counter()
    write_graph(net, [torch.rand(2, 1, size, size) for _ in inputs], inputs, outputs, path)
    seconds = time.perf_counter() - start
    try:
        difference: str | float = compare(net, path, inputs, [(batch, 1, size, size) for batch in BATCHES], name)
    except InputError as error:
        difference = str(error)
    megabytes = path.stat().st_size / 1e6
    path.unlink()
    return outputs[0], round(megabytes, 1), round(seconds, 1), difference


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in sys.argv[1:] or [*nets.describers(), *nets.relaters()]:
            rows.append((name, *export(name, Path(folder))))
            print(*rows[-1], file=sys.stderr, flush=True)
    emit_table("ONNX", ("network", "output", "MB", "seconds to export", "largest difference"), rows, words=2)


if __name__ == "__main__":
    main()
