/* The runs: a row each. Headings sort, names make a run stand out. */
"use strict";

/* Heading, value and words of every column. */
function columnsOf(data) {
  const own = (words, value, text = (run) => short(value(run))) => ({ words, value, text });
  return [
    own("run", (run) => run.name),
    ...data.settings.map((setting, i) => own(setting.words, (run) => run.values[i])),
    own("state", (run) => run.state),
    own("steps trained", (run) => run.steps),
    ...data.results.map((result, i) =>
      own(result.words, (run) => run.results[i], (run) =>
        run.results[i] === null && result.is_time ? neverWords(data, run, result) : short(run.results[i]))),
    own("seconds", (run) => run.seconds),
  ];
}

/* What is known of a run that has not got there: it is censored. */
function neverWords(data, run, result) {
  const isAsked = run.asked.includes(result.name);
  if (!isAsked || (run.steps === 0 && run.diverged === null)) return NOTHING;
  if (data.unfinished.includes(run.state)) return `not yet in ${short(run.steps)}`;
  if (run.diverged !== null) return `never: diverged at ${short(run.diverged)}`;
  return `never in ${short(run.steps)}`;
}

const tableRows = []; // elements, by the place of the run

function addTable(data, redraw, reorder) {
  const columns = columnsOf(data);
  const headings = columns.map(({ words }, i) => {
    const button = element("button", { type: "button", id: `sort:${words}` }, words);
    button.addEventListener("click", () => {
      const isSame = view.sort?.column === words;
      view.sort = { column: words, isDown: isSame && !view.sort.isDown };
      reorder();
    });
    return element("th", { scope: "col" }, button);
  });
  byId("runs").tHead.replaceChildren(element("tr", {}, ...headings));
  data.runs.forEach((run) => {
    const name = element("button", { type: "button", id: `run:${run.name}` }, run.name);
    name.addEventListener("click", () => {
      const isOut = view.picked.includes(run.name);
      const others = view.picked.filter((each) => each !== run.name);
      view.picked = isOut ? others : [...others, run.name];
      redraw();
    });
    const mark = swatch("none");
    const cells = columns.slice(1).map(({ value, text }) =>
      element("td", { class: value(run) === null ? "quiet" : null }, text(run)));
    tableRows.push(element("tr", {}, element("th", { scope: "row" }, mark, name), ...cells));
  });
}

/* Numbers before texts; what has no value comes last, either way. */
function compare(a, b, isDown) {
  if (a === null || b === null) return (a === null) - (b === null);
  const kinds = (typeof a !== "number") - (typeof b !== "number");
  const order = kinds || (typeof a === "number" ? a - b : a < b ? -1 : Number(a > b));
  return isDown ? -order : order;
}

function drawTable(data, chosen) {
  const columns = columnsOf(data);
  const { colours, of } = colouring(data);
  const sorted = columns.find(({ words }) => words === view.sort?.column);
  const order = [...chosen];
  if (sorted) {
    const value = (run) => sorted.value(data.runs[run]);
    order.sort((a, b) => compare(value(a), value(b), view.sort.isDown));
  }
  [...byId("runs").tHead.rows[0].cells].forEach((cell, i) => {
    const isSorted = columns[i] === sorted;
    cell.setAttribute("aria-sort", !isSorted ? "none" : view.sort.isDown ? "descending" : "ascending");
  });
  for (const run of order) {
    const name = tableRows[run].querySelector("button");
    name.setAttribute("aria-pressed", view.picked.includes(data.runs[run].name));
    tableRows[run].querySelector(".swatch").style.background = shade(colours[of[run]]);
  }
  const focused = document.activeElement?.id;
  byId("runs").tBodies[0].replaceChildren(...order.map((run) => tableRows[run]));
  if (focused) byId(focused)?.focus({ preventScroll: true });
}
