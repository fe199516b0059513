"""The network as a U: layers in the order of execution from left to right, resolutions from top to bottom."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

from hwseg.clock.timing import STARTUP
from hwseg.report.pages.draw import WIDTH, Row, described, three

LEFT = 84
LEVEL = 92
TOP = 46
BOX = 40
NARROWEST = 18


def network(rows: Sequence[Row], boundary: str = "pl") -> dict[str, Any]:
    """Nodes with cycles and energy as fill, edges from the layer that wrote a tensor to those that read it."""
    layers = [(i, row) for i, row in enumerate(rows) if row["op"] != STARTUP]
    image = layers[0][1]["input_shape"]
    sizes = sorted({tuple(row["output_shape"][:2]) for _, row in layers} | {tuple(image[:2])}, reverse=True)
    pitch = max(NARROWEST, (WIDTH - LEFT) / (len(layers) + 1))
    wide = min(BOX, pitch - 8)
    cycles = max(row["cycles"] for _, row in layers) or 1
    energies = [row["energy_mj"][boundary]["mid"] for _, row in layers if "energy_mj" in row]
    whole, most = sum(row["cycles"] for row in rows), max(energies, default=0.0) or 1.0

    def place(index: int, shape: Sequence[int]) -> tuple[float, float]:
        return LEFT + pitch * (index + 0.5), TOP + LEVEL * sizes.index(tuple(shape[:2]))

    nodes, makers = [], {}
    x, y = place(0, image)
    nodes.append({"x": x, "y": y, "image": True, "channels": image[2], "full": "the picture"})
    for index, (number, row) in enumerate(layers, 1):
        x, y = place(index, row["output_shape"])
        share = row["cycles"] / whole
        energy = row["energy_mj"][boundary]["mid"] if "energy_mj" in row else None
        nodes.append(
            {
                "x": round(x, 1),
                "y": y,
                "image": False,
                "number": number,
                "channels": row["output_shape"][2],
                "share": f"{100 * share:.0f}" if share >= 0.095 else f"{100 * share:.1f}",
                "cycles": round(BOX * row["cycles"] / cycles, 1),
                "energy": None if energy is None else round(BOX * energy / most, 1),
                "full": described(row) + ("" if energy is None else f", {three(energy)} mJ"),
            }
        )
        makers.update(dict.fromkeys(row["outputs"], index))
    return {
        "nodes": nodes,
        "edges": _edges(layers, makers, nodes, wide),
        "wide": round(wide, 1),
        "half": round(wide / 2, 1),
        "box": BOX,
        "width": max(WIDTH, round(LEFT + pitch * (len(layers) + 1))),
        "height": TOP + LEVEL * len(sizes) - 16,
        "levels": [{"y": TOP + LEVEL * i + BOX / 2 + 4, "text": f"{h}×{w}"} for i, (h, w) in enumerate(sizes)],
        "energy": bool(energies),
    }


def _edges(
    layers: Sequence[tuple[int, Row]], makers: dict[str, int], nodes: Sequence[Row], wide: float
) -> list[dict[str, Any]]:
    """Neighbours are joined directly; others by a line above their nodes, short ones below long ones."""
    found, skips = [], []
    for index, (_, row) in enumerate(layers, 1):
        for source in sorted({makers.get(tensor, 0) for tensor in row["inputs"]}):
            a, b = nodes[source], nodes[index]
            if source != index - 1:
                skips.append((index - source, source, index))
                continue
            start, end, middle = a["x"] + wide / 2, b["x"] - wide / 2 - 2, BOX / 2
            if a["y"] == b["y"]:
                path = f"M{start:.1f} {a['y'] + middle}H{end:.1f}"
            elif a["y"] < b["y"]:
                path = f"M{start:.1f} {a['y'] + middle}H{b['x']:.1f}V{b['y'] - 2}"
            else:
                path = f"M{a['x']:.1f} {a['y']}V{b['y'] + middle}H{end:.1f}"
            found.append({"path": path, "skip": False})
    taken: dict[tuple[float, int], list[tuple[int, int]]] = {}
    for _, source, index in sorted(skips):
        a, b = nodes[source], nodes[index]
        level = min(a["y"], b["y"])
        lane = next(k for k in count() if all(index < i or j < source for i, j in taken.get((level, k), [])))
        taken.setdefault((level, lane), []).append((source, index))
        above = level - 10 - 6 * min(lane, 4)
        found.append({"path": f"M{a['x']:.1f} {a['y']}V{above}H{b['x']:.1f}V{b['y'] - 2}", "skip": True})
    return found
