"""Mining a file of reports: streamed in and out, taken up again after any interruption."""

import collections
import dataclasses
import json
import random
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from etils import epath

from wristmir_jax.errors import UserError
from wristmir_jax.json_lines import json_lines, json_objects
from wristmir_jax.progress import with_progress
from wristmir_jax.reports.answers import Answers
from wristmir_jax.reports.findings import SCHEMA_VERSION, Findings
from wristmir_jax.reports.mining import Mined, Rejection, Report
from wristmir_jax.reports.verification import verified

# Reports that a miner is given, and answers that are kept, at a time.
BATCH = 256
_SIDES = ("left", "right", "unknown")
# Characters a token, on average, of English text.
_CHARACTERS_A_TOKEN = 4.0

BatchMiner = Callable[[Iterator[list[Report]]], Iterator[list[tuple[Report, Any]]]]


def read_reports(path: epath.PathLike) -> Iterator[Report | Rejection]:
    """Reports of a JSONL file; what a line lacks makes it a rejection.

    A line has `exam_id`, one or a list of them where a report is on several exams, and `report`;
    `laterality` where the side of the exam is known.

    Raises:
        UserError: there is no such file, or it is no text.
    """
    for number, line in json_objects(epath.Path(path), "reports"):
        if line is None:
            yield Rejection("", f"line {number}: not a JSON object")
            continue
        exam_ids = line.get("exam_id")
        exam_ids = exam_ids if isinstance(exam_ids, list) and exam_ids else [exam_ids]
        text, side = line.get("report"), line.get("laterality") or "unknown"
        for exam_id in exam_ids:
            if not isinstance(exam_id, str) or not exam_id:
                yield Rejection("", f"line {number}: exam_id is no text")
            elif not isinstance(text, str) or not text.strip():
                yield Rejection(exam_id, f"line {number}: report is empty or no text")
            elif not _is_unicode(text):
                yield Rejection(exam_id, f"line {number}: report holds half a character")
            elif side not in _SIDES:
                yield Rejection(
                    exam_id, f"line {number}: laterality is none of {', '.join(_SIDES)}"
                )
            else:
                yield Report(exam_id, text, side)


