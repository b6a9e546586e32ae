// Shows openapi.json. Text from the document or from answers only ever becomes text nodes, never markup.
"use strict";

const byId = (id) => document.getElementById(id);
let spec = {};

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function resolve(node) {
  for (let hops = 0; node && node.$ref && hops < 10; hops += 1) {
    node = node.$ref.slice(2).split("/").reduce((at, key) => at[key.replaceAll("~1", "/").replaceAll("~0", "~")], spec);
  }
  return node || {};
}

function typeName(schema) {
  if (!schema) return "any";
  if (schema.$ref) return schema.$ref.split("/").pop();
  const variants = schema.anyOf || schema.oneOf || schema.allOf;
  if (variants) return variants.map(typeName).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.type === "array") return `${typeName(schema.items)}[]`;
  if (schema.type === "object" && typeof schema.additionalProperties === "object") {
    return `map of ${typeName(schema.additionalProperties)}`;
  }
  const type = Array.isArray(schema.type) ? schema.type.join(" | ") : schema.type || "any";
  return schema.format ? `${type} (${schema.format})` : type;
}

function limits(schema) {
  const words = [];
  const show = (key, text) => { if (schema[key] !== undefined) words.push(`${text} ${schema[key]}`); };
  show("minimum", "≥"); show("exclusiveMinimum", ">"); show("maximum", "≤"); show("exclusiveMaximum", "<");
  show("minLength", "length ≥"); show("maxLength", "length ≤"); show("minItems", "items ≥"); show("maxItems", "items ≤");
  show("pattern", "matches");
  if (schema.default !== undefined && schema.default !== null) words.push(`default ${JSON.stringify(schema.default)}`);
  return words.join(", ");
}

function about(schema, description) {
  const facts = limits(schema);
  return make("span", {}, description || schema.description || "", facts ? make("span", { class: "quiet" }, ` ${facts}`) : "");
}

// Every model that a schema leads to, as a table that opens on demand, so that recursive models end.
function models(schema) {
  if (!schema) return [];
  if (schema.$ref) return [modelTable(schema)];
  return [...(schema.anyOf || schema.oneOf || schema.allOf || []), schema.items, schema.additionalProperties]
    .filter((part) => part && typeof part === "object").flatMap(models);
}

function modelTable(ref) {
  const schema = resolve(ref);
  const box = make("details", { class: "schema" }, make("summary", {}, typeName(ref)));
  box.addEventListener("toggle", () => {
    if (box.open && box.children.length === 1) box.append(...modelRows(schema));
  });
  return box;
}

function modelRows(schema) {
  const rows = Object.entries(schema.properties || {}).map(([name, field]) => make("tr", {},
    make("td", {}, make("code", { class: (schema.required || []).includes(name) ? "required" : "" }, name)),
    make("td", {}, make("code", {}, typeName(field))),
    make("td", {}, about(field), ...models(field))));
  const text = schema.description ? [make("p", { class: "quiet" }, schema.description)] : [];
  if (rows.length) return [...text, make("table", {}, make("tbody", {}, ...rows))];
  return [...text, make("code", {}, typeName(schema)), ...models(schema)];
}

function example(schema, depth = 0) {
  schema = resolve(schema);
  if (schema.examples && schema.examples.length) return schema.examples[0];
  if (schema.default !== undefined) return schema.default;
  if (schema.const !== undefined) return schema.const;
  if (schema.enum) return schema.enum[0];
  const variants = schema.anyOf || schema.oneOf || schema.allOf;
  if (variants) return example(variants[0], depth);
  if (schema.type === "object") {
    if (depth > 3) return {};
    const wanted = Object.entries(schema.properties || {}).filter(([name]) => (schema.required || []).includes(name));
    return Object.fromEntries(wanted.map(([name, field]) => [name, example(field, depth + 1)]));
  }
  return { string: "", integer: schema.minimum || 0, number: schema.minimum || 0, boolean: false, array: [] }[schema.type] ?? null;
}

function parameterRows(operation) {
  return (operation.parameters || []).map(resolve).map((parameter) => {
    const schema = parameter.schema || {};
    const first = (schema.examples || [])[0];
    const input = make("input", {
      "data-name": parameter.name, "data-in": parameter.in, "data-many": typeName(schema).includes("[]"),
      placeholder: first === undefined ? "" : String(first), "aria-label": parameter.name, spellcheck: "false",
    });
    return make("tr", {},
      make("td", {}, make("code", { class: parameter.required ? "required" : "" }, parameter.name), make("div", { class: "quiet" }, parameter.in)),
      make("td", {}, make("code", {}, typeName(schema))),
      make("td", {}, about(schema, parameter.description)),
      make("td", {}, input));
  });
}

function requestOf(box, method, path) {
  let target = path;
  const query = new URLSearchParams();
  for (const input of box.querySelectorAll("input[data-name]")) {
    const { name, in: place, many } = input.dataset;
    if (place === "path") target = target.replace(`{${name}}`, encodeURIComponent(input.value || input.placeholder));
    else if (input.value !== "") {
      for (const value of many !== undefined ? input.value.split(",") : [input.value]) query.append(name, value.trim());
    }
  }
  const headers = { Accept: "application/json" };
  const token = byId("token").value.trim();
  if (token) headers.Authorization = `Bearer ${token}`;
  const body = box.querySelector("textarea");
  if (body) headers["Content-Type"] = body.dataset.type;
  // Relative to the page's folder, so that it also works below a prefix of a proxy.
  const url = new URL(target.slice(1) + (query.size ? `?${query}` : ""), new URL(".", document.baseURI));
  return { url, init: { method: method.toUpperCase(), headers, body: body ? body.value : undefined } };
}

