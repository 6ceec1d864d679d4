// The targets page: what /api/v1/targets says, with a filter.
'use strict';

const kPollMs = 5000;
const kMaxRows = 500;  // A browser shows more only slowly, and nobody reads them.

function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
  for (const child of children) node.append(child);
  return node;
}

const byId = id => document.getElementById(id);
const labelText = labels => Object.entries(labels).map(([name, value]) => `${name}="${value}"`).join(' ');
const labelList = labels => Object.entries(labels).map(([name, value]) => el('div', {}, el('span', {class: 'faint'}, name + ' '), value));

function ago(time) {
  const ms = Date.parse(time);
  return ms > 0 ? ((Date.now() - ms) / 1000).toFixed(1) + ' s ago' : 'never';
}

function activeRow(target) {
  const discovered = el('details', {}, el('summary', {}, 'discovered labels'), ...labelList(target.discoveredLabels));
  const state = target.health === 'up' ? 'good' : target.health === 'down' ? 'bad' : 'faint';
  // Whoever annotates a pod chooses the scheme.
  const link = /^https?:/.test(target.scrapeUrl) ? el('a', {href: target.scrapeUrl}, target.scrapeUrl) : target.scrapeUrl;
  return el('tr', {}, el('td', {}, link, el('div', {class: 'faint'}, target.scrapePool)),
    el('td', {class: state}, target.health), el('td', {}, ...labelList(target.labels), discovered),
    el('td', {class: 'number'}, ago(target.lastScrape), el('div', {class: 'faint'}, 'every ' + target.scrapeInterval)),
    el('td', {class: 'number'}, (target.lastScrapeDuration * 1000).toFixed(1) + ' ms'), el('td', {class: 'bad'}, target.lastError));
}

function droppedRow(target) {
  return el('tr', {}, el('td', {}, target.scrapePool), el('td', {}, target.reason), el('td', {}, labelText(target.discoveredLabels)));
}

function show(id, rows, render, columns) {
  const shown = rows.slice(0, kMaxRows).map(render);
  if (rows.length > kMaxRows) {
    shown.push(el('tr', {}, el('td', {colspan: String(columns), class: 'faint'}, `${rows.length - kMaxRows} more; use the filter`)));
  }
  document.querySelector(`#${id} tbody`).replaceChildren(...shown);
}

function jobs(counts, active) {
  const names = new Set([...Object.keys(counts), ...active.map(target => target.scrapePool)]);
  const select = byId('job');
  const known = new Set([...select.options].map(option => option.value));
  for (const name of [...names].sort()) if (!known.has(name)) select.append(el('option', {value: name}, name));
}

let data = null;

function render() {
  if (data === null) return;
  const job = byId('job').value, state = byId('state').value, text = byId('text').value.toLowerCase();
  const wanted = target => (!job || target.scrapePool === job) && (!text || JSON.stringify(target).toLowerCase().includes(text));
  const active = data.activeTargets.filter(target => wanted(target) && (!state || target.health === state));
  const dropped = data.droppedTargets.filter(wanted);
  // What is down comes first: that is what people look for.
  active.sort((a, b) => (a.health === 'down' ? 0 : 1) - (b.health === 'down' ? 0 : 1));
  show('active', active, activeRow, 6);
  show('dropped', dropped, droppedRow, 3);
  const down = data.activeTargets.filter(target => target.health === 'down').length;
  const all = Object.values(data.droppedTargetCounts).reduce((sum, count) => sum + count, 0);
  byId('summary').textContent = `${data.activeTargets.length} active, ${down} down, ${all} dropped`;
  byId('updated').textContent = 'updated ' + new Date().toISOString().slice(11, 19) + ' UTC';
}

async function poll() {
  try {
    data = (await (await fetch('api/v1/targets')).json()).data;
    jobs(data.droppedTargetCounts, data.activeTargets);
    // Not under the reader's hands: an open list of labels stays open.
    if (document.querySelector('details[open]') === null) render();
  } catch (error) {
    byId('updated').textContent = 'no answer from Tidewright: ' + error.message;
  }
  setTimeout(poll, kPollMs);
}

byId('filter').addEventListener('submit', event => event.preventDefault());
byId('filter').addEventListener('input', render);
poll();
