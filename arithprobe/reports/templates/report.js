"use strict";
const colours = JSON.parse(document.getElementById("colours").textContent);
const bright = 0.45; // of the scale: above, letters are dark

function paint(cell, value, beaten, dense, marked) {
  cell.textContent = "";
  if (value === null) {
    cell.textContent = "-";
    cell.style.background = "";
    cell.style.color = "";
    return;
  }
  const share = Math.min(Math.max(value, 0), 1);
  cell.style.background = colours[Math.round(share * (colours.length - 1))];
  cell.style.color = share > bright ? "#101010" : "#ffffff";
  const number = value.toFixed(2);
  const text = document.createElement(beaten || dense ? "span" : "s");
  text.textContent = number;
  if (dense) {
    text.className = "vh";
    cell.append(beaten ? "\u2022" : "");
    cell.title = number;
  }
  cell.append(text);
  if (!beaten) {
    const said = document.createElement("span");
    said.className = "vh";
    said.textContent = ` not ${marked}`;
    cell.append(said);
  }
}

for (const figure of document.querySelectorAll(".cube")) {
  const data = JSON.parse(figure.querySelector("script").textContent);
  const rows = [...figure.querySelectorAll("tbody tr")].map((row) => [...row.querySelectorAll("td")]);
  const dense = figure.querySelector(".dense") !== null;
  const slider = figure.querySelector("input[type=range]");
  const show = (step) => {
    rows.forEach((row, site) => row.forEach((cell, column) =>
      paint(cell, data.values[step][site][column], data.beaten[step][site][column], dense, figure.dataset.marked)));
    if (slider === null) return;
    const when = `after ${data.steps[step]} steps`;
    figure.querySelector("output").textContent = when;
    slider.setAttribute("aria-valuetext", when);
    figure.querySelector(".finding").hidden = step !== data.steps.length - 1;
  };
  if (slider !== null) slider.addEventListener("input", () => show(Number(slider.value)));
  show(data.steps.length - 1);
}

for (const scale of document.querySelectorAll(".scale")) {
  scale.style.background = `linear-gradient(to right, ${colours.join(", ")})`;
}

const theme = document.getElementById("theme");
const themes = { "": "as the system", light: "light", dark: "dark" };
theme.hidden = false;
theme.addEventListener("click", () => {
  const names = Object.keys(themes);
  const next = names[(names.indexOf(document.documentElement.dataset.theme ?? "") + 1) % names.length];
  document.documentElement.dataset.theme = next;
  theme.textContent = `Theme: ${themes[next]}`;
});

addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
