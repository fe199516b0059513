"""RAM32M for a device without it: memories that synthesis maps to those of any device."""

from __future__ import annotations

import re
from collections import defaultdict

_INSTANCE = re.compile(r"^  RAM32M \w+ \(\n((?:    \.\w+\(.*\),?\n)+)  \);\n", re.M)
_PORT = re.compile(r"\.(\w+)\((.*)\)")


def joined(text: str) -> str:
    """Verilog without RAM32M: its two-bit columns as memories, one for all that share both addresses in a module.

    A memory of four bits for each column would stay half empty.
    """
    return re.sub(r"^module .*?^endmodule\n", lambda found: _joined(found.group()), text, flags=re.S | re.M)


def _joined(module: str) -> str:
    columns: dict[tuple[str, ...], list[tuple[str, str]]] = defaultdict(list)
    for instance in _INSTANCE.finditer(module):
        ports = dict(_PORT.findall(instance.group(1)))
        for letter in "ABCD":
            shared = tuple(ports[port] for port in ("WCLK", "WE", "ADDRD", f"ADDR{letter}"))
            columns[shared].append((ports[f"DI{letter}"], ports[f"DO{letter}"]))
    if not columns:
        return module
    rest = _INSTANCE.sub("", module).removesuffix("endmodule\n")
    return rest + "".join(_memory(n, *shared) for n, shared in enumerate(columns.items())) + "endmodule\n"


def _memory(number: int, shared: tuple[str, ...], columns: list[tuple[str, str]]) -> str:
    clock, enable, written, read = shared
    data, value = (f"{{{', '.join(words)}}}" for words in zip(*columns, strict=True))
    name = f"columns_{number}"
    return f"""\
  reg [{2 * len(columns) - 1}:0] {name} [0:31];
  assign {value} = {name}[{read}];
  always @(posedge {clock}) if ({enable}) {name}[{written}] <= {data};
"""
