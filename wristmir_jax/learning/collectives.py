"""What a compiled program sends between devices, read from its HLO text."""

import dataclasses
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

KINDS = (
    *("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute"),
    *("ragged-all-to-all", "collective-broadcast"),
)
_BITS = {"pred": 8, "bf16": 16}
Dimensions = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Collective:
    """One collective operation of a program.

    Attributes:
        kind: of `KINDS`.
        shapes: of what a device gets, one for each array that the operation takes along.
        num_bytes: of these together.
        group_size: devices that take part together; 0 where the text does not say, and for a
            permutation that is no ring over all devices.
        times: that it is executed, loops included.
    """

    kind: str
    shapes: tuple[Dimensions, ...]
    num_bytes: int
    group_size: int
    times: int

    @property
    def sent_bytes(self) -> float:
        """Bytes that a device sends, over all executions, on a ring of its group."""
        size = max(self.group_size, 2)
        share = {
            "all-reduce": 2 * (size - 1) / size,
            "reduce-scatter": size - 1,
            "collective-permute": 1,
        }.get(self.kind, (size - 1) / size)
        return self.num_bytes * share * self.times


def collectives(hlo: str) -> list[Collective]:
    """All collectives of a compiled program, those in loops with the number of their turns.

    Args:
        hlo: `compiled.as_text()`.
    """
    # Long lists of types carry comments such as /*index=5*/.
    hlo = re.sub(r"/\*.*?\*/", "", hlo)
    computations = dict(_computations(hlo))
    times = _times_executed(hlo, computations)
    partitions = re.search(r"num_partitions=(\d+)", hlo)
    num_partitions = int(partitions[1]) if partitions else 1
    found = []
    for name, lines in computations.items():
        for line in lines:
            match = _COLLECTIVE.search(line)
            if match and times[name]:
                shapes, num_bytes = _received(match["type"], match["kind"], bool(match["start"]))
                size = _group_size(line, num_partitions)
                found.append(Collective(match["kind"], shapes, num_bytes, size, times[name]))
    return found


def unexpected(
    found: Iterable[Collective], parameter_shapes: Iterable[Dimensions], min_bytes: int = 2**20
) -> list[Collective]:
    """Those that move something large which is no parameter, such as embeddings or logits.

    The sharding table means parameters to be gathered, gradients to be added up, and the loss to
    pass captions and small sums round the ring of all devices. A permutation that is no such ring
    moves rows from device to device.

    Args:
        found: of a training step.
        parameter_shapes: whole, of all parameters; a layer's own and any equal part are known too.
        min_bytes: smaller ones are statistics and sums.
    """
    known = set()
    for shape in parameter_shapes:
        for part in (shape, shape[1:]):
            known.add(_canonical(part))
    return [
        collective
        for collective in found
        if not (collective.kind == "collective-permute" and collective.group_size)
        and collective.num_bytes >= min_bytes
        and not all(
            math.prod(shape) * 2 < min_bytes or _is_part(shape, known)
            for shape in collective.shapes
        )
    ]


_COLLECTIVE = re.compile(rf"= (?P<type>\(?[^=]*?) (?P<kind>{'|'.join(KINDS)})(?P<start>-start)?\(")
_HEADER = re.compile(r"^(?:ENTRY )?%?(?P<name>[\w.\-]+) .*\{$")
_CALLED = re.compile(
    r"(?:calls|to_apply|body|condition|branch_computations|called_computations)="
    r"(?:\{([^}]*)\}|%?([\w.\-]+))"
)
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_ARRAY = re.compile(r"(pred|[a-z]+\d+[a-z0-9]*)\[([\d,]*)\]")


def _computations(hlo: str) -> Iterator[tuple[str, list[str]]]:
    name, lines = None, []
    for line in hlo.splitlines():
        header = _HEADER.match(line)
        if header:
            name, lines = header["name"], []
        elif line.startswith("}") and name is not None:
            yield name, lines
            name = None
        elif name is not None:
            lines.append(line)


