/* Points of a chart in focus, for readers without a pointer: which, and where it is. */
"use strict";

const ARROWS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
const isPlainKey = (event) => !(event.altKey || event.ctrlKey || event.metaKey);

/* `go` says what is to the right or up of a place: its x, y and words; null for nothing. */
function addKeys(chart, go) {
  let place = null;
  chart.addEventListener("keydown", (event) => {
    const arrow = isPlainKey(event) && ARROWS[event.key];
    const next = arrow && go(place, ...arrow);
    if (!next) return;
    event.preventDefault();
    place = next;
    Plotly.relayout(chart, { shapes: [markOf(place)] });
    const box = chart.getBoundingClientRect();
    showTip(place.words, box.left + 40, box.top + 10);
  });
  chart.addEventListener("blur", () => {
    hideTip();
    if (chart.layout.shapes?.length) Plotly.relayout(chart, { shapes: [] });
  });
}

/* A ring, or the edge of a tile. */
function markOf({ x, y, isTile }) {
  const look = { xref: "x", yref: "y", line: { color: css("--ink"), width: isTile ? 4 : 2 } };
  if (isTile) return { ...look, type: "rect", x0: x - 0.5, x1: x + 0.5, y0: y - 0.5, y1: y + 0.5 };
  return {
    ...look, type: "circle", xsizemode: "pixel", ysizemode: "pixel",
    xanchor: x, yanchor: y, x0: -6, x1: 6, y0: -6, y1: 6,
  };
}

/* On a chart of curves: right along one, up to another. */
const alongCurves = (chart, wordsOf) => (place, right, up) => {
  const curves = chart.data.flatMap((trace, of) => trace.meta.starts.map((start, i) =>
    ({ of, start, last: (trace.meta.starts[i + 1] ?? trace.x.length + 1) - start - 2 })));
  if (!curves.length) return null;
  const now = curves.findIndex(({ of, start }) => of === place?.of && start === place.start);
  const curve = curves[(Math.max(now, 0) - up + curves.length) % curves.length];
  const nth = Math.min(Math.max((place?.nth ?? 0) + right, 0), curve.last);
  const trace = chart.data[curve.of];
  const point = curve.start + nth;
  return { ...curve, nth, x: trace.x[point], y: trace.y[point], words: wordsOf(trace, point) };
};

/* On a chart of cells: to the next one by its place across, or up; line by line on a grid. */
const overCells = (cells, isTile, wordsOf) => (place, right, up) => {
  const [first, second] = (right !== 0) === isTile ? ["y", "x"] : ["x", "y"];
  const sorted = [...cells].sort((a, b) =>
    compare(a.at[first], b.at[first]) || compare(a.at[second], b.at[second]));
  const next = sorted.findIndex((cell) => cell.key === place?.key) + right + up;
  const cell = sorted[Math.min(Math.max(next, 0), sorted.length - 1)];
  return cell ? { key: cell.key, ...cell.at, isTile, words: wordsOf(cell) } : null;
};
