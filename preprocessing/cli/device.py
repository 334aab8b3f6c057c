"""The device that a command's --device means, the same for every command."""

from preprocessing.errors import UsageError


def resolve_device(requested: str) -> str:
    """ "cpu" or "cuda", for --device auto, cpu or cuda; auto takes a GPU where torch finds one.

    Raises UsageError for cuda without a GPU.
    """
    import torch

    available = torch.cuda.is_available()
    if requested == "cuda" and not available:
        raise UsageError("--device is cuda, but torch finds no GPU here; expected one: choose cpu, or check the driver")
    return "cuda" if available and requested != "cpu" else "cpu"
