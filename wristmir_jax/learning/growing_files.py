"""Files that grow during a run, on a bucket too, whose objects are only ever written whole."""

import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor

from absl import logging
from etils import epath

# A whole copy is written each time, of up to a few MB; a bucket takes one a second.
_COPY_SECONDS = 30


class GrowingFiles:
    """A folder to append to; where the target is on a bucket, a local one that is copied there.

    What is copied can be read on the bucket; what is not yet is lost with the process. `copy` when
    it must not be, call `grown` whenever a file has grown.

    Args:
        target: where the files shall be.

    Attributes:
        folder: where to write them.
    """

    def __init__(self, target: epath.Path):
        self._target = target
        self._scratch = tempfile.TemporaryDirectory(prefix="wristmir-")
        self.folder = epath.Path(self._scratch.name)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="copy-to-bucket")
        self._copying: Future[None] | None = None
        self._last_copy = time.monotonic()

    def grown(self) -> None:
        """Copy in the background, unless that was done a moment ago."""
        if time.monotonic() - self._last_copy < _COPY_SECONDS:
            return
        if self._copying is None or self._copying.done():
            self._last_copy = time.monotonic()
            self._copying = self._executor.submit(self._copy_or_warn)

    def copy(self) -> None:
        """Return once everything that was written is on the bucket."""
        self._executor.submit(self._copy).result()

    def close(self) -> None:
        self.copy()
        self._executor.shutdown()
        self._scratch.cleanup()

    def _copy(self) -> None:
        for path in self.folder.iterdir():
            (self._target / path.name).write_bytes(path.read_bytes())

    def _copy_or_warn(self) -> None:
        # Clients of buckets raise what they like; the next copy holds this one's content as well.
        try:
            self._copy()
        except Exception as error:
            logging.warning("%s could not be written: %s", self._target, error)
