"""Runs a function of this folder in several processes that torch.distributed connects by gloo."""

import importlib
import multiprocessing
import os
import time
import traceback

import torch

LIMIT = 300  # seconds of all processes together: one that waits for another that failed would wait for minutes
SLOW = ["torch", "torch.distributed.tensor", "transformers.modeling_utils", "transformers.generation"]  # imported once for all processes


def run(world, function, folder, *arguments):
    """Calls function(rank, world, *arguments) in each of world new processes and returns what they return, by rank.

    folder is a path where files may be left. Fails with the first traceback, or when the processes take too long.
    """
    context = multiprocessing.get_context("forkserver")  # minfc does not work in a child of a process that has loaded it
    context.set_forkserver_preload(SLOW)
    where = (function.__module__, function.__name__)
    every = [context.Process(target=_rank, args=(rank, world, where, str(folder), arguments)) for rank in range(world)]
    for process in every:
        process.start()
    end = time.monotonic() + LIMIT
    while any(p.is_alive() for p in every) and time.monotonic() < end and not any(p.exitcode for p in every):
        time.sleep(0.05)
    late = [rank for rank, p in enumerate(every) if p.is_alive()]
    for process in every:
        process.kill()
        process.join()
    said = [_read(folder, f"failed.{rank}") for rank in range(world)]
    if any(said) or late or any(p.exitcode for p in every):
        raise AssertionError(next((x for x in said if x), f"exit codes {[p.exitcode for p in every]}, ranks {late} ran for more than {LIMIT} s"))
    return [torch.load(os.path.join(folder, f"result.{rank}"), weights_only=False) for rank in range(world)]


def _read(folder, name):
    path = os.path.join(folder, name)
    return open(path).read() if os.path.exists(path) else None


def _rank(rank, world, where, folder, arguments):
    """What a process does. An error ends it, and is left in a file."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), GLOO_SOCKET_IFNAME="lo", MINFC_CACHE="off")
    torch.set_num_threads(1)
    try:
        meet = f"file://{folder}/meet"  # a file and no port, which another program may take
        torch.distributed.init_process_group("gloo", init_method=meet, rank=rank, world_size=world)
        with torch.no_grad():
            result = getattr(importlib.import_module(where[0]), where[1])(rank, world, *arguments)
        torch.save(result, os.path.join(folder, f"result.{rank}"))
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
    except BaseException:
        with open(os.path.join(folder, f"failed.{rank}"), "w") as f:
            f.write(f"rank {rank} of {world}:\n{traceback.format_exc()}")
        os._exit(1)
