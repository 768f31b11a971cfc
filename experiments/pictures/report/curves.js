/* Accuracy, loss and weight norm of the chosen runs against their steps. */
"use strict";

const QUANTITIES = [
  {
    name: "accuracy", title: "Accuracy",
    columns: { validation: "validation_accuracy", train: "train_accuracy" },
  },
  {
    name: "loss", title: "Loss",
    columns: { validation: "validation_loss", train: "train_loss" },
  },
  { name: "norm", title: "Weight norm", columns: { all: "weight_norm" } },
];

const FEW_POINTS = 5; // of a curve, that are marked

function addCharts(data) {
  for (const quantity of QUANTITIES) {
    const columns = Object.values(quantity.columns);
    quantity.isThere = data.curves.runs.some((run) => columns.some((c) => c in run.columns));
    if (!quantity.isThere) {
      byId(`log-${quantity.name}`).closest("label").hidden = true;
      continue;
    }
    const title = `title-${quantity.name}`;
    byId("charts").append(
      element("figure", {},
        element("figcaption", { id: title }, quantity.title),
        element("div", {
          class: "chart", id: `chart-${quantity.name}`, tabindex: "0", role: "group",
          "aria-labelledby": title,
        })),
    );
  }
}

/* One trace for all runs of a colour: hundreds of traces are slow. NaN parts the runs. */
function traceOf(data, runs, column, look) {
  const x = [], y = [], starts = [], drawn = [];
  const isLog = byId("log-steps").checked;
  for (const run of runs) {
    const found = curveOf(data, run, column);
    if (found === null || found.values.length === 0) continue;
    if (x.length) {
      x.push(NaN);
      y.push(NaN);
    }
    starts.push(x.length);
    drawn.push(run);
    // Step 0 has no place on a logarithmic axis: it is at the left edge, as step 1.
    for (const step of found.steps) x.push(isLog ? Math.max(step, 1) : step);
    for (const value of found.values) y.push(value);
  }
  return {
    // A line of one point is not seen.
    type: "scatter", mode: x.length <= FEW_POINTS * drawn.length ? "lines+markers" : "lines",
    x, y, hoverinfo: "none", marker: { size: 4 },
    line: { color: look.colour, width: look.width, dash: look.dash },
    opacity: look.opacity,
    meta: { column, starts, runs: drawn },
  };
}

function tracesOf(data, chosen, quantity) {
  const { colours, of } = colouring(data);
  const groups = Map.groupBy(chosen, (run) => of[run]);
  const picked = new Set(view.picked);
  const stands = chosen.filter((run) => picked.has(data.runs[run].name));
  const traces = [];
  for (const split of ["train", "validation", "all"]) {
    const column = quantity.columns[split];
    if (!column || (split !== "all" && !byId(split).checked)) continue;
    const dash = split === "train" ? "6px,4px" : "solid";
    const opacity = stands.length ? 0.15 : 0.85;
    for (const [group, runs] of groups) {
      const look = { colour: shade(colours[group]), width: 1.3, dash, opacity };
      traces.push(traceOf(data, runs, column, look));
    }
    for (const run of stands) {
      const look = { colour: shade(colours[of[run]]), width: 2.6, dash, opacity: 1 };
      traces.push(traceOf(data, [run], column, look));
    }
  }
  return traces;
}

const isLog = (name) => byId(`log-${name}`).checked;
const onAxis = (range, log) => (log ? range.map((value) => Math.log10(Math.max(value, 1e-12))) : range);
const offAxis = (range, log) => (log ? range.map((value) => 10 ** value) : range);

/* Steps up to a last one on their axis, with some room at both ends. */
const stepsTo = (last) =>
  isLog("steps") ? onAxis([0.93, last ** 1.02], true) : [-0.02 * last, 1.02 * last];

const wholeSteps = (data) => stepsTo(lastStep(data));

/* Those that are seen. */
function stepRange(data) {
  const whole = wholeSteps(data);
  return view.steps ? within(onAxis(view.steps, isLog("steps")), whole) : whole;
}

function curveLayout(data, quantity) {
  const x = {
    title: { text: "training steps" },
    type: isLog("steps") ? "log" : "linear",
    range: stepRange(data),
    exponentformat: "none", separatethousands: true,
  };
  const y = { type: isLog(quantity.name) ? "log" : "linear", exponentformat: "power", nticks: 8 };
  const kept = view.ranges[quantity.name];
  if (kept) y.range = onAxis(kept, isLog(quantity.name));
  else if (quantity.name === "accuracy" && !isLog("accuracy")) y.range = [-0.02, 1.02];
  else if (quantity.name === "norm" && !isLog("norm")) y.rangemode = "tozero";
  if (quantity.name === "accuracy") {
    y.tickformat = ".4~p"; // 0.5 % is not 0 %
    if (isLog("accuracy")) y.nticks = 3; // else every label of 10 % to 100 % is drawn
  }
  return layoutOf(x, y);
}

async function drawCurves(data, chosen) {
  tellEnds(data);
  for (const quantity of QUANTITIES.filter((each) => each.isThere)) {
    const chart = byId(`chart-${quantity.name}`);
    await Plotly.react(chart, tracesOf(data, chosen, quantity), curveLayout(data, quantity), CONFIG);
    if (!chart.dataset.isReady) {
      chart.dataset.isReady = "true";
      tipOnHover(chart, (point) => pointWords(data, point.data, point.pointNumber));
      chart.on("plotly_doubleclick", () => byId("whole").click());
      chart.on("plotly_relayout", (change) => keepRanges(data, quantity, change));
      addKeys(chart, alongCurves(chart, (trace, point) => pointWords(data, trace, point)));
      addZoomKeys(chart);
    }
  }
}

/* The run of a point, by where its part of the trace starts. */
function runAt(trace, point) {
  const { starts, runs } = trace.meta;
  let place = starts.length - 1;
  while (place > 0 && starts[place] > point) place--;
  return { run: runs[place], nth: point - starts[place] };
}

function pointWords(data, trace, point) {
  const { run, nth } = runAt(trace, point);
  const { column } = trace.meta;
  const { steps, values } = curveOf(data, run, column);
  const { labels, of } = data.colourings[""];
  const what = column.replaceAll("_", " ");
  const measured = `step ${short(steps[nth])}: ${what} ${short(values[nth])}`;
  return [data.runs[run].name, labels[of[run]], measured].join("\n");
}

/* Colours and what they mean, of the runs that are shown. */
function drawLegend(data, chosen) {
  const { labels, colours, of } = colouring(data);
  const counts = new Map();
  for (const run of chosen) counts.set(of[run], (counts.get(of[run]) ?? 0) + 1);
  const lines = [...counts].sort(([a], [b]) => a - b).map(([group, count]) =>
    element("li", {}, swatch(shade(colours[group])),
      `${labels[group]} (${counted(count)})`),
  );
  byId("legend").replaceChildren(...lines);
  fold("legend");
}
