/* A long list, or table, is cut, and a button shows all of it. */
"use strict";

const MANY = 20; // entries; fewer are never cut

function addFolds() {
  for (const button of document.querySelectorAll("button[data-of]")) {
    button.addEventListener("click", () => {
      const { of } = button.dataset;
      const isOpen = view.open.includes(of);
      view.open = isOpen ? view.open.filter((each) => each !== of) : [...view.open, of];
      keepChoices();
      fold(of);
    });
  }
}

function fold(id) {
  const button = document.querySelector(`button[data-of="${id}"]`);
  const list = byId(id);
  const count = (list.tBodies?.[0] ?? list).children.length;
  const isCut = !view.open.includes(id);
  button.hidden = count <= MANY;
  button.textContent = isCut ? `Show all ${count}` : "Show fewer";
  button.setAttribute("aria-expanded", !isCut);
  (list.closest(".scroll") ?? list).classList.toggle("cut", isCut && count > MANY);
}
