// Draws the charts of a page, and swaps in what has changed: a new version of the tables, or another
// address. Whatever has not changed stays as it is.

// The address that the command prints has the token. A browser remembers it: links shall not have it
if (document.baseURI !== location.href) {
  location.replace(location.href);
  await new Promise(() => {});
}

const POLL_MS = 1000;
const BRUSH_MS = 400;
const VEGA_ERROR = 1;
const narrow = matchMedia("(max-width: 52rem)"); // as in page.css
const dark = matchMedia("(prefers-color-scheme: dark)");
const original = new Map(); // by the name of a block: its HTML as the server made it
let asked = 0; // only the last of several requests counts
let shown = location.href;
let isSwapping = false;

const blocks = (root) => root.querySelectorAll("[data-block]");
const root = new URL(document.documentElement.dataset.root, location.href);

const themes = JSON.parse(document.getElementById("themes").textContent);
const theme = () => themes[dark.matches ? "dark" : "light"];

async function draw(block) {
  const chart = block.querySelector(":scope > .chart");
  if (!chart) return;
  const specification = JSON.parse(block.querySelector(":scope > script").textContent);
  const place = document.createElement("div");
  place.ariaHidden = "true"; // the figure is one image, and has its description
  const before = [...chart.children];
  chart.append(place);
  try {
    const { view } = await window.vegaEmbed(place, specification, {
      actions: false,
      ast: true, // without eval, which the policy of these pages does not allow
      config: theme(),
      logLevel: VEGA_ERROR, // layers without rows are no news
      renderer: "svg",
      tooltip: { theme: dark.matches ? "dark" : "light" },
    });
    chart.view = view;
    view.addEventListener("click", (_, item) => openTrial(item && item.datum));
    listen(view, specification);
  } catch (error) {
    place.textContent = `This figure could not be drawn: ${error.message}`;
    console.error(error);
  } finally {
    for (const old of before) old.remove();
    chart.dataset.drawn = "1";
  }
}

// A point, line or bar of a trial leads to it
function openTrial(datum) {
  if (datum && datum.run !== undefined && datum.trial !== undefined)
    go(new URL(`trial/${encodeURIComponent(datum.run)}/${datum.trial}`, root));
}

// An interval that is brushed becomes a filter in the address
function listen(view, { usermeta }) {
  if (!usermeta?.brush?.length) return;
  let timer;
  view.addSignalListener("brush", (_, chosen) => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      const address = new URL(location.href);
      for (const [name, values] of usermeta.axes ? along(usermeta.axes, chosen) : between(chosen)) {
        address.searchParams.delete(name);
        for (const value of values) address.searchParams.append(name, value);
      }
      go(address);
    }, BRUSH_MS);
  });
}

const digits = (value) => String(Number(value.toPrecision(4)));

// Only what the page has a field for can be chosen by
function* interval(name, one, other) {
  if (!document.getElementsByName(`${name}.from`).length) return;
  yield [`${name}.from`, [digits(Math.min(one, other))]];
  yield [`${name}.to`, [digits(Math.max(one, other))]];
}

// Of a plane: both of its fields, where they are numbers
function* between(chosen) {
  for (const [name, ends] of Object.entries(chosen))
    if (ends.length === 2 && ends.every(Number.isFinite)) yield* interval(name, ...ends);
}

// Of parallel axes: those that were touched, each from place 0 to 1
function* along(axes, { _axis: titles = [], _place: places = [0, 1] }) {
  for (const title of titles) {
    const axis = axes[title];
    if (axis.values) {
      const last = Math.max(axis.values.length - 1, 1);
      const inside = axis.values.filter((_, place) => places[0] <= place / last && place / last <= places[1]);
      yield [axis.name, inside];
    } else {
      const [scaled, back] = axis.log ? [Math.log10, (value) => 10 ** value] : [Number, Number];
      const [start, end] = [axis.low, axis.high].map(scaled);
      yield* interval(axis.name, ...places.map((place) => back(start + (end - start) * place)));
    }
  }
}

function remember(tree) {
  for (const block of blocks(tree)) original.set(block.dataset.block, block.outerHTML);
}

async function drawEvery(those) {
  for (const block of those) await draw(block);
}

// Puts the page's blocks in place of those that are there, but for what is the same. Returns the new.
function swap(page) {
  const now = document.querySelector("main"), next = page.querySelector("main");
  const focus = document.activeElement, hadFocus = now.contains(focus);
  const there = new Map([...blocks(now)].map((block) => [block.dataset.block, block]));
  // What leaves the document for a moment forgets where it was scrolled to
  const scrolled = [...now.querySelectorAll(".wide")].map((one) => [one, one.scrollLeft, one.scrollTop]);
  const fresh = [];
  for (const block of blocks(next)) {
    const name = block.dataset.block, old = there.get(name);
    if (old && original.get(name) === block.outerHTML) {
      block.replaceWith(old);
      continue;
    }
    original.set(name, block.outerHTML);
    const chart = old?.querySelector(":scope > .chart"), place = block.querySelector(":scope > .chart");
    if (chart && place) place.replaceChildren(...chart.children); // until the new one is drawn
    if (old) keepTicks(old, block);
    fresh.push(block);
  }
  now.replaceChildren(...next.childNodes);
  for (const [one, left, top] of scrolled) one.scrollTo(left, top);
  const focused = focus.isConnected ? focus : hadFocus && same(now, focus);
  if (focused) focused.focus({ preventScroll: true });
  return fresh;
}

