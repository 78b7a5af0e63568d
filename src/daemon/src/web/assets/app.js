// The page: draws what /web/events says, and asks for what an operator clicks. Text from the cluster only ever becomes text nodes.

const $ = (id) => document.getElementById(id);

/** An element with attributes, handlers (functions) and children; empty ones are left out. */
function make(name, attributes = {}, ...children) {
  const svg = ["svg", "rect", "title"].includes(name) && attributes.svg !== false;
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false || key === "svg") continue;
    if (typeof value === "function") element.addEventListener(key, value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== ""));
  return element;
}

const tag = (text, kind = "") => make("span", { class: `tag ${kind}` }, text);
const when = (ms) => make("time", { datetime: new Date(ms).toISOString() }, new Date(ms).toLocaleString());

function amount(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (bytes >= 1000 && unit < units.length - 1) { bytes /= 1000; unit += 1; }
  return `${bytes >= 100 || unit === 0 ? Math.round(bytes) : bytes.toFixed(1)} ${units[unit]}/s`;
}

async function ask(path, body) {
  const response = await fetch(path, {
    method: body === undefined ? "GET" : "POST",
    headers: { "bascule-page": "1", "content-type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const answer = await response.json().catch(() => ({ error: `status ${response.status}` }));
  if (!response.ok) throw Object.assign(new Error(answer.error || `status ${response.status}`), { status: response.status });
  return answer;
}

// ---- what can be done -------------------------------------------------------------------------------------------------------

let me = null;

/** Shows text in the dialog; with `action`, offers to do it and shows what came of it. */
function dialog(title, text, action, verb = "Do it") {
  const [box, doIt, output] = [$("dialog"), $("dialog-do"), $("dialog-output")];
  $("dialog-title").textContent = title;
  $("dialog-text").textContent = text;
  output.hidden = true;
  doIt.hidden = !action;
  doIt.disabled = false;
  doIt.textContent = verb;
  doIt.onclick = () => carryOut(action);
  if (!box.open) box.showModal();
  (action ? doIt : $("dialog-close")).focus();
}

async function carryOut(action) {
  const [doIt, output] = [$("dialog-do"), $("dialog-output")];
  doIt.disabled = true;
  output.hidden = false;
  output.textContent = "…";
  try {
    const done = await ask("/web/action", action);
    $("dialog-text").textContent = `${done.command}: ${done.code === 0 ? "done" : `exit status ${done.code}`}`;
    output.textContent = done.text || "(it said nothing)";
  } catch (error) {
    $("dialog-text").textContent = "That did not work.";
    output.textContent = error.message;
    if (error.status === 401) loggedOut();
  }
  doIt.hidden = true;
  $("dialog-close").focus();
}

/** A button that only shows something. */
const shows = (label, title, action) =>
  make("button", { type: "button", "data-key": `${label} ${title}`, "aria-label": `${label}: ${title}`,
    click: () => { dialog(`${label}: ${title}`, "", action); carryOut(action); } }, label);

/** A button that asks before it acts. */
const acts = (label, what, question, action) =>
  make("button", { type: "button", "data-key": `${label} ${what}`, "aria-label": `${label}: ${what}`,
    click: () => dialog(`${label}: ${what}`, question, action, label) }, label);

// ---- the sections ------------------------------------------------------------------------------------------------------------

function nodeCard(node, state) {
  const kind = node.bad ? "bad" : node.state === "online" ? "good" : "warn";
  const card = make("article", { class: `card${node.bad ? " bad" : ""}` },
    make("h3", {}, node.name), make("div", {}, tag(node.state, kind), " ",
      node.coordinator ? tag("coordinator") : null, " ", node.here ? tag("this host") : null, " ",
      node.kind !== "node" ? tag(node.kind) : null),
    make("p", { class: "soft" }, `${node.running} resource${node.running === 1 ? "" : "s"} running`,
      node.votes === null ? "" : `, ${node.votes} vote${node.votes === 1 ? "" : "s"}`),
    node.links.map((link) => make("div", { class: "soft" }, `link ${link.number} to ${link.remote} `,
      tag(link.up ? (link.in_use ? "up, in use" : "up") : "down", link.up ? "good" : "bad"),
      link.losses ? ` lost ${link.losses}×` : "")));
  const buttons = make("div", { class: "buttons" });
  if (node.kind === "node" || node.kind === "remote") {
    buttons.append(node.standby
      ? acts("Bring back", node.name, "It may run resources again.", { action: "standby", node: node.name, on: false })
      : acts("Standby", node.name, "What it runs moves away, and nothing runs there until it is brought back.",
        { action: "standby", node: node.name, on: true }));
    buttons.append(node.maintenance
      ? acts("End maintenance", node.name, "The cluster looks after what runs there again.",
        { action: "node_maintenance", node: node.name, on: false })
      : acts("Maintenance", node.name, "What runs there goes on, and the cluster leaves it alone.",
        { action: "node_maintenance", node: node.name, on: true }));
  }
  card.append(buttons);
  return card;
}

function nodes(state) {
  const parts = [make("div", { class: "cards" }, state.nodes.map((n) => nodeCard(n, state)))];
  const votes = state.votes;
  if (votes) {
    parts.push(make("p", {}, tag(state.quorate ? "quorum" : "no quorum", state.quorate ? "good" : "bad"),
      ` ${votes.total} of ${votes.expected} votes, ${votes.quorum} needed `, make("span", { class: "soft" }, votes.flags.join(", "))));
  }
  const arbitrator = state.arbitrator;
  if (arbitrator) {
    parts.push(make("p", {}, "Arbitrator ", make("strong", {}, arbitrator.host), " ",
      tag(arbitrator.state, arbitrator.state === "Connected" ? "good" : "bad"), " ",
      tag(arbitrator.cast ? "its vote is here" : "its vote is not here", arbitrator.cast ? "good" : "warn"),
      arbitrator.trouble ? make("span", { class: "soft" }, ` ${arbitrator.trouble}`) : null));
  }
  parts.push(make("div", { class: "buttons" },
    shows("Plan", "what each kind of failure costs", { action: "plan" }),
    state.maintenance
      ? acts("End maintenance", "whole cluster", "The cluster looks after its resources again.", { action: "maintenance", on: false })
      : acts("Maintenance", "whole cluster", "All resources go on running, and the cluster leaves them alone.",
        { action: "maintenance", on: true })));
  return parts;
}

function resourceRows(resource, state, depth) {
  const plain = resource.kind === "primitive";
  const where = resource.on.length ? resource.on.join(", ") : "";
  const name = make("td", { "data-name": "Resource" }, make("span", { class: depth ? "inner" : "" },
    make("strong", {}, resource.id), " ", make("span", { class: "soft" }, plain ? resource.agent : resource.kind)));
  const role = make("td", { "data-name": "State" }, make("span", {},
    plain ? tag(resource.role, resource.bad ? "bad" : resource.role === "Stopped" ? "" : "good") : null, " ",
    resource.marks.map((m) => [tag(m, ["failed", "blocked"].includes(m) ? "bad" : "warn"), " "]),
    resource.pending ? tag(`${resource.pending}…`, "warn") : null));
  const buttons = make("td", {}, depth === 0 ? resourceButtons(resource, state) : null);
  const row = make("tr", {}, name, role, make("td", { "data-name": "Where" }, where), buttons);
  return [row, ...resource.children.flatMap((c) => resourceRows(c, state, depth + 1))];
}

function holders(resource) {
  return new Set([...resource.on, ...resource.children.flatMap((c) => [...holders(c)])]);
}

function resourceButtons(resource, state) {
  const id = resource.id;
  const here = holders(resource);
  const targets = state.nodes.filter((n) => n.state === "online" && !here.has(n.name)).map((n) => n.name);
  const moved = state.moves.filter((m) => m.resource === id);
  const clone = resource.kind.includes("clone");
  return make("div", { class: "buttons" },
    shows("Explain", id, { action: "explain", resource: id }),
    clone ? null : targets.map((node) => acts(`Move to ${node}`, id,
      "It stops where it is and starts there. It stays there until the move is taken back.", { action: "move", resource: id, node })),
    moved.length ? acts("Take move back", id, `The cluster places it again as configured (${moved.map((m) => m.id).join(", ")}).`,
      { action: "clear", resource: id }) : null,
    acts("Clean up", id, "Its failures are forgotten, and the cluster tries again.", { action: "cleanup", resource: id }),
    resource.marks.includes("disabled")
      ? acts("Enable", id, "The cluster may start it.", { action: "enable", resource: id, on: true })
      : acts("Disable", id, "It is stopped everywhere until it is enabled.", { action: "enable", resource: id, on: false }));
}

function table(heads, rows) {
  return make("div", { class: "scroll" }, make("table", { class: "stack" },
    make("thead", {}, make("tr", {}, heads.map(([name, kind]) => make("th", { scope: "col", class: kind || null }, name)))),
    make("tbody", {}, rows)));
}

function resources(state) {
  if (!state.resources.length) return [make("p", { class: "soft" }, "No resources are configured.")];
  return [table([["Resource"], ["State"], ["Where"], ["Actions"]], state.resources.flatMap((r) => resourceRows(r, state, 0)))];
}

/** The last hour of a server as a bar. */
function health(server, now) {
  const span = 3600000, from = now - span;
  const svg = make("svg", { class: "health", viewBox: "0 0 100 10", preserveAspectRatio: "none", role: "img" });
  const downs = server.history.filter(([, word]) => word === "down").length;
  svg.append(make("title", {}, `last hour: ${server.standing} now, down ${downs} time${downs === 1 ? "" : "s"}`));
  server.history.forEach(([at, word], i) => {
    const start = Math.max(at, from), end = i + 1 < server.history.length ? server.history[i + 1][0] : now;
    if (end <= from) return;
    const x = ((start - from) / span) * 100;
    svg.append(make("rect", { class: word, x, y: 0, height: 10, width: Math.max(((end - start) / span) * 100, 0.8) }));
  });
  return svg;
}

function serverRow(server, director, now) {
  const words = [server.drained ? tag("drained", "warn") : null, server.maintenance ? tag("maintenance", "warn") : null];
  const cell = (name, value, number) => make("td", { "data-name": name, class: number ? "number" : null }, value);
  const action = (kind, on) => ({ action: kind, config: director.config, server: server.server, on });
  const buttons = !me.operator || !director.active ? null : make("div", { class: "buttons" },
    server.drained ? acts("Undrain", server.server, "It gets new connections again.", action("drain", false))
      : acts("Drain", server.server, "It gets no new connections; established ones go on.", action("drain", true)),
    server.maintenance ? acts("End maintenance", server.server, "Its checks decide again.", action("server_maintenance", false))
      : acts("Maintenance", server.server, "It is out at once, until maintenance ends.", action("server_maintenance", true)));
  return make("tr", {},
    cell("Server", server.server),
    cell("State", make("span", {}, tag(server.standing, server.standing === "up" ? "good" : server.standing === "down" ? "bad" : ""), " ", words)),
    cell("Last hour", health(server, now)),
    cell("Weight", server.weight === null ? "–" : server.weight === server.configured_weight
      ? `${server.weight}` : `${server.weight} (${server.configured_weight})`, true),
    cell("Connections", server.active === null ? "–" : `${server.active} + ${server.inactive}`, true),
    cell("Rate", server.rates ? `${server.rates.connections}/s, ${amount(server.rates.in_bytes)} in, ${amount(server.rates.out_bytes)} out` : "–", true),
    cell("Last answer", make("span", { class: "soft" }, `${server.answer} (${server.check}, ${server.latency_ms} ms)`)),
    make("td", {}, buttons));
}

function service(entry, director, now) {
  const rates = entry.rates;
  const heads = [["Server"], ["State"], ["Last hour"], ["Weight", "number"], ["Connections", "number"], ["Rate", "number"], ["Last answer"], ["Actions"]];
  return make("article", { class: `card${entry.down ? " bad" : ""}` },
    make("h3", {}, entry.id, " ", tag(entry.scheduler), " ", entry.down ? tag("no server is up", "bad") : null, " ",
      entry.fallback ? tag("answered by the fallback", "warn") : null),
    rates ? make("p", { class: "soft" }, `${rates.connections} connections/s, ${amount(rates.in_bytes)} in, ${amount(rates.out_bytes)} out`) : null,
    table(heads, entry.servers.map((s) => serverRow(s, director, now))));
}

function services(state) {
  if (!state.directors.length) return [make("p", { class: "soft" }, "No director runs on this host.")];
  const now = Date.now();
  return state.directors.map((director) => make("div", {},
    make("p", {}, make("strong", {}, director.config), " ",
      tag(director.active ? "keeps the table" : "checks only", director.active ? "good" : ""), " ", tag(`${state.data_plane} IPVS`)),
    director.troubles.map((t) => make("p", { class: "notice bad" }, t)),
    director.services.map((s) => service(s, director, now))));
}

function timeline(state) {
  if (!state.incidents.length) return [make("p", { class: "soft" }, "Nothing since this node was started.")];
  return state.incidents.map((incident, index) => {
    const rows = incident.events.map((e) => make("tr", {},
      make("td", { class: "number", "data-name": "After" }, `${(e.after_us / 1000).toFixed(1)} ms`),
      make("td", { "data-name": "What" }, e.kind.replaceAll("_", " ")), make("td", { "data-name": "Whom" }, e.subject),
      make("td", {}, make("span", { class: "soft" }, e.text))));
    return make("details", { class: "card", open: index === 0, "data-key": `incident ${incident.wall_us}` },
      make("summary", {}, when(incident.wall_us / 1000), ` ${incident.summary} `, tag(`${(incident.span_us / 1000).toFixed(0)} ms`)),
      table([["After", "number"], ["What"], ["Whom"], ["Words"]], rows),
      incident.more ? make("p", { class: "soft" }, `and ${incident.more} more`) : null);
  });
}

function problems(state) {
  const notices = [...state.troubles.map((t) => make("p", { class: "notice bad" }, t)),
    ...state.warnings.map((w) => make("p", { class: "notice" }, w))];
  if (!state.fencing_enabled && state.nodes.length > 1)
    notices.push(make("p", { class: "notice" }, "Fencing is off: a node that hangs is not cut off from what it holds."));
  const failures = state.failures.map((f) => make("p", { class: "notice bad" },
    `${f.resource}: ${f.operation} on ${f.node} failed (code ${f.code})${f.reason ? `: ${f.reason}` : ""} `,
    f.at_ms === null ? null : when(f.at_ms), " ",
    acts("Clean up", f.resource, "Its failures are forgotten, and the cluster tries again.", { action: "cleanup", resource: f.resource })));
  const fenced = state.fencing.slice(0, 5).map((f) => make("p", { class: `notice${f.state === "failed" ? " bad" : ""}` },
    `${f.action} of ${f.target}: ${f.state}${f.detail ? `, ${f.detail}` : ""}${f.exit_reason ? `, ${f.exit_reason}` : ""} `,
    when(f.completed_ms || f.asked_ms)));
  return [...notices, ...failures, ...fenced];
}

// ---- drawing -----------------------------------------------------------------------------------------------------------------

const drawn = new Map();

/** Puts new content into a section if what it shows has changed; the focus and what was opened stay. */
function draw(id, state, parts, content) {
  const key = JSON.stringify(parts);
  if (drawn.get(id) === key) return;
  drawn.set(id, key);
  const section = $(id), body = section.querySelector(":scope > .body") || section;
  const focused = body.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  const opened = new Map([...body.querySelectorAll("details[data-key]")].map((d) => [d.dataset.key, d.open]));
  body.replaceChildren(...content(state));
  for (const details of body.querySelectorAll("details[data-key]"))
    if (opened.has(details.dataset.key)) details.open = opened.get(details.dataset.key);
  if (focused) [...body.querySelectorAll("[data-key]")].find((e) => e.dataset.key === focused)?.focus();
}

function show(state) {
  $("title").textContent = state.cluster || "Bascule";
  document.title = `${state.cluster || "Bascule"} – ${state.node}`;
  const bad = !state.quorate || state.nodes.some((n) => n.bad) || state.failures.length || state.directors.some((d) => d.services.some((s) => s.down));
  const words = state.troubles.length && !state.nodes.length ? "the node does not answer" : !state.quorate ? "no quorum" : bad ? "needs attention" : "all is well";
  if ($("summary").dataset.words !== words) $("summary").replaceChildren(tag(words, bad || words !== "all is well" ? "bad" : "good"));
  $("summary").dataset.words = words;
  $("foot").textContent = `Bascule ${state.version} on ${state.node}; coordinator ${state.coordinator || "none"}; ${state.controller}`;
  draw("problems", state, [state.troubles, state.warnings, state.failures, state.fencing, state.fencing_enabled], problems);
  draw("nodes", state, [state.nodes, state.votes, state.arbitrator, state.quorate, state.maintenance], nodes);
  draw("resources", state, [state.resources, state.moves, state.nodes.map((n) => [n.name, n.state])], resources);
  draw("services", state, [state.directors, state.data_plane], services);
  draw("timeline", state, state.incidents, timeline);
}

// ---- logging in and following --------------------------------------------------------------------------------------------------

let source = null;

function loggedOut() {
  source?.close();
  me = null;
  drawn.clear();
  for (const id of ["cluster", "nav", "account"]) $(id).hidden = true;
  $("login").hidden = false;
  $("summary").replaceChildren();
  if ($("dialog").open) $("dialog").close();
  $("password").value = "";
  $("password").focus();
}

function loggedIn(who) {
  me = who;
  $("login").hidden = true;
  for (const id of ["cluster", "nav", "account"]) $(id).hidden = false;
  $("user").textContent = who.user;
  source = new EventSource("/web/events");
  source.onmessage = (event) => { $("cluster").classList.remove("gone"); show(JSON.parse(event.data)); };
  source.onerror = () => {
    $("cluster").classList.add("gone");
    $("summary").replaceChildren(tag("no connection to this host; what is shown is old", "bad"));
    delete $("summary").dataset.words;
    // A session that has ended is not worth trying again for ever.
    if (source.readyState === EventSource.CLOSED)
      setTimeout(() => ask("/web/me").then(loggedIn, (e) => (e.status === 401 ? loggedOut() : source.onerror())), 2000);
  };
}

$("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("login-error").textContent = "";
  const [user, secret] = [$("name").value, $("password").value.trim()];
  try {
    loggedIn(await ask("/web/login", secret.startsWith("bt1.") ? { user, token: secret } : { user, password: secret }));
  } catch (error) {
    $("login-error").textContent = error.message;
  }
});
$("logout").addEventListener("click", () => ask("/web/logout", {}).finally(loggedOut));
$("dialog-close").addEventListener("click", () => $("dialog").close());
ask("/web/me").then(loggedIn, loggedOut);
