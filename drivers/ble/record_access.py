"""Record Access Control Point, 2A52: how a device answers who asks for its stored records.

    op 8 | operator 8 | operand
    05 number of records: operator 0, count 8, 16 or 32 bits | 06 response: operator 0, request op 8, result 8
    11 Omron, the latest sequence number: operator 0, 16 bits
    01 report, 02 delete, 03 abort, 04 count, 10 Omron, which is the latest: what a host asks, seen in captures

1. Nothing of it is sent by this gateway: 02 erases.
2. A result that is not known is told by its number. An op that is not known is refused.
3. A request is told where it is whole. A filter stands in it for two operators, and is Omron's: 4, 16 bits. No other
   device read here has records to ask for.

Sources: Bluetooth GATT Specification Supplement; NordicSemiconductor/Android-BLE-Common-Library,
RecordAccessControlPointDataCallbackTest (counts of 8 and 32 bits); StanfordSpezi/SpeziDevices, SpeziOmronTests.
"""

from __future__ import annotations

from drivers.contract import Event, Notice, Rejected

_REPORT, _DELETE, _ABORT, _COUNT, _NUMBER, _RESPONSE = range(1, 7)
_LATEST, _LATEST_IS = 0x10, 0x11
_REQUESTS = {
    _REPORT: "report stored records",
    _DELETE: "delete stored records",
    _ABORT: "abort",
    _COUNT: "report the number of stored records",
    _LATEST: "report the latest sequence number",
}
_OPERATORS = {1: "all", 2: "up to a sequence number", 3: "from a sequence number on", 5: "the first", 6: "the last"}
_FILTERED = (2, 3)
_NO_OPERATOR = (_ABORT, _LATEST)
_OMRON_FILTER, _FILTER_LENGTH = 4, 3
_RESULTS = (
    "success",
    "op not supported",
    "invalid operator",
    "operator not supported",
    "invalid operand",
    "no records found",
    "abort unsuccessful",
    "procedure not completed",
    "operand not supported",
)
_CODE = "record_access"


def decode(value: bytes) -> Event:
    """2A52: answer in words what was said, or why it is none of the above."""
    if len(value) < 2:
        return Rejected("length", value)
    op, operator, operand = value[0], value[1], value[2:]
    if op in _REQUESTS:
        return _request(op, operator, operand, value)
    if op not in (_NUMBER, _RESPONSE, _LATEST_IS):
        return Rejected("unknown_operation", value)
    if operator:
        return Rejected("unknown_operator", value)
    if len(operand) not in {_NUMBER: (1, 2, 4), _RESPONSE: (2,), _LATEST_IS: (2,)}[op]:
        return Rejected("length", value)
    if op == _RESPONSE:
        asked, result = operand
        words = _RESULTS[result - 1] if 1 <= result <= len(_RESULTS) else f"result {result}"
        return Notice(_CODE, f"{_REQUESTS.get(asked, f'op {asked}')}: {words}", value)
    number = int.from_bytes(operand, "little")
    return Notice(_CODE, f"{number} records" if op == _NUMBER else f"the latest sequence number is {number}", value)


def _request(op: int, operator: int, operand: bytes, value: bytes) -> Event:
    if op in _NO_OPERATOR:
        if operator:
            return Rejected("unknown_operator", value)
        return Rejected("length", value) if operand else Notice(_CODE, f"asked to {_REQUESTS[op]}", value)
    if operator not in _OPERATORS:
        return Rejected("unknown_operator", value)
    if len(operand) != (_FILTER_LENGTH if operator in _FILTERED else 0):
        return Rejected("length", value)
    if operand and operand[0] != _OMRON_FILTER:
        return Rejected("unknown_filter", value)
    return Notice(_CODE, f"asked to {_REQUESTS[op]}: {_OPERATORS[operator]}", value)
