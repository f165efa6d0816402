// The page of a batch: its controls, its rows.
"use strict";
const readOnly = document.body.dataset.readOnly === "1";
const TOUCH_MS = 3000; // a control that was touched is left alone for so long
let controls = {}, touchedAt = 0, typedRate = false, upload = null, checks = 0, shownRows = null, opener = null;

async function post(what, body, headers = { "Content-Type": "application/json" }) {
  let answer;
  try {
    answer = await fetch("/do/" + what, { method: "POST", headers: { "X-Engine": "1", ...headers }, body });
  } catch {
    return { ok: false, say: "no word from the page's server" };
  }
  try {
    return await answer.json();
  } catch {
    return { ok: false, say: answer.status === 401 ? "the page was started again: open the address that it printed" : "the page's server says " + answer.status };
  }
}

async function ask(what, values, button) {
  if (button) button.disabled = true;
  const answer = await post(what, JSON.stringify(values || {}));
  if (button) button.disabled = false;
  say(answer.say, !answer.ok);
  return answer;
}

function show(now) {
  const before = controls;
  controls = now;
  document.title = now.title;
  $("videos").hidden = now.state === "empty" || now.state === "unreadable";
  if (!readOnly) steer(before, now);
  if (shownRows !== null && now.indexed !== shownRows) refreshRows();
  shownRows = now.indexed;
}

function steer(before, now) {
  $("steer").hidden = !now.live;
  $("speed").hidden = !now.live && !now.startable || now.state === "unreadable";
  $("start").hidden = !now.startable || now.state === "unreadable";
  for (const button of document.querySelectorAll("[data-when]")) {
    const hide = !button.dataset.when.split(" ").includes(now.state);
    if (hide && button === document.activeElement) setTimeout(() => document.querySelector("#steer button:not([hidden])")?.focus());
    button.hidden = hide;
  }
  $("start-head").textContent = now.live ? "Add more videos" : "Start";
  if (now.state === "empty" && !before.state && document.activeElement === document.body) setTimeout(() => $("text").focus());
  if (now.state !== before.state) $("start").open = hasInput() || !now.live && (now.state === "empty" || now.left > 0);
  goLabel();
  if (now.words && now.words !== before.words) say(now.words, true);
  if (now.live && now.at_once !== null && Date.now() - touchedAt > TOUCH_MS) {
    $("sequential").checked = now.at_once === 1;
    if (now.at_once > 1) $("at-once").value = now.at_once;
    $("at-once").disabled = now.at_once === 1;
    $("at-once-now").value = now.at_once > 1 ? now.at_once : "1";
    if (!typedRate) $("rate").value = now.rate;
  }
}

// ---- steering ----
function values() {
  return {
    text: $("text").value, upload, name: $("file").files[0]?.name ?? "", path: $("path").value, encoding: $("encoding").value,
    languages: $("languages")?.value ?? "", output: $("output")?.value ?? "", rate: $("rate").value,
    formats: [...document.querySelectorAll("[name=format]:checked")].map((each) => each.value),
    sequential: $("sequential").checked, at_once: Number($("at-once").value),
  };
}

const hasInput = () => Boolean($("text").value.trim() || upload || $("path").value.trim());

function goLabel() {
  $("go").textContent = controls.live ? "Add" : hasInput() || !controls.left ? "Start" : "Go on with the rest";
  $("go").disabled = !hasInput() && (controls.live || !controls.left);
}

function preview(text, bad = false) {
  $("preview").textContent = text;
  $("preview").classList.toggle("bad", bad);
}

async function check() {
  const mine = ++checks;
  goLabel();
  if (!hasInput()) { preview(""); $("encoding").value = ""; $("encoding-field").hidden = true; return; }
  preview("reading …");
  const answer = await post("check", JSON.stringify(values()));
  if (mine !== checks) return;
  preview(answer.say, !answer.ok);
  if (answer.ok) $("encoding-field").hidden = !answer.encoding && !$("encoding").value;
}

function later(what, ms) {
  let timer = 0;
  return () => { clearTimeout(timer); timer = setTimeout(what, ms); };
}

// What the page itself has put there is no second input beside a file or a path.
function dropExample() {
  if ($("text").value === $("text").defaultValue) $("text").value = "";
}

async function chooseFile() {
  const file = $("file").files[0];
  upload = null;
  if (file) {
    dropExample();
    preview("reading the file …");
    const answer = await post("upload", file, { "X-Name": encodeURIComponent(file.name) });
    if (!answer.ok) { preview(answer.say, true); return; }
    upload = answer.upload;
  }
  check();
}

