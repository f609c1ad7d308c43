// The map: a canvas with a point for each track, which can be moved and zoomed, and a legend that shows one genre alone.

const EDGE = 1000; // coordinates are 0 to this number
const MOST_ZOOM = 24;
const FEWEST_NAMED = 10; // tracks of a genre whose name is on the map
const REACH = 12; // pixels from the pointer to a point that it names
const view = { zoom: 1, x: 0.5, y: 0.5 }; // the middle, as a part of the map

function mapCard() {
  const map = library.map;
  if (!map) return card("map", t("map.title"), el("p.lead", {}, t("map.none")));
  const method = t(`map.${map.method}`, { n: number(map.values), share: percent(map.shares[0] + map.shares[1]) });
  const total = library.counts.answered;
  const values = { chosen: number(map.x.length + map.leftOut), total: number(total), most: number(map.most) };
  const some = total > map.most ? t("map.some", values) : null;
  const left = map.leftOut ? t("map.left", { n: number(map.leftOut) }) : null;
  const canvas = el("canvas", { role: "img", "aria-label": sentences(t("map.lead"), method), tabindex: 0 });
  const tip = el("div.tip", { hidden: true, role: "status" });
  const zoom = (factor) => { zoomBy(factor, view.x, view.y); draw(); };
  const buttons = el("div.zoom", { role: "group", "aria-label": t("map.zoom") },
    el("button", { type: "button", "aria-label": t("map.in"), title: t("map.in"), onclick: () => zoom(1.6) }, "+"),
    el("button", { type: "button", "aria-label": t("map.out"), title: t("map.out"), onclick: () => zoom(1 / 1.6) }, "−"),
    el("button", { type: "button", "aria-label": t("map.reset"), title: t("map.reset"),
      onclick: () => { Object.assign(view, { zoom: 1, x: 0.5, y: 0.5 }); draw(); } }, "⤢"));
  const draw = () => drawMap(canvas);
  listen(canvas, tip, draw);
  new ResizeObserver(draw).observe(canvas);
  const found = card("map", t("map.title"), el("p.lead", {}, sentences(t("map.lead"), t("map.faint"))), levelChoice("map"), onlyNote(),
    el("div.plot", {}, canvas, tip, buttons), legend(), el("p.note", {}, sentences(method, some, left, t("map.hint"))));
  found.redraw = draw;
  return found;
}

function legend() {
  const counts = new Array(genres().length).fill(0);
  for (const group of library.map.groups[state.level]) counts[group] += 1;
  const present = genres().map((genre, i) => [genre, i]).filter(([, i]) => counts[i]);
  return el("ul.legend", {}, present.map(([genre, i]) => el("li", {}, el("button", {
    type: "button", "aria-pressed": String(state.genre === i), "data-focus": `legend:${i}`,
    onclick: () => change({ genre: state.genre === i ? null : i }),
  }, el("b", { css: { background: genre.colour } }), genreName(genre)))));
}

function onlyNote() {
  if (state.genre === null) return null;
  return el("p.only", {}, t("only", { genre: genreName(genres()[state.genre]) }), " ",
    el("button", { type: "button", "data-focus": "only", onclick: () => change({ genre: null }) }, t("only.clear")));
}

// How the map is laid on the canvas now: pixels for the whole width and height of the map.
function layout(canvas) {
  const { width, height } = canvas.getBoundingClientRect();
  const high = Math.min(width, height) * 0.94 * view.zoom;
  return { width, height, high, wide: high * Math.min(1.6, width / height) }; // may be stretched a little
}

function place({ width, height, wide, high }, i) {
  return [width / 2 + (library.map.x[i] / EDGE - view.x) * wide, height / 2 - (library.map.y[i] / EDGE - view.y) * high];
}

function drawMap(canvas) {
  const box = layout(canvas);
  const { width, height } = box;
  if (!width) return;
  const density = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * density);
  canvas.height = Math.round(height * density);
  const context = canvas.getContext("2d");
  context.scale(density, density);
  const { x, groups, sure } = library.map;
  const size = library.taxonomy[state.level].size;
  const radius = Math.min(7, (x.length > 5000 ? 1.7 : x.length > 800 ? 2.6 : x.length > 100 ? 3.6 : 6) * Math.sqrt(view.zoom));
  const order = [...x.keys()].sort((a, b) => (sure[a] >= size) - (sure[b] >= size)); // the sure ones above the others
  for (const i of order) {
    const group = groups[state.level][i];
    const alone = state.genre === null || state.genre === group;
    const [left, top] = place(box, i);
    if (left < -9 || top < -9 || left > width + 9 || top > height + 9) continue;
    context.globalAlpha = alone ? (sure[i] >= size ? 0.85 : 0.28) : 0.04;
    context.fillStyle = genres()[group].colour;
    context.beginPath();
    context.arc(left, top, radius, 0, 2 * Math.PI);
    context.fill();
  }
  context.globalAlpha = 1;
  drawNames(canvas, context, box);
}

