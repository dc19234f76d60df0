"""Plain columns."""

from __future__ import annotations

from collections.abc import Sequence


def table(heads: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    """Left-aligned columns two spaces apart; numbers are aligned to the right."""
    cells = [list(heads), *([str(cell) for cell in line] for line in lines)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    numeric = [bool(lines) and all(_is_number(line[column]) for line in lines) for column in range(len(heads))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in cells
    )


def _is_number(cell: object) -> bool:
    if isinstance(cell, str) and cell:
        return cell.lstrip("+-").replace(".", "", 1).isdigit()
    return isinstance(cell, int) or cell == ""