// Puts the page's sidebar in place, unless a person is typing there while only numbers have changed
function swapSidebar(page, isOther) {
  const now = document.querySelector("aside"), next = page.querySelector("aside");
  const name = next.dataset.block, focus = document.activeElement;
  const hasFocus = now.contains(focus);
  const isTyping = hasFocus && !isOther && focus.matches("input:not([type=checkbox])");
  if (original.get(name) === next.outerHTML || isTyping) return;
  original.set(name, next.outerHTML);
  const choose = next.querySelector(".choose");
  if (choose) choose.open = now.querySelector(".choose")?.open ?? !narrow.matches;
  now.replaceWith(next);
  if (hasFocus) same(next, focus)?.focus({ preventScroll: true });
}

const same = (tree, { name, value, type }) =>
  [...tree.querySelectorAll("input, button")].find(
    (one) => one.name === name && (type !== "checkbox" || one.value === value));

// What a person has ticked or opened in a table stays so while its numbers change
function keepTicks(old, block) {
  for (const box of old.querySelectorAll("input:checked")) {
    const now = same(block, box);
    if (now) now.checked = true;
  }
  const typed = old.querySelector("input[type=search]");
  if (typed && typed.value !== typed.defaultValue) same(block, typed).value = typed.value;
  const save = block.querySelector("details");
  if (save) save.open = old.querySelector("details")?.open ?? false;
  const [from, to] = [old, block].map((one) => one.querySelector(".wide"));
  if (!from || !to) return;
  const { scrollLeft, scrollTop } = from; // once it has left the document they are 0
  requestAnimationFrame(() => to.scrollTo(scrollLeft, scrollTop));
}

// Links are relative to the address that their page has now, not to the next one while it is loading
function makeAbsolute(tree) {
  for (const link of tree.querySelectorAll("a[href]:not([href^='#'])")) link.href = link.href;
  for (const form of tree.querySelectorAll("form")) form.action = form.action;
}

async function fetched(address) {
  const number = ++asked;
  let answer;
  try {
    answer = await fetch(address, { headers: { Accept: "text/html" } });
  } catch {
    document.documentElement.dataset.version = ""; // so that it is asked for again
    return;
  }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (number !== asked) return;
  if (!page.querySelector("main")) return location.replace(address); // no page of ours: as it is
  if (answer.redirected) history.replaceState(null, "", answer.url);
  document.title = page.title;
  const isOther = shown !== location.href;
  shown = location.href;
  document.documentElement.dataset.version = page.documentElement.dataset.version;
  document.querySelector("header").replaceWith(page.querySelector("header"));
  isSwapping = true;
  swapSidebar(page, isOther);
  const fresh = swap(page);
  isSwapping = false;
  makeAbsolute(document);
  await drawEvery(fresh);
  if (number === asked) settled();
}

// Says which address is drawn: that of the page once it is whole
function settled() {
  document.documentElement.dataset.drawn = location.pathname + location.search;
}

async function go(address) {
  const next = new URL(address, location.href);
  if (next.href === location.href) return; // a field's change and its form's submission are one
  history.pushState(null, "", next);
  const isAway = next.pathname !== new URL(shown).pathname;
  await fetched(next.href);
  if (isAway) scrollTo(0, 0);
}

addEventListener("popstate", () => fetched(location.href));

document.addEventListener("click", (event) => {
  const row = event.target.closest("a, input, label") ? null : event.target.closest("tbody tr");
  const link = row && getSelection().isCollapsed ? row.querySelector("a") : event.target.closest("a");
  if (!link || link.hasAttribute("download") || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (link.getAttribute("href").startsWith("#")) return;
  event.preventDefault();
  go(link.href);
});

document.addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  const address = new URL(form.action);
  address.search = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== ""));
  go(address);
});

document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-live]");
  // A field that is swapped while it has the focus tells a change, too
  if (form && !isSwapping) form.requestSubmit();
});

dark.addEventListener("change", () => drawEvery(blocks(document)));

async function watch() {
  try {
    const answer = await fetch(new URL("version", root), { cache: "no-store" });
    const version = await answer.text();
    if (answer.ok && version !== document.documentElement.dataset.version)
      await fetched(location.href);
    document.documentElement.toggleAttribute("data-lost", !answer.ok);
  } catch {
    document.documentElement.toggleAttribute("data-lost", true); // the server has ended: it may come back
  }
  setTimeout(watch, POLL_MS);
}

// The address may become deeper without a new document
for (const link of document.head.querySelectorAll("link")) link.href = link.href;
remember(document);
makeAbsolute(document);
if (narrow.matches) document.querySelector(".choose")?.removeAttribute("open");
await drawEvery(blocks(document));
settled();
watch();
