"use strict";
const page = JSON.parse(document.getElementById("page").textContent);
document.documentElement.classList.add("js");

/** A new element with text, before or in no other. */
function element(name, text, properties = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  return Object.assign(made, properties);
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

{
  // The contents: at the side, or folded at the top; the section that is read is marked.
  const contents = document.getElementById("contents");
  const links = [...contents.querySelectorAll("a")];
  const sections = links.map((link) => document.getElementById(link.hash.slice(1)));
  const wide = matchMedia("(min-width: 75rem)");
  const fold = () => { contents.open = wide.matches; };
  wide.addEventListener("change", fold);
  fold();
  const reached = 0.3; // of the height of the window
  const mark = () => {
    const ended = innerHeight + scrollY >= document.documentElement.scrollHeight - 2;
    const passed = sections.findLastIndex((one) => one.getBoundingClientRect().top < innerHeight * reached);
    const current = ended ? links.length - 1 : Math.max(passed, 0);
    links.forEach((link, at) => {
      if (at === current) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    });
    document.getElementById("here").textContent = passed < 0 ? "" : links[current].textContent;
    if (wide.matches) {
      const box = contents.parentElement;
      const { top, bottom } = links[current].getBoundingClientRect();
      if (top < 0) box.scrollTop += top;
      if (bottom > box.clientHeight) box.scrollTop += bottom - box.clientHeight;
    }
  };
  let waits = false;
  addEventListener("scroll", () => {
    if (waits) return;
    waits = true;
    requestAnimationFrame(() => { waits = false; mark(); });
  }, { passive: true });
  contents.addEventListener("click", (event) => {
    if (event.target.matches("a") && !wide.matches) contents.open = false;
  });
  contents.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || wide.matches) return;
    contents.open = false;
    contents.querySelector("summary").focus();
  });
  mark();
}
