/* The milestone's median over any two settings that differ. */
"use strict";

const SCALE = "Viridis";
const EVERY = "best"; // of the other settings
const LEAST_FILLED = 0.25; // of a grid; less is drawn as dots

const axisOf = (data, select) => data.axes.indexOf(Number(byId(select).value));

function addMapChoices(data) {
  const options = data.axes.map((i) => [String(i), data.settings[i].words]);
  byId("map-controls").hidden = options.length < 2;
  if (options.length < 2) return;
  addOptions(byId("map-x"), options, data.map_axes[1]);
  addOptions(byId("map-y"), options, data.map_axes[0]);
}

/* The axes are two settings: each list leaves out what the other has. */
function partAxes() {
  const [x, y] = ["map-x", "map-y"].map(byId);
  if (x.value === y.value) { // of an address, when other settings were the first choice
    y.value = [...y.options].find((option) => option.value !== x.value).value;
  }
  for (const [one, other] of [[x, y], [y, x]]) {
    for (const option of one.options) option.hidden = option.disabled = option.value === other.value;
  }
}

/* The settings that are no axis, in words. */
function othersOf(data, row) {
  const axes = ["map-x", "map-y"].map((select) => axisOf(data, select));
  const words = [];
  row.axes.forEach((value, i) => {
    if (axes.includes(i) || value === null) return;
    words.push(`${data.settings[data.axes[i]].words} ${short(value)}`);
  });
  return words.join(", ");
}

function addOthers(data, rows) {
  const before = byId("map-rest").value;
  const others = [...new Set(rows.map((row) => othersOf(data, row)))];
  const each = others.map((text) => [`=${text}`, text || "none"]);
  const options = [[EVERY, "the best of each"], ...(others.length > 1 ? each : [])];
  addOptions(byId("map-rest"), options, EVERY);
  setChoice(byId("map-rest"), before);
  byId("map-rest").closest("label").hidden = others.length < 2;
}

/* Of each pair of values the first row: rows come best first. */
function cellsOf(data, rows) {
  const [x, y] = ["map-x", "map-y"].map((select) => axisOf(data, select));
  const rest = byId("map-rest").value;
  const cells = new Map();
  for (const row of rows) {
    if (rest !== EVERY && rest !== `=${othersOf(data, row)}`) continue;
    const key = JSON.stringify([row.axes[x], row.axes[y]]);
    if (!cells.has(key)) cells.set(key, { key, x: row.axes[x], y: row.axes[y], row });
  }
  return [...cells.values()];
}

/* Lists of values fill a grid, or much of it; values that were drawn are all over it. */
function isGrid(cells) {
  const [across, up] = ["x", "y"].map((axis) => new Set(cells.map((cell) => cell[axis])).size);
  return cells.length >= LEAST_FILLED * across * up;
}

function cellWords({ row }, milestone) {
  const median = `${milestone.words}: ${medianWords(row, milestone)}`;
  return [row.label, median, `${row.reached} of ${row.finished} have one`].join("\n");
}

let goOnMap = () => null; // as drawn last

async function drawMap(data, chosen) {
  if (data.axes.length < 2) return;
  const milestone = milestoneOf(data);
  const rows = chosenSettings(data, chosen).filter((row) => row.finished);
  partAxes();
  addOthers(data, rows);
  const cells = cellsOf(data, rows);
  const known = cells.map((cell) => cell.row.median).filter((median) => median !== null);
  const isLogColour = known.length > 0 && Math.min(...known) > 0;
  const colour = (median) => (isLogColour ? Math.log10(median) : median);
  const isTile = isGrid(cells);
  const draw = isTile ? tiles : dots;
  const { traces, x, y } = draw(data, cells, colour, colourBar(known, isLogColour));
  const settingOf = (select) => data.settings[Number(byId(select).value)];
  const titled = (select) => ({ title: { text: plain(settingOf(select).words) } });
  const layout = layoutOf({ ...titled("map-x"), ...x }, { ...titled("map-y"), ...y });
  const chart = byId("map");
  await Plotly.react(chart, traces, layout, { ...CONFIG, doubleClick: "reset" });
  await Plotly.Plots.resize(chart); // the place beside it may have become free
  const wordsOf = (cell) => cellWords(cell, milestone);
  // Of a tile the number is "row,column".
  tipOnHover(chart, (point) => wordsOf(point.data.meta[String(point.pointNumber)]));
  const seen = cells.filter(({ at }) => at.x !== null && at.y !== null);
  goOnMap = overCells(seen, isTile, wordsOf);
  byId("map-title").textContent = `Median: ${milestone.words}`;
  byId("map-note").textContent =
    known.length < cells.length ? "×: never in most of the seeds." : "";
}

