/* The curves out of the page's data: numbers in base64, unpacked when they are drawn. */
"use strict";

function unpacked(text, Numbers) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return new Numbers(bytes.buffer);
}

const unpackedSteps = new Map();
const unpackedCurves = new Map();

function stepsOf(data, place) {
  if (!unpackedSteps.has(place)) {
    unpackedSteps.set(place, unpacked(data.curves.steps[place], Float64Array));
  }
  return unpackedSteps.get(place);
}

/* Steps and values of a run's column; null if it has none. */
function curveOf(data, run, column) {
  const key = `${run} ${column}`;
  if (!unpackedCurves.has(key)) {
    const { steps, columns } = data.curves.runs[run];
    unpackedCurves.set(key, columns[column] ? curve(stepsOf(data, steps), columns[column]) : null);
  }
  return unpackedCurves.get(key);
}

function curve(all, { at, values }) {
  const steps = at === null ? all : unpacked(at, Uint32Array).map((place) => all[place]);
  return { steps, values: unpacked(values, Float32Array) };
}

/* The last step of all. */
function lastStep(data) {
  return Math.max(1, ...data.curves.steps.map((_, i) => stepsOf(data, i).at(-1) ?? 1));
}