// The name of a genre stands in the middle of its tracks, where there is room.
function drawNames(canvas, context, box) {
  const own = genres().map(() => []);
  library.map.groups[state.level].forEach((group, i) => own[group].push(i));
  const style = getComputedStyle(canvas);
  context.font = `600 13px ${style.fontFamily}`;
  context.textAlign = "center";
  context.lineWidth = 4;
  context.lineJoin = "round";
  const taken = [];
  const shown = own.map((tracks, group) => ({ tracks, group })).filter(({ tracks, group }) =>
    state.genre === null ? tracks.length >= Math.max(FEWEST_NAMED, 0.015 * library.map.x.length) : state.genre === group);
  for (const { tracks, group } of shown.sort((a, b) => b.tracks.length - a.tracks.length)) {
    const middle = (axis) => tracks.map((i) => place(box, i)[axis]).sort((a, b) => a - b)[Math.floor(tracks.length / 2)];
    const [left, top, name] = [middle(0), middle(1), genreName(genres()[group])];
    const half = context.measureText(name).width / 2 + 4;
    const edges = [left - half, top - 12, left + half, top + 8];
    if (edges[0] < 0 || edges[2] > box.width || edges[1] < 0 || edges[3] > box.height) continue;
    if (taken.some((other) => edges[0] < other[2] && other[0] < edges[2] && edges[1] < other[3] && other[1] < edges[3])) continue;
    taken.push(edges);
    context.strokeStyle = style.getPropertyValue("--card");
    context.strokeText(name, left, top);
    context.fillStyle = style.getPropertyValue("--text");
    context.fillText(name, left, top);
  }
}

function zoomBy(factor, x, y) {
  const zoom = Math.min(MOST_ZOOM, Math.max(1, view.zoom * factor));
  const kept = view.zoom / zoom;
  view.x = zoom === 1 ? 0.5 : x + (view.x - x) * kept;
  view.y = zoom === 1 ? 0.5 : y + (view.y - y) * kept;
  view.zoom = zoom;
}

function listen(canvas, tip, draw) {
  let dragged = null;
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const [left, top] = at(event);
    const { width, height, wide, high } = layout(canvas);
    zoomBy(event.deltaY < 0 ? 1.2 : 1 / 1.2, view.x + (left - width / 2) / wide, view.y - (top - height / 2) / high);
    draw();
  }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => {
    dragged = [event.clientX, event.clientY];
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointerup", () => { dragged = null; });
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
  canvas.addEventListener("pointermove", (event) => {
    const [left, top] = at(event);
    if (dragged && view.zoom > 1) {
      const { wide, high } = layout(canvas);
      view.x -= (event.clientX - dragged[0]) / wide;
      view.y += (event.clientY - dragged[1]) / high;
      dragged = [event.clientX, event.clientY];
      draw();
    }
    name(nearest(canvas, left, top), canvas, tip);
  });
  canvas.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (event.key === "+" || event.key === "-") zoomBy(event.key === "+" ? 1.6 : 1 / 1.6, view.x, view.y);
    else if (move) { view.x += move[0] * 0.1 / view.zoom; view.y += move[1] * 0.1 / view.zoom; }
    else return;
    event.preventDefault();
    draw();
    const { width, height } = canvas.getBoundingClientRect();
    name(nearest(canvas, width / 2, height / 2), canvas, tip);
  });
}

function nearest(canvas, left, top) {
  const box = layout(canvas);
  let [best, distance] = [null, REACH ** 2];
  for (let i = 0; i < library.map.x.length; i += 1) {
    if (state.genre !== null && library.map.groups[state.level][i] !== state.genre) continue;
    const [x, y] = place(box, i);
    const far = (x - left) ** 2 + (y - top) ** 2;
    if (far < distance) [best, distance] = [i, far];
  }
  return best;
}

function name(i, canvas, tip) {
  tip.hidden = i === null;
  if (i === null) return;
  const genre = genres()[library.map.groups[state.level][i]];
  const sure = library.map.sure[i] >= library.taxonomy[state.level].size;
  const [left, top] = place(layout(canvas), i);
  tip.replaceChildren(nameElement(library.map.names[i], "strong"),
    el("span", {}, el("b", { css: { background: genre.colour } }), `${genreName(genre)} (${t(sure ? "mix.sure" : "mix.unsure")})`));
  const right = left > canvas.clientWidth / 2;
  tip.style.setProperty("left", right ? "auto" : `${left + 12}px`);
  tip.style.setProperty("right", right ? `${canvas.clientWidth - left + 12}px` : "auto");
  tip.style.setProperty("top", `${top + 12}px`);
}
