"""What has been mined so far, by the content of the reports: an SQLite file.

It outlives a killed run, so that nothing is asked twice; equal texts are mined once. It holds
findings and offsets, never text.
"""

import dataclasses
import hashlib
import json
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from wristmir_jax.reports.findings import SCHEMA_VERSION, Findings
from wristmir_jax.reports.mining import Evidence, Mined, Rejection, Report

Answer = Sequence[Mined] | Rejection


class Answers:
    """Answers of one miner.

    Args:
        path: of the file; it is made where there is none.
        miner: what answers depend on: name, model, revision, version of the prompt.
    """

    def __init__(self, path: Path, miner: str):
        self._miner = miner
        self._connection = sqlite3.connect(path)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, answer TEXT NOT NULL)"
        )

    def key(self, report: Report) -> bytes:
        """Of the content of a report, for this miner and version of the schema."""
        parts = (self._miner, str(SCHEMA_VERSION), report.laterality, report.text)
        digest = hashlib.blake2b(digest_size=16)
        for part in parts:
            content = part.encode()
            digest.update(len(content).to_bytes(8, "little") + content)
        return digest.digest()

    def __contains__(self, report: Report) -> bool:
        found = self._connection.execute(
            "SELECT 1 FROM answers WHERE key = ?", (self.key(report),)
        ).fetchone()
        return found is not None

    def add(self, answers: Iterable[tuple[Report, Answer]]) -> None:
        """Keep answers; they survive whatever happens once this returns.

        Failures of the miner are not kept: they are to be asked again.
        """
        rows = [
            (self.key(report), _packed(answer))
            for report, answer in answers
            if not (isinstance(answer, Rejection) and answer.again)
        ]
        with self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?)", rows)

    def get(self, report: Report) -> Answer | None:
        """The answer to a report, under its own exam_id."""
        row = self._connection.execute(
            "SELECT answer FROM answers WHERE key = ?", (self.key(report),)
        ).fetchone()
        return None if row is None else _unpacked(row[0], report.exam_id)

    def close(self) -> None:
        self._connection.close()


def _packed(answer: Answer) -> str:
    if isinstance(answer, Rejection):
        return json.dumps({"rejected": answer.reason})
    return json.dumps(
        [
            {
                "findings": mined.findings.model_dump(mode="json", exclude={"exam_id"}),
                "evidence": [dataclasses.astuple(item) for item in mined.evidence],
            }
            for mined in answer
        ]
    )


def _unpacked(text: str, exam_id: str) -> Answer:
    content = json.loads(text)
    if isinstance(content, dict):
        return Rejection(exam_id, content["rejected"])
    return [
        Mined(
            Findings.model_validate({"exam_id": exam_id, **entry["findings"]}),
            tuple(Evidence(*item) for item in entry["evidence"]),
        )
        for entry in content
    ]
