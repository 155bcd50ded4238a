"""Heartbeats of the processes of a run, so that a stalled host is named and nobody waits for it."""

import dataclasses
import json
import os
import socket
import sys
import threading
import time

import jax
from absl import logging
from etils import epath

from wristmir_jax.errors import EXIT_TRY_AGAIN
from wristmir_jax.learning.workdir import write_text

FOLDER = "heartbeats"
# What a process does; only in a step does it wait for the others.
IN_STEP, IN_INPUT, IN_CHECKPOINT, LEAVING = "step", "input", "checkpoint", "leaving"

# Heartbeats in which a process that is alive must have written one, however slow the storage is;
# and those between noticing the stall and having named who is at fault.
_HEARTBEATS_TO_LISTEN = 3
_HEARTBEATS_TO_NAME = 4


@dataclasses.dataclass(frozen=True)
class _Heartbeat:
    """What a process writes about itself, every few seconds."""

    host: str
    process_id: int
    beat: int
    step: int
    phase: str

    def described(self, process: int) -> str:
        return f"process {process} (host {self.host}, pid {self.process_id})"


class Watch:
    """Ends this process where the run has made no step for too long, and says whose fault it is.

    A thread writes a heartbeat to a small file in the run's folder, which all processes share. The
    others' are read only when no step has been taken for `stall_seconds`, so a healthy run costs
    a write a heartbeat. A process that is frozen, killed or cut off writes none; one that hangs in
    its input says so in its own. Another thread looks at the time, for a write to a bucket or a
    mounted folder can hang as well.

    Does nothing where there is one process. Use as a context manager.

    Args:
        workdir: of the run.
        heartbeat_seconds: between two heartbeats.
        stall_seconds: without a step, after the first, until the process has ended.
        start_seconds: without a step, before the first, which compiles.
    """

    def __init__(
        self,
        workdir: epath.PathLike,
        heartbeat_seconds: float,
        stall_seconds: float,
        start_seconds: float,
    ):
        self._folder = epath.Path(workdir) / FOLDER
        self._heartbeat_seconds = heartbeat_seconds
        self._stall_seconds = stall_seconds
        self._start_seconds = start_seconds
        self._active = jax.process_count() > 1
        self._end = threading.Event()
        self._threads = [
            threading.Thread(target=self._beat, name="heartbeat", daemon=True),
            threading.Thread(target=self._look, name="stall", daemon=True),
        ]
        self._step, self._phase = 0, IN_INPUT
        self._first_step: int | None = None
        self._last_progress = time.monotonic()

    def __enter__(self) -> "Watch":
        if self._active:
            self._folder.mkdir(parents=True, exist_ok=True)
            for thread in self._threads:
                thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        if self._active:
            for thread in self._threads:
                # No longer: it may be in a write that hangs.
                thread.join(self._heartbeat_seconds)

    def progress(self, step: int, phase: str) -> None:
        """This process has done `step` steps and begins `phase`."""
        if self._first_step is None:
            self._first_step = step
        self._step, self._phase = step, phase
        self._last_progress = time.monotonic()

    def _beat(self) -> None:
        beat = 0
        while not self._end.is_set():
            beat += 1
            # Clients of buckets raise what they like, and the next heartbeat may get through.
            try:
                self._write(beat)
            except Exception as error:
                logging.warning("no heartbeat could be written: %s", error)
            self._end.wait(self._heartbeat_seconds)

    def _look(self) -> None:
        while not self._end.is_set():
            # Steps are dispatched one ahead: only with the second is the first known to be done.
            started = self._first_step is not None and self._step >= self._first_step + 2
            limit = self._stall_seconds if started else self._start_seconds
            waited = time.monotonic() - self._last_progress
            if waited > limit - _HEARTBEATS_TO_NAME * self._heartbeat_seconds:
                self.leave(f"no step for {waited:.0f} s")
            self._end.wait(self._heartbeat_seconds)

    def _write(self, beat: int) -> None:
        own = _Heartbeat(socket.gethostname(), os.getpid(), beat, self._step, self._phase)
        path = self._folder / f"{jax.process_index()}.json"
        write_text(path, json.dumps(dataclasses.asdict(own)))

    def leave(self, reason: str) -> None:
        """Say which process is at fault and end this one at once, without waiting for any other.

        The main thread cannot be asked to end: it waits for the devices.
        """
        # Whoever looks after us shall not take us for the one at fault; the next heartbeat says so.
        self._phase = LEAVING
        give_up = threading.Timer(
            _HEARTBEATS_TO_NAME * self._heartbeat_seconds,
            lambda: self._end_process(f"{reason}: {self._folder} cannot be read"),
        )
        give_up.daemon = True
        give_up.start()
        self._end_process(f"{reason}: {self._fault()}")

    def _end_process(self, message: str) -> None:
        print(f"error: {message}; run the same command again to go on", file=sys.stderr, flush=True)
        os._exit(EXIT_TRY_AGAIN)

    def _fault(self) -> str:
        before = self._read()
        time.sleep(_HEARTBEATS_TO_LISTEN * self._heartbeat_seconds)
        after = self._read()
        own = jax.process_index()
        silent = [
            heartbeat.described(process) if heartbeat else f"process {process}"
            for process, heartbeat in after.items()
            if process != own and (heartbeat is None or heartbeat == before[process])
        ]
        if silent:
            return f"{', '.join(silent)} does not respond"
        elsewhere = [
            f"{heartbeat.described(process)} is in {heartbeat.phase} after step {heartbeat.step}"
            for process, heartbeat in after.items()
            if heartbeat and heartbeat.phase not in (IN_STEP, LEAVING)
        ]
        return ", ".join(elsewhere) or "all processes respond and wait for their devices"

    def _read(self) -> dict[int, _Heartbeat | None]:
        return {process: self._read_one(process) for process in range(jax.process_count())}

    def _read_one(self, process: int) -> _Heartbeat | None:
        # Clients of buckets raise what they like.
        try:
            return _Heartbeat(**json.loads((self._folder / f"{process}.json").read_text()))
        except Exception as error:
            logging.warning("heartbeat of process %d: %s", process, error)
            return None