def _times_executed(hlo: str, computations: dict[str, list[str]]) -> Counter[str]:
    entry = re.search(r"^ENTRY %?([\w.\-]+)", hlo, re.MULTILINE)
    calls: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
    for name, lines in computations.items():
        for line in lines:
            turns = _turns(line, computations) if " while(" in line else 1
            for group in _CALLED.findall(line):
                for called in re.findall(r"[\w.\-]+", group[0] or group[1]):
                    if called in computations:
                        calls[name].append((called, turns))
    times: Counter[str] = Counter()
    waiting = [(entry[1], 1)] if entry else []
    while waiting:
        name, count = waiting.pop()
        times[name] += count
        waiting += [(called, count * turns) for called, turns in calls[name]]
    return times


def _turns(line: str, computations: dict[str, list[str]]) -> int:
    """How often a loop turns: noted by the compiler, or the bound that its counter runs up to."""
    if trips := _TRIPS.search(line):
        return int(trips[1])
    condition = re.search(r"condition=%?([\w.\-]+)", line)
    bounds = [
        int(constant)
        for text in computations.get(condition[1] if condition else "", [])
        for constant in re.findall(r"= [su]32\[\]\S* constant\((\d+)\)", text)
    ]
    return bounds[0] if len(bounds) == 1 else 1


def _received(text: str, kind: str, start: bool) -> tuple[tuple[Dimensions, ...], int]:
    arrays = [
        (dtype, tuple(int(length) for length in lengths.split(",") if length))
        for dtype, lengths in _ARRAY.findall(text)
    ]
    # What an asynchronous operation returns at its start holds its inputs as well, except for
    # all-reduce, and a permutation's counters.
    if start and kind != "all-reduce":
        arrays = [array for array in arrays if array != ("u32", ())]
        arrays = arrays[len(arrays) // 2 :]
    num_bytes = sum(math.prod(shape) * _bits(dtype) // 8 for dtype, shape in arrays)
    return tuple(shape for _, shape in arrays), num_bytes


def _bits(dtype: str) -> int:
    if dtype in _BITS:
        return _BITS[dtype]
    digits = re.search(r"\d+", dtype)
    return int(digits[0]) if digits else 8


def _group_size(line: str, num_partitions: int) -> int:
    """Devices that take part together; of a permutation, those of a ring over all devices.

    0 where the text does not say, and for a permutation that is no such ring.
    """
    if pairs := re.search(r"source_target_pairs=\{(.*?)\}\}", line):
        following = dict(re.findall(r"(\d+),(\d+)", pairs[1]))
        return num_partitions if _is_ring(following, num_partitions) else 0
    # replica_groups=mesh['data'=64,'fsdp'=4], device_ids=([4,64]T(1,0)) {'fsdp'}
    if meshed := re.search(
        r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\(\S*\))? \{([^}]*)\}", line
    ):
        lengths = {axis: int(length) for axis, length in re.findall(r"('\w+')=(\d+)", meshed[1])}
        return math.prod(lengths.get(axis.strip(), 1) for axis in meshed[2].split(","))
    if iota := re.search(r"replica_groups=\[\d+,(\d+)\]", line):
        return int(iota[1])
    if listed := re.search(r"replica_groups=\{\{([\d,]*)\}", line):
        return listed[1].count(",") + 1
    return num_partitions if "replica_groups={}" in line else 0


def _is_ring(following: dict[str, str], num_devices: int) -> bool:
    device = "0"
    for _ in range(num_devices - 1):
        device = following.get(device, "0")
        if device == "0":
            return False
    return len(following) == num_devices and following.get(device) == "0"


def _canonical(shape: Dimensions) -> Dimensions:
    return tuple(sorted(length for length in shape if length != 1))


def _is_part(shape: Dimensions, known: set[Dimensions]) -> bool:
    """Whether it is a parameter, or one of the equal parts that it is cut into along one axis."""
    shape = _canonical(shape)
    for whole in known:
        if len(whole) == len(shape):
            differing = [(a, b) for a, b in zip(shape, whole, strict=True) if a != b]
            if not differing:
                return True
        if math.prod(whole) and _one_axis_apart(shape, whole):
            return True
    return False


def _one_axis_apart(shape: Dimensions, whole: Dimensions) -> bool:
    rest = list(whole)
    left = []
    for length in shape:
        if length in rest:
            rest.remove(length)
        else:
            left.append(length)
    if not left:
        return len(rest) <= 1
    return len(left) == 1 and len(rest) == 1 and rest[0] % left[0] == 0
