"""Parquet files."""

import pyarrow as pa
import pyarrow.parquet as pq
from etils import epath


def read_parquet(path: epath.Path) -> pa.Table:
    """All of a Parquet file, local or on a bucket.

    Raises:
        OSError: there is none, or it cannot be read.
        pa.ArrowException: it is no Parquet file.
    """
    # Read by this thread alone: a pool thread that lets go of one of Python's buffers while a short
    # command is already leaving aborts it, with another exit status than the command's own.
    with path.open("rb") as file, pq.ParquetFile(file, pre_buffer=False) as parquet:
        return parquet.read(use_threads=False)
