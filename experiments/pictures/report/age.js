/* How old the page is, and its next self while runs go on. */
"use strict";

const REST = 4000; // milliseconds without a key or a click before the page reloads
let lastTouched = 0;

function ageWords(written) {
  const seconds = Math.max(0, Math.round((Date.now() - Date.parse(written)) / 1000));
  const when = new Date(written).toLocaleString();
  const [size, unit] = [[86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]]
    .find(([each]) => seconds >= each) ?? [1, "second"];
  const count = Math.floor(seconds / size);
  return `Written ${when}, ${count} ${unit}${count === 1 ? "" : "s"} ago.`;
}

function tellAge(data) {
  const tell = () => (byId("age").textContent = ageWords(data.written));
  tell();
  setInterval(tell, data.watching ? 1000 : 30000);
}

function reloadWhileWatching(data, drawnIn) {
  if (!data.watching) return;
  byId("reloading").hidden = false;
  for (const kind of ["keydown", "pointerdown", "input", "wheel"]) {
    addEventListener(kind, () => (lastTouched = Date.now()), { passive: true });
  }
  // A page that is long to draw is not to be drawn all the time.
  const wait = Math.max(1000 * data.watching, 15 * drawnIn);
  const reload = () => {
    if (document.hidden || !byId("reload").checked || Date.now() - lastTouched < REST) {
      setTimeout(reload, 1000);
      return;
    }
    keepChoices();
    keepPlace();
    location.reload();
  };
  setTimeout(reload, wait);
}

function keepPlace() {
  const place = { focused: document.activeElement?.id, top: scrollY };
  try {
    sessionStorage.setItem("place", JSON.stringify(place));
  } catch {
    // Some browsers keep nothing for pages from files.
  }
}

function restorePlace() {
  try {
    const place = JSON.parse(sessionStorage.getItem("place"));
    sessionStorage.removeItem("place");
    if (!place) return;
    if (place.focused) byId(place.focused)?.focus({ preventScroll: true });
    scrollTo(0, place.top);
  } catch {
    // As above.
  }
}
