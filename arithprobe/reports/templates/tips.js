// What a cell, a point or a bar says: to who points at it, taps it, or reaches it with the arrow keys.
{
  const near = 14; // pixels from a point
  const together = 3; // pixels between points that are read at once
  const most = 6; // words at once
  const tip = element("div", "", { id: "tip", hidden: true });
  const spoken = element("p", "", { className: "vh", role: "status" });
  document.body.append(tip, spoken);

  /** The spots of a picture: boxes in its own units, points being boxes of no size, each with its words. */
  function spotsIn(svg) {
    const found = [];
    let areas = [];
    try {
      areas = JSON.parse(svg.querySelector("metadata.tips").textContent);
      for (const area of areas) {
        const before = area.name ? `${area.name}: ` : "";
        (area.at ?? []).forEach(([x, y], at) => found.push({ x0: x, y0: y, x1: x, y1: y, words: before + area.words[at] }));
        (area.boxes ?? []).forEach(([x0, y0, x1, y1], at) => found.push({ x0, y0, x1, y1, words: before + area.words[at] }));
        (area.rows ?? []).forEach((row, r) => area.columns.forEach((column, c) => {
          const [x0, x1] = [area.x[c], area.x[c + 1]].sort((a, b) => a - b);
          const [y0, y1] = [area.y[r], area.y[r + 1]].sort((a, b) => a - b);
          const place = `${area.panel ? `${area.panel}, ` : ""}${[row, column].filter(Boolean).join(column.startsWith("to ") ? " " : " @ ")}`;
          const word = area.words[r][c] === "-" ? "no value" : area.words[r][c];
          found.push({ x0, y0, x1, y1, words: `${place}: ${area.name ? `${area.name} ` : ""}${word}` });
        }));
      }
    } catch (error) {
      if (!(error instanceof SyntaxError || error instanceof TypeError)) throw error; // a picture that another wrote
    }
    return found;
  }

  /** A surface with spots: where they are in the window now, and how one is marked. */
  function pictureSurface(box, svg) {
    let spots = null;
    let frame = null;
    return {
      box,
      spots() {
        spots ??= spotsIn(svg);
        const { a, d, e, f } = svg.getScreenCTM();
        return spots.map((one) => ({
          left: a * one.x0 + e, right: a * one.x1 + e, top: d * one.y0 + f, bottom: d * one.y1 + f, words: one.words, one,
        }));
      },
      mark(spot) {
        if (frame === null) {
          frame = document.createElementNS("http://www.w3.org/2000/svg", "rect");
          frame.setAttribute("class", "here");
          svg.append(frame);
        }
        frame.style.display = spot === null ? "none" : "";
        if (spot === null) return;
        const { x0, y0, x1, y1 } = spot.one;
        const margin = x1 > x0 ? 0 : 4;
        const place = { x: x0 - margin, y: y0 - margin, width: x1 - x0 + 2 * margin, height: y1 - y0 + 2 * margin };
        for (const [name, value] of Object.entries(place)) frame.setAttribute(name, value);
      },
    };
  }

  function mapSurface(box, figure) {
    let marked = null;
    return {
      box,
      spots: () => maps.get(figure).said.map(({ cell, words }) => {
        const { left, right, top, bottom } = cell.getBoundingClientRect();
        return { left, right, top, bottom, words, cell };
      }),
      mark(spot) {
        marked?.classList.remove("here");
        marked = spot?.cell ?? null;
        marked?.classList.add("here");
      },
    };
  }

  const middle = (spot) => ({ x: (spot.left + spot.right) / 2, y: (spot.top + spot.bottom) / 2 });

  /** The spots at a place: the nearest points, or else the box around it. */
  function spotsAt(spots, x, y) {
    const points = [];
    for (const spot of spots) {
      const away = spot.right > spot.left ? Infinity : Math.hypot(spot.left - x, spot.top - y);
      if (away <= near) points.push({ spot, away });
    }
    points.sort((one, other) => one.away - other.away);
    if (points.length) {
      const { left, top } = points[0].spot;
      return points.map(({ spot }) => spot).filter((one) => Math.hypot(one.left - left, one.top - top) <= together);
    }
    const around = spots.filter((one) => one.left <= x && x < one.right && one.top <= y && y < one.bottom);
    return around.slice(-1);
  }

  /** The next spot in a direction: near, and rather straight ahead. */
  function next(spots, from, key) {
    const { x, y } = middle(from);
    const across = key === "ArrowLeft" || key === "ArrowRight";
    const sign = key === "ArrowRight" || key === "ArrowDown" ? 1 : -1;
    let best = null;
    for (const spot of spots) {
      const at = middle(spot);
      const ahead = sign * (across ? at.x - x : at.y - y);
      const aside = Math.abs(across ? at.y - y : at.x - x);
      const away = ahead + 3 * aside;
      if (ahead > 0.5 && (best === null || away < best.away)) best = { spot, away };
    }
    return best?.spot ?? null;
  }

  let shown = null; // the surface
  function hide() {
    shown?.mark(null);
    shown = null;
    tip.hidden = true;
  }

  function show(surface, spots, x, y) {
    if (shown !== surface) hide();
    shown = surface;
    surface.mark(spots[0]);
    const more = spots.length - most;
    tip.textContent = [...spots.slice(0, most).map((one) => one.words), ...(more > 0 ? [`and ${more} more`] : [])].join("\n");
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    const room = document.documentElement.clientWidth - width - 4;
    tip.style.left = `${Math.max(Math.min(x + 14, room), 4)}px`;
    tip.style.top = `${y + 18 + height < innerHeight ? y + 18 : Math.max(y - height - 12, 4)}px`;
  }

  function showByKey(surface, spot, spots) {
    const box = surface.box.getBoundingClientRect();
    const moved = spot.left < box.left + 8 ? spot.left - box.left - 40 : Math.max(spot.right - box.right + 40, 0);
    surface.box.scrollLeft += moved;
    const down = spot.top < 60 ? spot.top - 80 : Math.max(spot.bottom - innerHeight + 100, 0);
    scrollBy({ top: down, behavior: "instant" });
    requestAnimationFrame(() => {
      const now = surface.spots();
      const at = now[spots.indexOf(spot)];
      const { x, y } = middle(at);
      const all = at.right > at.left ? [at] : [at, ...spotsAt(now, x, y).filter((one) => one !== at)];
      show(surface, all, x, y);
      surface.current = spots.indexOf(spot);
      spoken.textContent = tip.textContent;
    });
  }

  function listen(surface) {
    const { box } = surface;
    const point = (event) => {
      const found = spotsAt(surface.spots(), event.clientX, event.clientY);
      if (found.length) show(surface, found, event.clientX, event.clientY);
      else if (shown === surface) hide();
    };
    box.addEventListener("pointermove", (event) => { if (event.pointerType !== "touch") point(event); });
    box.addEventListener("click", point);
    box.addEventListener("pointerleave", (event) => { if (event.pointerType !== "touch" && shown === surface) hide(); });
    box.addEventListener("blur", () => { if (shown === surface) hide(); });
    box.addEventListener("focus", () => {
      const spots = box.matches(":focus-visible") ? surface.spots() : [];
      if (spots.length) showByKey(surface, spots[surface.current ?? 0], spots);
    });
    box.addEventListener("keydown", (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey || !event.key.startsWith("Arrow")) return;
      const spots = surface.spots();
      if (!spots.length) return;
      event.preventDefault();
      const from = spots[surface.current ?? 0];
      showByKey(surface, shown === surface ? next(spots, from, event.key) ?? from : from, spots);
    });
  }

  for (const box of document.querySelectorAll(".picture .scroll")) {
    const svg = box.querySelector("svg:has(metadata.tips)");
    if (svg !== null) listen(pictureSurface(box, svg));
  }
  for (const figure of document.querySelectorAll(".cube")) listen(mapSurface(figure.querySelector(".scroll"), figure));
  addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  addEventListener("click", (event) => { if (shown !== null && !shown.box.contains(event.target)) hide(); });
  addEventListener("scroll", () => { if (shown !== null && document.activeElement !== shown.box) hide(); }, { passive: true });
  document.getElementById("how").hidden = false;
}