async function send(box, method, path, button, result) {
  button.disabled = true;
  const { url, init } = requestOf(box, method, path);
  const started = performance.now();
  try {
    const answer = await fetch(url, init);
    const text = await answer.text();
    let shown = text;
    try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON: shown as it came */ }
    const milliseconds = (performance.now() - started).toFixed(0);
    result.replaceChildren(
      make("div", {}, make("span", { class: answer.ok ? "good" : "bad" }, `${answer.status} ${answer.statusText}`),
        make("span", { class: "quiet" }, `  ${milliseconds} ms  ${url.pathname}${url.search}`)),
      make("pre", {}, shown || "(empty)"));
  } catch (error) {
    result.replaceChildren(make("span", { class: "bad" }, String(error)));
  } finally {
    button.disabled = false;
  }
}

function tryIt(box, method, path, operation) {
  const parts = [];
  if (operation.requestBody) {
    const [type, content] = Object.entries(operation.requestBody.content)[0];
    const text = content.schema ? JSON.stringify(example(content.schema), null, 2) : "";
    const rows = Math.min(14, Math.max(3, text.split("\n").length));
    parts.push(make("h3", {}, "Body"));
    if (content.schema) parts.push(modelTable(content.schema));
    const area = make("textarea", { rows, spellcheck: "false", "aria-label": "Body", "data-type": type === "*/*" ? "application/octet-stream" : type });
    area.value = text;
    parts.push(area);
  }
  const result = make("div", { "aria-live": "polite" });
  const button = make("button", { type: "button" }, "Send");
  button.addEventListener("click", () => send(box, method, path, button, result));
  parts.push(make("div", { class: "send" }, button), result);
  return parts;
}

function answers(operation) {
  return Object.entries(operation.responses || {}).map(([status, answer]) => {
    const content = Object.values(resolve(answer).content || {})[0];
    return make("tr", {}, make("td", {}, make("code", {}, status)), make("td", {}, resolve(answer).description || ""),
      make("td", {}, ...(content && content.schema ? models(content.schema) : [])));
  });
}

function access(operation) {
  if (!operation.security) return null;
  const scopes = operation.security.flatMap((entry) => entry.bearer || []);
  if (operation.security.some((entry) => Object.keys(entry).length === 0)) return "token optional";
  return scopes.length ? `scope ${scopes.join(", ")}` : "token needed";
}

function operationBox(method, path, operation) {
  const needs = access(operation);
  const box = make("details", { class: "operation", id: operation.operationId },
    make("summary", {}, make("span", { class: `method ${method}` }, method.toUpperCase()), make("span", { class: "path" }, path),
      needs ? make("span", { class: "tag" }, needs) : null, make("span", { class: "quiet" }, operation.summary || "")));
  box.addEventListener("toggle", () => {
    if (!box.open || box.children.length > 1) return;
    const inside = make("div", { class: "inside" });
    if (operation.description) inside.append(make("p", {}, operation.description));
    const rows = parameterRows(operation);
    if (rows.length) {
      inside.append(make("h3", {}, "Parameters"), make("table", {}, make("tbody", {}, ...rows)));
    }
    inside.append(...tryIt(inside, method, path, operation));
    inside.append(make("h3", {}, "Answers"), make("table", {}, make("tbody", {}, ...answers(operation))));
    box.append(inside);
  });
  return box;
}

function reveal() {
  const box = byId(decodeURIComponent(location.hash.slice(1)));
  if (box && box.tagName === "DETAILS") { box.open = true; box.scrollIntoView(); }
}

function show() {
  document.title = spec.info.title;
  byId("title").textContent = spec.info.title;
  byId("about").replaceChildren(`${spec.info.description || ""} `, make("span", { class: "quiet" }, `version ${spec.info.version} · `),
    make("a", { href: "openapi.json" }, "openapi.json"));
  const groups = new Map((spec.tags || []).map((tag) => [tag.name, []]));
  for (const [path, methods] of Object.entries(spec.paths)) {
    for (const [method, operation] of Object.entries(methods)) groups.get(operation.tags[0]).push([method, path, operation]);
  }
  byId("operations").replaceChildren();
  byId("menu").replaceChildren();
  for (const [tag, operations] of groups) {
    byId("operations").append(make("h2", {}, tag), ...operations.map((entry) => operationBox(...entry)));
    byId("menu").append(make("h2", {}, tag), ...operations.map(([method, path, operation]) => make("a",
      { href: `#${operation.operationId}`, title: `${method.toUpperCase()} ${path}`, "data-text": `${method} ${path} ${operation.summary}`.toLowerCase() },
      operation.summary || path)));
  }
  reveal();
}

byId("filter").addEventListener("input", (event) => {
  const wanted = event.target.value.toLowerCase();
  for (const link of document.querySelectorAll("#menu a")) {
    link.hidden = !link.dataset.text.includes(wanted);
    byId(link.getAttribute("href").slice(1)).hidden = link.hidden;
  }
});
window.addEventListener("hashchange", reveal);
fetch("openapi.json").then((answer) => answer.json()).then((document_) => { spec = document_; show(); })
  .catch((error) => byId("operations").replaceChildren(make("p", { class: "bad" }, `openapi.json could not be read: ${error}`)));
