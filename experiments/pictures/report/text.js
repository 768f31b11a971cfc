/* Elements, and how values read. Names are text everywhere, never markup. */
"use strict";

const NOTHING = "–";

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

const byId = (id) => document.getElementById(id);

/* As in the project's tables: few digits. */
function short(value) {
  if (value === null || value === undefined) return NOTHING;
  if (typeof value !== "number") return String(value);
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e9) return value.toLocaleString("en");
  if (size >= 1000 && size < 1e6) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(4)));
}

const counted = (count) => `${count} ${count === 1 ? "run" : "runs"}`;

/* For labels on charts, which take some tags: a name with "<" stays what it is. */
const plain = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;");

function swatch(colour) {
  const made = element("span", { class: "swatch", "aria-hidden": "true" });
  made.style.background = colour;
  return made;
}

function fill(table, header, rows) {
  table.tHead.replaceChildren(
    element("tr", {}, ...header.map((text) => element("th", { scope: "col" }, text))),
  );
  table.tBodies[0].replaceChildren(...rows);
}
