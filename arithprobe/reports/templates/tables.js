// Tables: sorted by a heading, and taken away as CSV or JSON.
{
  const plain = /^[+\-\u2212]?(?:0|[1-9]\d{0,14})(?:\.\d+)?(?:e[+\-]?\d+)?$/i;
  const leading = /^[<>\u2264\u2265~=]?\s*([+\-\u2212]?\d+(?:\.\d+)?(?:e[+\-]?\d+)?)(?![\w.])/i;
  const harmless = /^[+\-\u2212]?\d*\.?\d+(?:e[+\-]?\d+)?%?$|^-$/i; // of what begins like a formula
  const formula = /^[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]/;
  const missing = new Set(["", "-", "?", "nan"]);
  const words = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

  /** The number that a cell begins with, "<0.05" just below 0.05; null for none. */
  function numberIn(text) {
    const part = text.split(" / ").find((one) => !missing.has(one)) ?? "";
    const found = leading.exec(part);
    if (found === null) return null;
    const value = Number(found[1].replace("\u2212", "-"));
    const beside = Math.abs(value) * 1e-9 + 1e-12;
    return part[0] === "<" ? value - beside : part[0] === ">" ? value + beside : value;
  }

  /** What rows are sorted by: numbers where most cells begin with one; what is missing stands last. */
  function keysOf(texts) {
    const said = texts.filter((text) => !missing.has(text.toLowerCase()));
    const numeric = 2 * said.filter((text) => numberIn(text) !== null).length > said.length;
    return texts.map((text) => {
      if (missing.has(text.toLowerCase())) return { rank: 2 };
      const value = numeric ? numberIn(text) : null;
      return value === null ? { rank: numeric ? 1 : 0, text } : { rank: 0, value };
    });
  }

  function compare(one, other, sign) {
    if (one.rank !== other.rank) return one.rank - other.rank;
    if (one.rank === 2) return 0;
    return sign * ("value" in one ? one.value - other.value : words.compare(one.text, other.text));
  }

  function makeSortable(table) {
    const body = table.tBodies[0];
    const original = [...body.rows];
    const headings = [...table.tHead.rows[0].cells];
    if (original.length < 2) return;
    const orders = { none: "ascending", ascending: "descending", descending: "none" };
    headings.forEach((heading, column) => {
      const button = element("button", heading.textContent, { type: "button", className: "sort" });
      heading.replaceChildren(button);
      heading.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const order = orders[heading.getAttribute("aria-sort")];
        headings.forEach((one) => one.setAttribute("aria-sort", one === heading ? order : "none"));
        const keys = new Map(keysOf(original.map((row) => row.cells[column].textContent.trim())).map((key, at) => [original[at], key]));
        const sign = order === "descending" ? -1 : 1;
        const rows = order === "none" ? original : [...original].sort((a, b) => compare(keys.get(a), keys.get(b), sign));
        body.append(...rows);
      });
    });
  }

  /** A cell of CSV: quoted where it must be, and no formula for a program that would compute it. */
  function quoted(value) {
    const text = value === null ? "" : String(value);
    const safe = formula.test(text) && !harmless.test(text) ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  }

  const asCsv = ({ columns, rows }) => [columns, ...rows].map((row) => row.map(quoted).join(",")).join("\r\n") + "\r\n";
  const asJson = (content) => `${JSON.stringify(content, null, 1)}\n`;
  const slug = (text) => text.normalize("NFKD").replace(/[^A-Za-z0-9]+/g, "-").replace(/^-|-$/g, "").slice(0, 60);

  /** Buttons that save what a table holds. */
  function tools(block, title, content) {
    const runs = block.closest(".runs");
    const run = page.runs[[...runs.children].indexOf(block.closest(".run"))];
    const section = block.closest("section").id;
    const line = element("p", "", { className: "tools" });
    const forms = { CSV: ["text/csv;charset=utf-8", asCsv], JSON: ["application/json", asJson] };
    for (const [name, [type, form]] of Object.entries(forms)) {
      const button = element("button", name, { type: "button" });
      button.setAttribute("aria-label", `Save as ${name}: ${title}`);
      button.addEventListener("click", () => {
        const address = URL.createObjectURL(new Blob([form({ run, section, table: title, ...content(name) })], { type }));
        const file = `${[run, section, title].map(slug).join("_")}.${name.toLowerCase()}`;
        element("a", "", { href: address, download: file }).click();
        setTimeout(() => URL.revokeObjectURL(address), 60_000);
      });
      line.append(button);
    }
    block.after(line);
  }

  for (const table of document.querySelectorAll("main table:not(.heat)")) {
    const box = table.closest(".scroll");
    const columns = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
    const cellOf = (cell, name) => { // as it is shown; in JSON a number is one
      const text = cell.textContent.trim();
      return name === "JSON" && plain.test(text) && !cell.matches("th, .text") ? Number(text.replace("\u2212", "-")) : text;
    };
    makeSortable(table);
    tools(box, table.caption.textContent, (name) => ({
      columns,
      rows: [...table.tBodies[0].rows].filter((row) => row.cells.length === columns.length).map((row) => [...row.cells].map((cell) => cellOf(cell, name))),
      notes: [...box.querySelectorAll(".note")].map((one) => one.textContent),
    }));
  }

  for (const [figure, { data }] of maps) {
    tools(figure, figure.querySelector("figcaption strong").textContent.replace(/\.$/, ""), () => ({
      columns: ["training step", "site", data.across, data.score, "null", "rows", data.marked],
      rows: data.steps.flatMap((step, t) => data.sites.flatMap((site, s) => data.columns.map((column, c) => [
        step, site, column, data.values[t][s][c], data.nulls?.[t][s][c] ?? null, data.counts?.[t][s][c] ?? null, Boolean(data.beaten[t][s][c]),
      ]))),
      notes: [],
    }));
  }
}
