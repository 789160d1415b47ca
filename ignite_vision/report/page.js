"use strict";
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const byId = (id) => document.getElementById(id);

for (const element of all(".only-script")) element.hidden = false;

// Tables: a click on a head sorts, a second one turns the order round.
const valueIn = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent;
function compare(one, other) {
  const numbers = one !== "" && other !== "" && !isNaN(one) && !isNaN(other);
  return numbers ? one - other : one.localeCompare(other);
}
for (const table of all("table.sortable")) {
  for (const button of all("th button", table)) {
    button.addEventListener("click", () => {
      const head = button.closest("th"), body = table.tBodies[0];
      const order = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      for (const other of all("th", table.tHead)) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", order);
      const column = head.cellIndex, sign = order === "ascending" ? 1 : -1;
      body.append(...[...body.rows].sort((a, b) => sign * compare(valueIn(a, column), valueIn(b, column))));
    });
  }
}
byId("find")?.addEventListener("input", (event) => {
  const wanted = event.target.value.trim().toLowerCase();
  for (const row of byId("per-class").tBodies[0].rows) row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
});

// Confusion of many classes: a picture that is read by pointing, and one class with those it is confused with.
if (byId("confusion-data")) {
  const { names, order, n, cells } = JSON.parse(byId("confusion-data").textContent);
  const count = new Map(cells.map(([a, b, times]) => [a * names.length + b, times]));
  const times = (a, b) => count.get(a * names.length + b) ?? 0;
  const picture = byId("confusion-pixels"), select = byId("focus"), box = byId("focus-table");

  const at = (event) => {
    const frame = picture.getBoundingClientRect();
    const place = (value, length) => Math.min(names.length - 1, Math.max(0, Math.floor((value / length) * names.length)));
    return [order[place(event.clientY - frame.top, frame.height)], order[place(event.clientX - frame.left, frame.width)]];
  };
  const inWords = (a, b) =>
    a === b ? `${names[a]}: ${times(a, a)} of ${n[a]} right` : `${names[a]} taken for ${names[b]}: ${times(a, b)} of ${n[a]}`;

  const heading = (scope, text) => {
    const head = document.createElement("th"), label = document.createElement("span");
    head.scope = scope;
    label.textContent = text;
    head.append(label);
    return head;
  };
  const near = (c) => {
    const both = new Map();
    for (const [a, b, k] of cells) {
      if (a !== b && a === c) both.set(b, (both.get(b) ?? 0) + k);
      if (a !== b && b === c) both.set(a, (both.get(a) ?? 0) + k);
    }
    return [c, ...[...both].sort((x, y) => y[1] - x[1]).slice(0, 9).map(([other]) => other)];
  };
  const show = (c) => {
    const classes = near(c), table = document.createElement("table");
    table.className = "matrix";
    const head = table.createTHead().insertRow();
    head.append(document.createElement("td"), ...classes.map((b) => heading("col", names[b])));
    const body = table.createTBody();
    for (const a of classes) {
      const row = body.insertRow();
      row.append(heading("row", names[a]));
      for (const b of classes) {
        const cell = row.insertCell(), k = times(a, b);
        cell.textContent = k || "";
        cell.title = inWords(a, b);
        const shade = (0.12 + 0.7 * Math.sqrt(k / Math.max(1, n[a]))).toFixed(2);
        if (k) cell.style.background = `rgb(var(--${a === b ? "heat" : "error"}) / ${shade})`;
      }
    }
    select.value = c;
    box.replaceChildren(table);
  };

  for (const [name, c] of names.map((name, c) => [name, c]).sort((x, y) => x[0].localeCompare(y[0]))) select.add(new Option(name, c));
  select.addEventListener("change", () => show(+select.value));
  picture.addEventListener("pointermove", (event) => (byId("confusion-readout").textContent = inWords(...at(event))));
  picture.addEventListener("click", (event) => show(at(event)[0]));
  show(+box.dataset.first);
}

// The map: the image under the pointer; with the arrow keys, the errors one by one.
if (byId("map")) {
  const map = byId("map"), tip = byId("tip"), side = 80;
  const [picture, text] = tip.children, columns = +map.dataset.columns, rows = +map.dataset.rows;
  picture.style.backgroundImage = `url(${byId("sprites").src})`;
  picture.style.backgroundSize = `${columns * side}px ${rows * side}px`;
  const show = (circle) => {
    const place = +circle.dataset.place, spot = circle.getBoundingClientRect(), frame = map.parentElement.getBoundingClientRect();
    picture.style.backgroundPosition = `-${(place % columns) * side}px -${Math.floor(place / columns) * side}px`;
    text.textContent = circle.querySelector("title").textContent;
    tip.style.display = "flex";
    tip.style.left = `${Math.max(0, Math.min(spot.left - frame.left + 14, frame.width - 230))}px`;
    tip.style.top = `${spot.top - frame.top + 14}px`;
  };
  const hide = () => (tip.style.display = "none");
  map.addEventListener("pointerover", (event) => (event.target.dataset?.place === undefined ? hide() : show(event.target)));
  map.addEventListener("pointerleave", hide);
  map.addEventListener("blur", hide);

  const errors = all("circle[data-wrong]", map), steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  let current = -1;
  map.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hide();
    if (!(event.key in steps) || !errors.length) return;
    event.preventDefault();
    current = (Math.max(current, steps[event.key] < 0 ? 0 : -1) + steps[event.key] + errors.length) % errors.length;
    show(errors[current]);
  });
}
