"""Pictures as SVG, without a library: a map of cells, and points with names."""

from __future__ import annotations

from html import escape
from typing import Callable, Sequence

_FONT = 'font-family="sans-serif" font-size="12"'


def _svg(width: float, height: float, parts: list[str]) -> str:
    frame = f'<rect width="{width:.0f}" height="{height:.0f}" fill="white"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" {_FONT}>{frame}{"".join(parts)}</svg>\n'


def _text(x: float, y: float, said: str, anchor: str = "start", ink: str = "black") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{ink}">{escape(said)}</text>'


def colour(part: float) -> str:
    """From dark red at 0 over yellow to green at 1."""
    stops = [(165, 0, 38), (254, 224, 139), (26, 152, 80)]
    at = min(max(part, 0.0), 1.0) * 2
    a, b = stops[int(min(at, 1.0) // 1 if at < 1 else 1)], stops[min(int(at) + 1, 2)]
    mix = at - int(at) if at < 2 else 1.0
    return "#" + "".join(f"{round(x + (y - x) * mix):02x}" for x, y in zip(a, b))


def shade(part: float) -> str:
    """From white at 0 to blue at 1: of a quantity that is neither good nor bad."""
    at = min(max(part, 0.0), 1.0) ** 0.5  # most heads keep little: the low end has most of the shades
    return "#" + "".join(f"{round(255 + (y - 255) * at):02x}" for y in (8, 64, 160))


def cells(
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float | None]],
    size: int = 26,
    colours: Callable[[float], str] = colour,
) -> str:
    """A map: a cell for each row and column, coloured by its value from 0 to 1, with the value in percent; nothing where there is none."""
    left, top = 8 * max(map(len, rows), default=0) + 16, 44
    parts = [_text(8, 18, title)]
    for j, name in enumerate(columns):
        parts.append(_text(left + (j + 0.5) * size, top - 6, name, "middle"))
    for i, (name, row) in enumerate(zip(rows, values, strict=True)):
        y = top + i * size
        parts.append(_text(left - 6, y + size * 0.65, name, "end"))
        for j, value in enumerate(row):
            if value is None:
                continue
            parts.append(f'<rect x="{left + j * size}" y="{y}" width="{size - 1}" height="{size - 1}" fill="{colours(value)}"/>')
            ink = "white" if colours is shade and value > 0.3 else "black"
            parts.append(_text(left + (j + 0.5) * size - 0.5, y + size * 0.65, f"{value * 100:.0f}", "middle", ink))
    return _svg(left + len(columns) * size + 16, top + len(rows) * size + 12, parts)


def points(title: str, across: str, up: str, named: Sequence[tuple[str, float, float]], width: int = 640, height: int = 400) -> str:
    """Points with names, on axes from the least to the largest value."""
    left, right, top, bottom = 64, width - 160, 36, height - 44
    xs, ys = [x for _, x, _ in named], [y for _, _, y in named]
    scale = _scale(xs, left, right), _scale(ys, bottom, top)
    parts = [_text(8, 18, title), _text((left + right) / 2, height - 8, across, "middle"), _text(8, top - 4, up)]
    parts.append(f'<path d="M{left} {top}V{bottom}H{right}" fill="none" stroke="black"/>')
    for v in sorted({min(xs), max(xs)}):
        parts.append(_text(scale[0](v), bottom + 16, f"{v:.3g}", "middle"))
    for v in sorted({min(ys), max(ys)}):
        parts.append(_text(left - 6, scale[1](v) + 4, f"{v:.3g}", "end"))
    for name, x, y in named:
        parts.append(f'<circle cx="{scale[0](x):.1f}" cy="{scale[1](y):.1f}" r="4" fill="#1a6"/>')
        parts.append(_text(scale[0](x) + 7, scale[1](y) + 4, name))
    return _svg(width, height, parts)


def _scale(values: list[float], a: float, b: float):  # type: ignore[no-untyped-def]
    low, high = min(values), max(values)
    return lambda v: a + (b - a) * (0.5 if high == low else (v - low) / (high - low))
