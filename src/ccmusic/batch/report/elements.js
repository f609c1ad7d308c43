// What every part of the page uses: the data, the state, texts, numbers, and elements.
// Names of files and genres are hostile: they become text nodes and attributes, never markup.

const library = JSON.parse(document.getElementById("library").textContent);
const TEXTS = JSON.parse(document.getElementById("texts").textContent);

const state = {
  language: navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en",
  theme: "auto",
  level: 0, // position in library.taxonomy: 0 is the finest
  genre: null, // position of the one genre that is shown, at this level
};

function t(key, values = {}) {
  const text = TEXTS[state.language][key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? values[name] : whole));
}

function has(key) {
  return key in TEXTS[state.language];
}

// One after the other; null is left out. Chinese has no space between sentences.
function sentences(...parts) {
  return parts.filter(Boolean).join(state.language === "zh" ? "" : " ");
}

function number(value) {
  return new Intl.NumberFormat(state.language).format(value);
}

// For the axis of a chart: 50K, 5万.
function shortNumber(value) {
  return new Intl.NumberFormat(state.language, { notation: "compact" }).format(value);
}

function percent(part, digits = 0) {
  const options = { style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits };
  return new Intl.NumberFormat(state.language, options).format(part);
}

function hours(seconds) {
  const value = seconds / 3600;
  return new Intl.NumberFormat(state.language, { maximumFractionDigits: value < 10 ? 1 : 0 }).format(value);
}

function genres() {
  return library.taxonomy[state.level].genres;
}

function genreName(genre) {
  return state.language === "zh" ? genre.zh : genre.en;
}

const byId = new Map();
for (const level of Array.from(library.taxonomy).reverse()) for (const genre of level.genres) byId.set(genre.id, genre);

function nameOf(id) {
  return byId.has(id) ? genreName(byId.get(id)) : id;
}

function colourOf(id) {
  return byId.has(id) ? byId.get(id).colour : "currentColor";
}

// el("p.lead", { title: "..." }, "text", child, ...): children that are null, undefined or false are left out.
function el(kind, properties = {}, ...children) {
  const [tag, ...classes] = kind.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  set(element, properties);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

function svg(tag, properties = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  set(element, properties);
  element.append(...children);
  return element;
}

function set(element, properties) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    // the policy refuses the attribute `style`, and allows what a script sets
    else if (name === "css") for (const [key, text] of Object.entries(value)) element.style.setProperty(key, text);
    else if (name === "value" || name === "checked") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
}

// A name of a file may be written from right to left: it must not turn the text around it.
function nameElement(text, kind = "span") {
  return el(`${kind}`, { dir: "auto" }, el("bdi", {}, text));
}

function visible(text) {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g,
    (sign) => "\\u" + sign.charCodeAt(0).toString(16).padStart(4, "0"));
}

// Buttons of which one is pressed. `key` is theirs alone: the focus returns by it when they are made again.
function choice(key, items, selected, onselect, label) {
  return el("div.choice", { role: "group", "aria-label": label }, items.map(([value, text]) =>
    el("button", { type: "button", "aria-pressed": String(value === selected), "data-focus": `${key}:${value}`,
      onclick: () => onselect(value) }, text)));
}

function card(kind, title, ...children) {
  const id = `title-${kind}`;
  return el(`section.card.${kind}`, { "aria-labelledby": id }, el("h2", { id }, title), ...children);
}

// Keeps a choice for the next visit, where the browser allows it for a file.
function remember(key, value) {
  try {
    if (value === undefined) return JSON.parse(localStorage.getItem(key));
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // without a place to keep it
  }
  return null;
}
