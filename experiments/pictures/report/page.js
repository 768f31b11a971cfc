/* The page: its parts once, then what the reader chooses. */
"use strict";

const data = JSON.parse(byId("data").textContent);

function addChoices() {
  const ways = Object.keys(data.colourings).map((name) => {
    const setting = data.settings.find((each) => each.name === name);
    return [name, setting ? setting.words : "setting"];
  });
  addOptions(byId("colour"), ways, data.colour);
  const milestones = data.results.filter(({ name }) => name in data.by_setting);
  addOptions(byId("milestone"), milestones.map(({ name, words }) => [name, words]), data.milestone);
  addMapChoices(data);
}

function addFacts() {
  const states = [...Map.groupBy(data.runs, (run) => run.state)];
  const counts = states.map(([state, runs]) => `${runs.length} ${state}`).join(", ");
  byId("counts").textContent = `${counted(data.runs.length)}: ${counts}.`;
  byId("thinned").textContent = data.curves.points === null ? "" :
    `Curves of more than ${data.curves.points} evaluations are drawn with at most that ` +
    "many points: the first, the last, and the least and largest of each of many " +
    "intervals, so that no peak is lost. The tables go by all evaluations.";
  const row = (...cells) => element("tr", {}, ...cells.map((cell, i) =>
    element("td", { class: i === 1 ? "long" : null }, String(cell))));
  fill(byId("provenance"), ["what", "as recorded", "runs"],
    data.provenance.map(({ what, value, runs }) => row(what, value, runs)));
  fill(byId("each"), ["run", "started", "SHA-256"], data.runs.map((run) =>
    row(run.name, run.started ?? NOTHING, run.sha256 ?? NOTHING)));
  fill(byId("same"), ["setting", "value"], data.same.map(({ what, value }) => row(what, value)));
  const missing = data.without_summary;
  byId("without-summary").textContent = missing ?
    `Without a summary yet, which says this of a run: ${missing} of ${counted(data.runs.length)}.` : "";
}

async function drawAll() {
  const chosen = chosenRuns(data);
  byId("shown").textContent = `${chosen.length} of ${counted(data.runs.length)}`;
  drawLegend(data, chosen);
  drawTable(data, chosen);
  await drawCurves(data, chosen);
  if (!document.documentElement.dataset.curves) {
    document.documentElement.dataset.curves = String(Math.round(performance.now()));
  }
  byId("milestones").hidden = !milestoneOf(data);
  if (!milestoneOf(data)) return;
  drawSettings(data, chosen);
  showFigures(data);
  await drawSurvival(data, chosen);
  await drawMap(data, chosen);
}

/* One drawing after another: a change while one is under way draws once more. */
let drawing = null;
let isStale = false;

async function redraw() {
  keepChoices();
  isStale = true;
  drawing ??= (async () => {
    while (isStale) {
      isStale = false;
      await drawAll();
    }
    drawing = null;
    document.documentElement.dataset.drawn = "true";
  })();
  return drawing;
}

/* Another order of the table changes nothing else. */
function reorder() {
  keepChoices();
  drawTable(data, chosenRuns(data));
}

async function start() {
  addFilters(data);
  addCharts(data);
  addChoices();
  addFacts();
  addTable(data, redraw, reorder);
  byId("train").defaultChecked = data.runs.length <= FEW;
  addFolds();
  addKeys(byId("survival"), alongCurves(byId("survival"), survivalWords));
  addKeys(byId("map"), (...where) => goOnMap(...where));
  restoreChoices();
  tellAge(data);
  document.addEventListener("change", ({ target }) => {
    // A range holds on one scale alone: another shows the whole.
    const scale = target.id?.match(/^log-(\w+)$/)?.[1];
    if (scale === "steps" && target.checked && view.steps?.[0] <= 0) view.steps = null;
    if (scale) delete view.ranges[scale];
    redraw();
  });
  byId("skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address holds the choices
    byId("curves").focus();
  });
  byId("search").addEventListener("input", redraw);
  byId("all").addEventListener("click", () => { showAll(); redraw(); });
  for (const [id, zoom] of Object.entries(ZOOMS)) byId(id).addEventListener("click", () => zoom(data));
  byId("whole").addEventListener("click", () => {
    view.steps = null;
    view.ranges = {};
    redraw();
  });
  isDark.addEventListener("change", redraw);
  const begun = performance.now();
  await redraw();
  restorePlace();
  reloadWhileWatching(data, performance.now() - begun);
}

start();