def _is_unicode(text: str) -> bool:
    """Whether a text can be written down: JSON may hold one half of a pair of surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclasses.dataclass
class Account:
    """What became of the reports."""

    read: int = 0
    sides: int = 0
    flagged: int = 0
    again: int = 0
    rejected: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    def lines(self) -> list[str]:
        total = sum(self.rejected.values())
        reasons = [f"  {count} {reason}" for reason, count in self.rejected.most_common()]
        if self.again:
            reasons.append(f"the same command asks for {self.again} of them once more")
        return [
            f"read {self.read}  findings {self.sides}  flagged {self.flagged}  rejected {total}",
            *reasons,
        ]


def mine(
    reports: epath.PathLike,
    output: Path,
    miner: BatchMiner,
    identity: str,
    *,
    cache: Path,
    evidence_text: bool = False,
) -> Account:
    """Write the findings of all reports to `output`, and what could not be mined beside it.

    Answers are kept in `cache` as they come, so that a run that was killed goes on where it was.
    Lines are in the order of the reports whatever the order of the answers.

    Args:
        reports: JSONL, see `read_reports`.
        output: JSONL, a line for each report and side.
        miner: batches of reports -> batches of reports with their answers, in any order.
        identity: what answers depend on besides the report; also written beside each of them.
        cache: file of `Answers`.
        evidence_text: whether to write the words of the report beside their place.

    Raises:
        UserError: the reports cannot be read, or a file not written.
    """
    try:
        return _mine(reports, output, miner, identity, cache, evidence_text)
    except sqlite3.Error as error:
        raise UserError(
            f"--cache={cache}: {error}: give a file that only one run of mine writes"
        ) from None


def _mine(
    reports: epath.PathLike,
    output: Path,
    miner: BatchMiner,
    identity: str,
    cache: Path,
    evidence_text: bool,
) -> Account:
    answers = Answers(cache, identity)
    try:
        total = sum(
            not isinstance(report, Rejection) and report not in answers
            for report in read_reports(reports)
        )
        unanswered = _batches(reports, answers)
        failed: dict[bytes, Rejection] = {}
        started = with_progress(miner(unanswered), "mine", total, count=len, unit=" reports")
        for batch in started:
            answers.add(batch)
            for report, answer in batch:
                if isinstance(answer, Rejection) and answer.again:
                    failed[answers.key(report)] = answer
        return _write(reports, output, answers, failed, identity, evidence_text)
    finally:
        answers.close()


def _batches(reports: epath.PathLike, answers: Answers) -> Iterator[list[Report]]:
    """Reports that have no answer yet, equal ones once."""
    batch: list[Report] = []
    asked: set[bytes] = set()
    for report in read_reports(reports):
        if isinstance(report, Rejection) or report in answers:
            continue
        key = answers.key(report)
        if key in asked:
            continue
        asked.add(key)
        batch.append(report)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def rejected_file(output: Path) -> Path:
    """Beside the findings: what could not be mined, with the reason."""
    return output.with_name(f"{output.name.removesuffix('.jsonl')}.rejected.jsonl")


def _write(
    reports: epath.PathLike,
    output: Path,
    answers: Answers,
    failed: Mapping[bytes, Rejection],
    identity: str,
    evidence_text: bool,
) -> Account:
    account = Account()
    aside = [
        # One name, so that the next run replaces what a killed one left.
        path.with_name(f"{path.name}.partial")
        for path in (output, rejected_file(output))
    ]
    try:
        with aside[0].open("w") as found, aside[1].open("w") as refused:
            for report in read_reports(reports):
                account.read += 1
                if isinstance(report, Rejection):
                    answer, text = report, ""
                else:
                    answer, text = _answer(report, answers, failed), report.text
                if isinstance(answer, Rejection):
                    account.rejected[_plain(answer.reason)] += 1
                    account.again += answer.again
                    line = {"exam_id": answer.exam_id, "reason": answer.reason}
                    print(json.dumps(line), file=refused)
                    continue
                for mined, flags in zip(*answer, strict=True):
                    account.sides += 1
                    account.flagged += bool(flags)
                    line = _line(mined, flags, identity, text if evidence_text else None)
                    print(json.dumps(line), file=found)
        aside[0].rename(output)
        aside[1].rename(rejected_file(output))
    except BaseException:
        for path in aside:
            path.unlink(missing_ok=True)
        raise
    return account


def _answer(report: Report, answers: Answers, failed: Mapping[bytes, Rejection]) -> Any:
    answer = answers.get(report)
    if answer is None:
        failure = failed.get(answers.key(report))
        reason = failure.reason if failure else "the file was changed while it was mined"
        return Rejection(report.exam_id, reason, again=True)
    return verified(report, answer)


def _plain(reason: str) -> str:
    """Without the number of the line, so that equal reasons are counted together."""
    return reason.split(": ", 1)[1] if reason.startswith("line ") else reason


def _line(mined: Mined, flags: Sequence[str], identity: str, text: str | None) -> dict[str, Any]:
    evidence = [dataclasses.asdict(item) for item in mined.evidence]
    if text is not None:
        for item in evidence:
            item["text"] = text[item["start"] : item["end"]]
    return {
        "exam_id": mined.findings.exam_id,
        "schema_version": SCHEMA_VERSION,
        "miner": identity,
        "findings": mined.findings.model_dump(mode="json", exclude={"exam_id"}),
        "evidence": evidence,
        "flags": list(flags),
    }


def read_findings(path: epath.PathLike, flag: str) -> dict[str, list[Findings]]:
    """Findings by exam, of a file that `mine` wrote or of a gold set.

    A gold set has a list of findings on a line.

    Raises:
        UserError: there is no such file, or a line is of another kind.
    """
    found: dict[str, list[Findings]] = collections.defaultdict(list)
    for number, line in json_lines(epath.Path(path), flag):
        try:
            entries = line["findings"]
            for entry in entries if isinstance(entries, list) else [entries]:
                values = {"exam_id": line["exam_id"], **entry}
                found[str(line["exam_id"])].append(Findings.model_validate(values))
        except (KeyError, TypeError, ValueError):
            raise UserError(
                f"{path}, line {number}: no findings of schema {SCHEMA_VERSION}: check --{flag}"
            ) from None
    return dict(found)


def estimate(
    reports: epath.PathLike,
    miner: BatchMiner,
    *,
    parallel: int = 1,
    sample_size: int = 32,
    prompt_characters: int = 0,
) -> str:
    """One line on what mining will take, from a sample that is mined and thrown away.

    Args:
        reports: JSONL.
        miner: as of `mine`, working by itself.
        parallel: how many of them will work side by side.
        sample_size: reports of the sample, from the whole of the file.
        prompt_characters: what is read with each report.
    """
    sample: list[Report] = []
    draws = random.Random(0)
    count = characters = 0
    for report in read_reports(reports):
        if isinstance(report, Rejection):
            continue
        count += 1
        characters += len(report.text) + prompt_characters
        _draw(sample, report, count, sample_size, draws)
    if not sample:
        return "no reports"
    # The first call reads tables or loads weights.
    collections.deque(miner(iter([sample[:1]])), maxlen=0)
    begin = time.perf_counter()
    collections.deque(miner(iter([sample])), maxlen=0)
    rate = parallel * len(sample) / (time.perf_counter() - begin)
    prompted = ", prompts included" if prompt_characters else ""
    return (
        f"{count:,} reports, about {characters / _CHARACTERS_A_TOKEN:,.0f} tokens"
        f"{prompted}; "
        f"{rate:,.1f} reports/s in a sample of {len(sample)}: {count / rate / 3600:,.2f} hours"
    )


def _draw(
    sample: list[Report], report: Report, count: int, size: int, draws: random.Random
) -> None:
    """One step of reservoir sampling (Vitter 1985, ACM TOMS 11:37), report number `count`."""
    if len(sample) < size:
        sample.append(report)
    elif (place := draws.randrange(count)) < size:
        sample[place] = report
