/* Ranges of the axes: the charts share their steps. Buttons and keys do what dragging does. */
"use strict";

const NARROWEST = 2 ** -12; // of the whole range
let isFollowing = false; // the other charts, not the reader, change a range

/* A range of an axis, moved and narrowed to lie within another. */
function within([low, high], [least, most]) {
  const whole = most - least;
  const width = Math.min(Math.max(high - low, NARROWEST * whole), whole);
  const start = Math.min(Math.max((low + high - width) / 2, least), most - width);
  return [start, start + width];
}

function keepRanges(data, quantity, change) {
  if (isFollowing) return;
  const range = (axis) => [change[`${axis}.range[0]`], change[`${axis}.range[1]`]];
  const { name } = quantity;
  if ("yaxis.range[0]" in change) view.ranges[name] = offAxis(range("yaxis"), isLog(name));
  if ("xaxis.range[0]" in change) setSteps(data, range("xaxis"));
  tellEnds(data);
  keepChoices();
}

/* Shows a range of the steps' axis on all charts. */
async function setSteps(data, range) {
  const [low, high] = within(range, wholeSteps(data));
  const isWhole = isEnd(data, "earlier", [low, high]) && isEnd(data, "later", [low, high]);
  view.steps = isWhole ? null : offAxis([low, high], isLog("steps"));
  tellEnds(data);
  isFollowing = true;
  for (const { name } of QUANTITIES.filter((each) => each.isThere)) {
    await Plotly.relayout(byId(`chart-${name}`), { "xaxis.range": stepRange(data) });
  }
  isFollowing = false;
  keepChoices();
}

/* Makes the range of steps `factor` as wide and moves it by a part of its width. */
function changeSteps(data, factor, shift) {
  const [low, high] = stepRange(data);
  const middle = (low + high) / 2 + shift * (high - low);
  const half = (factor * (high - low)) / 2;
  return setSteps(data, [middle - half, middle + half]);
}

const ZOOMS = {
  "zoom-in": (data) => changeSteps(data, 0.5, 0),
  "zoom-out": (data) => changeSteps(data, 2, 0),
  earlier: (data) => changeSteps(data, 1, -0.25),
  later: (data) => changeSteps(data, 1, 0.25),
};

/* Whether a button has nothing left to do. */
function isEnd(data, id, [low, high] = stepRange(data)) {
  const [least, most] = wholeSteps(data);
  const near = 1e-6 * NARROWEST * (most - least);
  if (id === "earlier") return low <= least + near;
  if (id === "later") return high >= most - near;
  if (id === "zoom-in") return high - low <= NARROWEST * (most - least) + near;
  if (id === "whole" && Object.keys(view.ranges).length) return false;
  return low <= least + near && high >= most - near;
}

/* Such a button is dimmed, and stays in focus for who holds its key. */
function tellEnds(data) {
  for (const id of [...Object.keys(ZOOMS), "whole"]) {
    byId(id).setAttribute("aria-disabled", isEnd(data, id));
  }
}

/* The keys that do what the buttons do. */
function addZoomKeys(chart) {
  chart.addEventListener("keydown", (event) => {
    const zoom = { "+": "zoom-in", "=": "zoom-in", "-": "zoom-out", 0: "whole" }[event.key];
    if (!zoom || !isPlainKey(event)) return;
    byId(zoom).click();
    event.preventDefault();
  });
}
