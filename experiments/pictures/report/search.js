/* The search: terms parted by commas, each a value, a setting with its value, or a name. */
"use strict";

/* As it is compared: "--weight-decay=1,500" is "weight decay 1500". */
const said = (text) =>
  String(text).toLowerCase()
    .replace(/(?<![\d.,])\d{1,3}(,\d{3})+(?!\d)/g, (number) => number.replaceAll(",", ""))
    .replace(/(?<!\S)--(?=\p{L})/gu, "")
    .replace(/(?<=\p{L})-(?=\p{L})|[_=\s]+/gu, " ")
    .trim();

const termsOf = (text) => said(text).split(",").map((term) => term.trim()).filter(Boolean);

const isValue = (text, value) =>
  value !== null && (text === said(short(value)) || (typeof value === "number" && Number(text) === value));

/* Whole values alone: "seed 1" is not seed 10. Of what all runs share, only with its name. */
function isOf(term, run, setting) {
  const value = setting.of(run);
  if (!setting.isShared && isValue(term, value)) return true;
  return [setting.name, setting.words].map(said).some((name) => {
    if (term === name) return value !== null;
    if (!term.startsWith(`${name} `)) return false;
    const asked = term.slice(name.length + 1).trim();
    return isValue(asked, value) || (value === null && asked === "none");
  });
}

/* Whole parts of a run's name, such as "ema-seed0" of "modular-ema-seed0-e5bf9a86". */
function isInName(term, run) {
  const parts = (text) => `-${text.split(/[^\p{L}\p{N}]+/u).filter(Boolean).join("-")}-`;
  return parts(said(run.name)).includes(parts(term));
}

function searched(data) {
  const shared = data.same.map(({ name, what, value }) =>
    ({ name, words: what, of: () => value, isShared: true }));
  const settings = [...everySetting(data), ...shared];
  const terms = termsOf(byId("search").value);
  return (run) => terms.every((term) =>
    isInName(term, run) || settings.some((setting) => isOf(term, run, setting)));
}
