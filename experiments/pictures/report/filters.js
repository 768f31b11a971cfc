/* Which runs are shown: by the values of the settings that differ, and by words. */
"use strict";

const FEW = 12; // values that have a box each; more numbers have two ends

/* The settings of the runs, and their state. */
function everySetting(data) {
  const settings = data.settings.map((setting, i) => ({
    ...setting,
    of: (run) => run.values[i],
  }));
  const states = [...new Set(data.runs.map((run) => run.state))].sort();
  settings.push({ name: "state", words: "state", values: states, of: (run) => run.state });
  return settings;
}

const filtered = (data) => everySetting(data).filter((setting) => setting.values.length > 1);

function isRange(setting) {
  const known = setting.values.filter((value) => value !== null);
  return known.length > FEW && known.every((value) => typeof value === "number");
}

function addFilters(data) {
  for (const setting of filtered(data)) {
    const id = `filter:${setting.name}`;
    const controls = isRange(setting)
      ? ["least", "most"].map((end) =>
          element("label", {}, `at ${end} `,
            element("input", { type: "number", step: "any", id: `${id}:${end}` })),
        )
      : setting.values.map((value) =>
          element("label", {},
            element("input", { type: "checkbox", checked: true, id: `${id}=${value}` }),
            ` ${value === null ? "none" : short(value)}`),
        );
    byId("filters").append(
      element("fieldset", {}, element("legend", {}, setting.words), ...controls),
    );
  }
}

function passes(setting, run) {
  const id = `filter:${setting.name}`;
  const value = setting.of(run);
  if (!isRange(setting)) return byId(`${id}=${value}`).checked;
  const [least, most] = ["least", "most"].map((end) => byId(`${id}:${end}`).value);
  if (value === null) return least === "" && most === "";
  return (least === "" || value >= Number(least)) && (most === "" || value <= Number(most));
}

/* The places of the runs that the search and all filters let through. */
function chosenRuns(data) {
  const settings = filtered(data);
  const isFound = searched(data);
  const chosen = [];
  data.runs.forEach((run, i) => {
    if (isFound(run) && settings.every((setting) => passes(setting, run))) chosen.push(i);
  });
  return chosen;
}

function showAll() {
  for (const control of document.querySelectorAll("#filters input, #search")) {
    if (control.type === "checkbox") control.checked = true;
    else control.value = "";
  }
}