async function start(event) {
  event.preventDefault();
  checks++;
  $("go").disabled = true;
  const answer = await post("start", JSON.stringify(values()));
  if (answer.ok) {
    $("form").reset();
    $("text").value = "";
    $("start").open = false;
    upload = null;
    typedRate = false;
    $("encoding-field").hidden = true;
    say(answer.say);
  }
  preview(answer.ok ? "" : answer.say, true); // beside the fields, and nowhere else
  goLabel();
}

function setThreads() {
  touchedAt = Date.now();
  const alone = $("sequential").checked;
  $("at-once").disabled = alone;
  $("at-once-now").value = alone ? 1 : $("at-once").value;
  if (controls.live) ask("set", alone ? { sequential: true } : { at_once: Number($("at-once").value) });
}

async function setRate() {
  const given = $("rate").value;
  const answer = await ask("set", { rate: given }, $("set-rate"));
  if (answer.ok && $("rate").value === given) typedRate = false;
}

if (!readOnly) {
  const soon = later(check, 400), setSoon = later(setThreads, 300);
  $("text").addEventListener("input", soon);
  $("path").addEventListener("input", () => { dropExample(); soon(); });
  for (const id of ["rate", "encoding", "content"]) $(id).addEventListener("change", soon);
  $("file").addEventListener("change", chooseFile);
  $("form").addEventListener("submit", start);
  $("at-once").addEventListener("input", () => { touchedAt = Date.now(); $("at-once-now").value = $("at-once").value; setSoon(); });
  $("sequential").addEventListener("change", setThreads);
  $("rate").addEventListener("input", () => { typedRate = $("rate").value !== ""; }); // it stays until it is set
  $("set-rate").addEventListener("click", setRate);
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.do) ask(button.dataset.do, {}, button);
    if (button?.dataset.step) {
      ask(button.dataset.step, { ...values(), text: "", upload: null, path: "", kinds: button.dataset.kinds, older_than: button.dataset.olderThan }, button)
        .then(() => button.blur());
    }
  });
  $("start").hidden = $("speed").hidden = document.body.dataset.startable !== "1";
  if (hasInput()) check();
}

// ---- the rows ----
let reading = null;
async function loadRows(address, { push = true, focus = false } = {}) {
  reading?.abort();
  const mine = reading = new AbortController();
  const query = new URL(address, location.href).search;
  try {
    if (new URLSearchParams(query).get("q")) $("rows-note").textContent = "searching …";
    const answer = await fetch("/rows" + query, { signal: mine.signal });
    if (!answer.ok) throw new Error();
    $("rows").innerHTML = await answer.text();
    $("q").placeholder = $("rows-note").dataset.hint;
    if (push) history.pushState(null, "", "/" + query);
    if (focus) document.querySelector("#rows a")?.focus();
    const on = $("rows-note").dataset.searching;
    if (on) loadRows(on, { push: false });
  } catch {
    if (!mine.signal.aborted) say("the rows could not be read; trying again may help", true);
  }
}

function refreshRows() {
  const first = !new URLSearchParams(location.search).get("before");
  if (first && !$("rows").contains(document.activeElement) && !$("video").open && !$("rows-note").dataset.searching) {
    loadRows(location.href, { push: false });
  }
}

function filterRows() {
  const given = new URLSearchParams(new FormData($("filter")));
  for (const [name, value] of [...given]) if (!value) given.delete(name);
  return loadRows("/?" + given);
}

$("filter").addEventListener("submit", (event) => { event.preventDefault(); filterRows(); });
for (const id of ["status", "kind"]) $(id).addEventListener("change", filterRows);
$("q").addEventListener("input", later(filterRows, 400));
addEventListener("popstate", () => {
  const given = new URLSearchParams(location.search);
  for (const id of ["status", "kind", "q"]) $(id).value = given.get(id) ?? "";
  loadRows(location.href, { push: false });
});
document.addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if ("page" in link.dataset) { event.preventDefault(); loadRows(link.href, { focus: true }); }
  if ("video" in link.dataset) { event.preventDefault(); openVideo(link); }
});

async function openVideo(link) {
  const answer = await fetch(link.href + "?part=1").catch(() => null);
  if (!answer?.ok) { say(answer ? await answer.text() : "no word from the page's server", true); return; }
  opener = link.getAttribute("href");
  $("video-body").innerHTML = await answer.text();
  $("video").showModal();
  $("video").scrollTop = 0;
}

$("close").addEventListener("click", () => $("video").close());
$("video").addEventListener("click", (event) => { if (event.target === $("video")) $("video").close(); });
$("video").addEventListener("close", () => {
  [...document.querySelectorAll("[data-video]")].find((link) => link.getAttribute("href") === opener)?.focus();
});

listen(show);
