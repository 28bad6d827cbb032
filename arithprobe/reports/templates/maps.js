const bright = 0.45; // of the scale: above, letters are dark
const maps = new Map(); // the cells of a map, and what is said of each

/** A score in few letters that tell 0.982 from 0.9995. */
function short(value) {
  if (value < -9.95) return "<-10";
  if (value <= -0.9995) return value.toFixed(1);
  const text = value.toFixed(value >= 0.9995 ? 4 : 3);
  if (Number(text) === 0) return "0";
  return Number(text) === 1 ? "1" : text.replace("0.", ".");
}

function paint(cell, value, beaten, dense, marked) {
  cell.textContent = "";
  if (value === null) {
    cell.textContent = "-";
    cell.style.background = "";
    cell.style.color = "";
    return;
  }
  const above = page.stops.findIndex((stop) => stop > value);
  const at = above < 0 ? page.stops.length - 1 : Math.max(above - 1, 0);
  cell.style.background = beaten || dense ? page.colours[at] : "";
  cell.style.color = beaten || dense ? (at > bright * page.stops.length ? "#101010" : "#ffffff") : "";
  const text = element("span", short(value));
  if (dense) {
    text.className = "vh";
    cell.append(beaten ? "\u2022" : "");
  }
  cell.append(text);
  if (!beaten) cell.append(element("span", ` not ${marked}`, { className: "vh" }));
}

for (const figure of document.querySelectorAll(".cube")) {
  const data = JSON.parse(figure.querySelector("script").textContent);
  const rows = [...figure.querySelectorAll("tbody tr")].map((row) => [...row.querySelectorAll("td")]);
  const dense = figure.querySelector(".dense") !== null;
  const slider = figure.querySelector("input[type=range]");
  const words = (step, site, column) => {
    const value = data.values[step][site][column];
    const place = `${data.sites[site]} @ ${data.columns[column]}: ${data.score}`;
    if (value === null) return `${place}: no value`;
    const null_ = data.nulls?.[step][site][column] ?? null;
    const count = data.counts?.[step][site][column] ?? null;
    const beside = [...(null_ === null ? [] : [`null ${null_.toFixed(3)}`]), ...(count === null ? [] : [`${count} rows`])];
    const stands = data.beaten[step][site][column] ? data.marked : `not ${data.marked}`;
    return `${place} ${value.toFixed(4)}${beside.length ? ` (${beside.join(", ")})` : ""}; ${stands}`;
  };
  const show = (step) => {
    rows.forEach((row, site) => row.forEach((cell, column) => {
      paint(cell, data.values[step][site][column], data.beaten[step][site][column], dense, data.marked);
    }));
    maps.set(figure, { data, said: rows.flatMap((row, site) => row.map((cell, column) => ({ cell, words: words(step, site, column) }))) });
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
  scale.style.background = `linear-gradient(to right, ${page.colours.join(", ")})`;
}