function colourBar(known, isLogColour) {
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const middle = isLogColour ? Math.sqrt(low * high) : (low + high) / 2;
  const ticks = known.length ? [...new Set([low, middle, high])] : [];
  return {
    tickvals: ticks.map((value) => (isLogColour ? Math.log10(value) : value)),
    ticktext: ticks.map(short), thickness: 12, outlinewidth: 0,
  };
}

const marks = (cells, x, y) => ({
  type: "scatter", mode: "markers", hoverinfo: "none", x, y, meta: cells,
  marker: { symbol: "x-thin", size: 9, line: { width: 2, color: css("--quiet") } },
});

function tiles(data, cells, colour, colorbar) {
  const values = ["x", "y"].map((axis) => {
    const setting = data.settings[Number(byId(`map-${axis}`).value)];
    return setting.values.filter((value) => cells.some((cell) => cell[axis] === value));
  });
  const z = values[1].map(() => values[0].map(() => null));
  const text = values[1].map(() => values[0].map(() => ""));
  const meta = {};
  for (const cell of cells) {
    const { x, y } = cell.at = { x: values[0].indexOf(cell.x), y: values[1].indexOf(cell.y) };
    meta[`${y},${x}`] = cell;
    if (cell.row.median === null) continue;
    z[y][x] = colour(cell.row.median);
    text[y][x] = short(cell.row.median);
  }
  const never = cells.filter((cell) => cell.row.median === null);
  const axis = (of) => ({
    tickvals: of.map((_, i) => i), showgrid: false, range: [-0.5, of.length - 0.5],
    ticktext: of.map((value) => plain(value === null ? "none" : short(value))),
  });
  const heat = {
    type: "heatmap", z, text, meta, texttemplate: "%{text}", hoverinfo: "none",
    colorscale: SCALE, reversescale: true, xgap: 2, ygap: 2, colorbar, hoverongaps: false,
  };
  return {
    traces: [heat, marks(never, never.map(({ at }) => at.x), never.map(({ at }) => at.y))],
    x: axis(values[0]), y: axis(values[1]),
  };
}

function dots(data, cells, colour, colorbar) {
  const there = cells.filter((cell) => cell.row.median !== null);
  const never = cells.filter((cell) => cell.row.median === null);
  const shown = (value) => (typeof value === "string" ? plain(value) : value);
  for (const cell of cells) cell.at = { x: shown(cell.x), y: shown(cell.y) };
  const at = (axis, some) => some.map((cell) => cell.at[axis]);
  const found = {
    type: "scatter", mode: "markers", hoverinfo: "none", meta: there,
    x: at("x", there), y: at("y", there),
    marker: {
      size: 11, color: there.map((cell) => colour(cell.row.median)),
      colorscale: SCALE, reversescale: true, colorbar, showscale: true,
    },
  };
  const axis = (name) => {
    const values = cells.map((cell) => cell[name]);
    const isWide = values.every((v) => v > 0) && Math.max(...values) > 20 * Math.min(...values);
    return { type: isWide ? "log" : undefined };
  };
  return { traces: [found, marks(never, at("x", never), at("y", never))], x: axis("x"), y: axis("y") };
}
