"""The processes that `accelerate launch` started, or this one alone: who measures, who shares, and waiting for all.

Only parents talk to each other, over gloo; systems run in processes of their own and know nothing of it.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

PATIENCE = timedelta(days=7)  # others wait while the first one measures latency
Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Ranks:
    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    @property
    def file_rank(self) -> int | None:
        """What the rank's own files are named after; None where it is the only one."""
        return None if self.count == 1 else self.rank

    def mine(self, things: Sequence[Thing]) -> list[Thing]:
        """This process's share: every thing is in exactly one process's."""
        return list(things[self.rank :: self.count])

    def wait(self) -> None:
        if self.count > 1:
            from accelerate.utils import wait_for_everyone

            wait_for_everyone()

    def from_first(self, thing: Thing) -> Thing:
        """What the first process has."""
        if self.count == 1:
            return thing
        from accelerate.utils import broadcast_object_list

        found: list[Thing] = broadcast_object_list([thing])
        return found[0]

    def gathered(self, things: Sequence[Thing]) -> list[Thing]:
        """The things of all processes, in every one."""
        if self.count == 1:
            return list(things)
        from accelerate.utils import gather_object

        found: list[Thing] = gather_object(list(things))
        return found


def join() -> Ranks:
    """Meet the other processes, where `accelerate launch` or torchrun started several."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return Ranks()
    from accelerate import PartialState

    state: Any = PartialState(cpu=True, timeout=PATIENCE)
    return Ranks(
        rank=state.process_index,
        count=state.num_processes,
        local_rank=state.local_process_index,
        local_count=int(os.environ.get("LOCAL_WORLD_SIZE", count)),
    )


def leave() -> None:
    """Part from the others, so that none is waited for at exit."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from accelerate import PartialState

        PartialState().destroy_process_group()
