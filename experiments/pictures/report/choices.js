/* What the reader chose is in the address after "#": a reload, or a link, keeps it. */
"use strict";

/* What no control holds: the order of the table, ranges of axes, runs that stand out, lists shown whole. */
const view = { sort: null, steps: null, ranges: {}, picked: [], open: [] };
const CHOICES = "input, select";

function isDefault(control) {
  if (control.type === "checkbox") return control.checked === control.defaultChecked;
  if (control.tagName === "SELECT") {
    const first = [...control.options].find((option) => option.defaultSelected);
    return control.value === (first ?? control.options[0])?.value;
  }
  return control.value === control.defaultValue;
}

function keepChoices() {
  const controls = {};
  for (const control of document.querySelectorAll(CHOICES)) {
    if (control.id && !isDefault(control)) {
      controls[control.id] = control.type === "checkbox" ? control.checked : control.value;
    }
  }
  const chosen = encodeURIComponent(JSON.stringify({ controls, view }));
  history.replaceState(null, "", `#${chosen}`);
}

function restoreChoices() {
  let chosen;
  try {
    chosen = JSON.parse(decodeURIComponent(location.hash.slice(1)));
  } catch {
    return; // another address, such as that of a heading
  }
  Object.assign(view, chosen?.view);
  for (const [id, value] of Object.entries(chosen?.controls ?? {})) setChoice(byId(id), value);
}

function setChoice(control, value) {
  if (!control) return; // of a setting that is no longer there
  if (control.type === "checkbox") {
    control.checked = value;
    return;
  }
  const before = control.value;
  control.value = value;
  if (control.tagName === "SELECT" && control.selectedIndex < 0) control.value = before;
}

function addOptions(select, options, first) {
  select.replaceChildren(
    ...options.map(([value, text]) =>
      element("option", { value, selected: value === String(first) }, text),
    ),
  );
}
