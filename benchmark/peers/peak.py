"""How many operations a second the machine reaches in matrix products: what a model's speed is a share of."""

import time

import torch


def peak_gflops(precision: str, device: str, threads: int, size: int = 2048) -> float:
    """The fastest of some large matrix products, in 10^9 operations a second."""
    dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]
    size = size * 4 if device == "cuda" else size
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    matrix = torch.randn(size, size).to(device, dtype)
    fastest = float("inf")
    for _ in range(6):
        began = time.perf_counter()
        matrix @ matrix
        if device == "cuda":
            torch.cuda.synchronize()
        fastest = min(fastest, time.perf_counter() - began)
    torch.set_num_threads(before)
    return 2.0 * size**3 / fastest / 1e9
