"""Keep freed memory in the process, which on Linux makes CPU networks several times faster."""

import ctypes
import ctypes.util
import os
import platform

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # glibc's malloc.h


def keep_memory() -> bool:
    """Tell glibc not to hand large blocks back to the system; return whether it listened.

    By default every activation of a network is mapped, zeroed by the kernel page by page and unmapped again; a training
    step spends most of its time there (docs/experiments.md). The commands call this, and library users may.
    It does nothing where MALLOC_* variables are set, or off Linux with glibc.
    """
    if platform.libc_ver()[0] != "glibc" or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all(
        mallopt(option, value) for option, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_TOP_PAD, 64 << 20))
    )


def raise_thresholds() -> None:
    """Free one block of nearly 32 MiB, after which glibc by itself keeps blocks up to that size in the process.

    No setting is changed: any program that frees such a block has the same. It is enough for describing in small
    chunks, whose activations are smaller, and speeds that up by a fifth to a half; training needs `keep_memory`. The
    block's pages are never touched, so it costs nothing. Source: mallopt(3), M_MMAP_THRESHOLD, dynamic adjustment.
    """
    import torch

    torch.empty((32 << 20) - (1 << 16), dtype=torch.uint8)
