/* What the seeds of each setting gave: medians, how many never got there, survival. */
"use strict";

/* The chosen milestone; none before anything is recorded. */
const milestoneOf = (data) => data.results.find((each) => each.name === byId("milestone").value);

/* The chosen settings by the milestone, best first, as the records' own table has them. */
function chosenSettings(data, chosen) {
  const there = new Set(chosen.map((run) => data.runs[run].setting));
  return data.by_setting[milestoneOf(data).name].filter((row) => there.has(row.setting));
}

/* Colour and line of a setting, as on the sweep's own pictures. */
function lookOf(data, setting) {
  const { colours, dashes, of } = data.colourings[""];
  const group = of[data.runs.findIndex((run) => run.setting === setting)];
  return { color: shade(colours[group]), dash: dashes[group] };
}

function medianWords(row, milestone) {
  if (!row.finished) return "not yet known";
  if (row.median !== null) return short(row.median);
  return milestone.is_time ? "never" : NOTHING;
}

function rangeWords(row, milestone) {
  if (row.least === null) return NOTHING;
  const largest = row.largest === null && milestone.is_time ? "never" : short(row.largest);
  return `${short(row.least)} – ${largest}`;
}

function drawSettings(data, chosen) {
  const milestone = milestoneOf(data);
  const rows = chosenSettings(data, chosen);
  const header = ["setting", "runs", ...(milestone.is_time ? ["reached"] : []),
    "median", "range", "at the end", "diverged", "unfinished"];
  fill(byId("settings"), header, rows.map((row) => {
    const reached = milestone.is_time ? [`${row.reached} of ${row.finished}`] : [];
    const cells = [row.runs, ...reached, medianWords(row, milestone), rangeWords(row, milestone),
      short(row.final), row.diverged || NOTHING, row.unfinished || NOTHING];
    return element("tr", {},
      element("td", {}, swatch(lookOf(data, row.setting).color), row.label),
      ...cells.map((cell) => element("td", {}, String(cell))));
  }));
  fold("settings");
}

/* Only what there is to see has a place: a milestone in steps, two settings that differ. */
function showFigures(data) {
  byId("survival").closest("figure").hidden = !milestoneOf(data).is_time;
  byId("map").closest("figure").hidden = data.axes.length < 2;
}

function survivalWords({ meta: { row: { label, survival } } }, i) {
  return `${label}\n${survival.reached} of ${survival.runs} got there\n` +
    `step ${short(survival.steps[i])}: ${short(100 * survival.fractions[i])} % not yet there`;
}

async function drawSurvival(data, chosen) {
  const milestone = milestoneOf(data);
  const all = chosenSettings(data, chosen).filter((row) => row.survival);
  const rows = all.slice(0, data.most_curves);
  if (!milestone.is_time) return;
  const log = isLog("steps");
  const traces = rows.map((row) => ({
    type: "scatter", mode: "lines", hoverinfo: "none",
    x: row.survival.steps.map((step) => (log ? Math.max(step, 1) : step)),
    y: row.survival.fractions,
    line: { shape: "hv", width: 2, ...lookOf(data, row.setting) },
    meta: { row, starts: [0] },
  }));
  const layout = layoutOf(
    {
      title: { text: milestone.words }, type: log ? "log" : "linear",
      exponentformat: "none", separatethousands: true,
      range: stepsTo(Math.max(1, ...rows.map((row) => row.survival.steps.at(-1)))),
    },
    { range: [-0.03, 1.03], tickformat: ".0%" },
  );
  layout.hoverdistance = -1; // between two jumps no point is near
  const chart = byId("survival");
  await Plotly.react(chart, traces, layout, { ...CONFIG, doubleClick: "reset" });
  tipOnHover(chart, (point) => survivalWords(point.data, point.pointNumber));
  byId("survival-legend").replaceChildren(...rows.map((row) =>
    element("li", {}, swatch(lookOf(data, row.setting).color),
      `${row.label} (${row.survival.reached} of ${row.survival.runs} got there)`)));
  byId("survival-note").textContent =
    "Kaplan–Meier. A run that never got there is censored at its last step, " +
    "one that diverged at its budget." +
    (all.length > rows.length ? ` The best ${rows.length} of ${all.length} settings.` : "");
}
