// The status page: the table, a card with a chart per workload, and what is wrong. Everything shown comes from
// /api/v1/autoscaling/workloads and /api/v1/query_range; nothing is computed here that the decision did not say.
'use strict';

const kPollMs = 2000;
const kChartSeconds = 180;
const kChartStep = 2;
const kWidth = 560, kHeight = 150, kLeft = 26, kRight = 34, kTop = 8, kBottom = 18;
const kSvg = 'http://www.w3.org/2000/svg';

function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
  for (const child of children) node.append(child);
  return node;
}

function svg(tag, attributes, text) {
  const node = document.createElementNS(kSvg, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

function short(number) {
  const size = Math.abs(number);
  if (size >= 1e6) return (number / 1e6).toFixed(1) + 'M';
  if (size >= 1e4) return (number / 1e3).toFixed(1) + 'k';
  return size >= 100 || Number.isInteger(number) ? number.toFixed(0) : number.toFixed(size >= 10 ? 1 : 2);
}

function replicas(workload) {
  const cell = el('td', {class: 'number'});
  const moving = workload.currentReplicas !== workload.desiredReplicas;
  cell.append(String(workload.currentReplicas));
  cell.append(el('span', {class: moving ? 'arrow' : 'faint'}, ' \u2192 '));
  cell.append(String(workload.desiredReplicas));
  cell.append(el('div', {class: 'faint'}, `${workload.readyReplicas} ready, ${workload.minReplicas}\u2013${workload.maxReplicas}`));
  return cell;
}

function signalRows(workload, render) {
  return workload.signals.length ? workload.signals.map(render) : [el('div', {class: 'faint'}, 'none')];
}

function overviewRow(workload) {
  const names = el('td', {}, ...signalRows(workload, s => el('div', {class: s.error ? 'bad' : ''}, s.name)));
  const targets = el('td', {}, ...signalRows(workload, s =>
    el('div', {class: 'figures'}, s.error ? '\u2014' : `${short(s.value)} / ${short(s.target)}`)));
  const why = el('td', {class: workload.held ? 'bad' : ''}, workload.why);
  return el('tr', {}, el('td', {class: 'name'}, el('strong', {}, workload.name), el('div', {class: 'faint'}, workload.namespace)),
    el('td', {}, workload.controller, el('div', {class: 'faint'}, workload.target)), names, targets, replicas(workload), why);
}

function problems(data) {
  const box = document.getElementById('problems');
  box.replaceChildren(...data.problems.map(text => el('p', {class: 'bad'}, text)));
  box.hidden = data.problems.length === 0;
}

function leadership(leader) {
  const line = document.getElementById('leader');
  line.hidden = !leader.elected;
  if (leader.leads) line.textContent = 'This replica leads.';
  else line.textContent = leader.leader ? `On standby: ${leader.leader} leads, and shows the workloads.` : 'Nobody leads at present.';
}

async function series(query, end) {
  const parameters = new URLSearchParams(
    {query, start: String(end - kChartSeconds), end: String(end), step: String(kChartStep)});
  const reply = await fetch('api/v1/query_range?' + parameters);
  const body = await reply.json();
  if (body.status !== 'success') return [];
  return body.data.result.map(s => s.values.map(([t, v]) => [t, Number(v)]));
}

function path(points, x, y) {
  return points.map(([t, v], i) => `${i ? 'L' : 'M'}${x(t).toFixed(1)},${y(v).toFixed(1)}`).join('');
}

// Replicas change at once, so they are drawn as steps.
function steps(points) {
  const out = [];
  for (const [t, v] of points) {
    if (out.length) out.push([t, out[out.length - 1][1]]);
    out.push([t, v]);
  }
  return out;
}

function drawChart(chart, end, ready, desired, signal, limit) {
  const x = t => kLeft + (t - (end - kChartSeconds)) / kChartSeconds * (kWidth - kLeft - kRight);
  const scale = top => v => kHeight - kBottom - v / top * (kHeight - kTop - kBottom);
  const top = Math.max(limit, 1, ...ready.map(p => p[1]), ...desired.map(p => p[1]));
  const y = scale(top);
  const signalTop = Math.max(1e-9, ...signal.map(p => p[1])) * 1.1;
  const parts = [];
  for (const share of [0, 0.5, 1]) {
    const at = y(top * share);
    parts.push(svg('line', {x1: kLeft, x2: kWidth - kRight, y1: at, y2: at, class: 'grid'}));
    parts.push(svg('text', {x: kLeft - 4, y: at + 3, 'text-anchor': 'end', class: 'axis'}, short(top * share)));
    if (signal.length) parts.push(svg('text', {x: kWidth - kRight + 4, y: at + 3, class: 'axis signal-axis'}, short(signalTop * share)));
  }
  for (const ago of [180, 120, 60, 0]) {
    parts.push(svg('text', {x: x(end - ago), y: kHeight - 4, 'text-anchor': 'middle', class: 'axis'}, ago ? `-${ago / 60} min` : 'now'));
  }
  const stepped = steps(ready);
  if (stepped.length > 1) {
    const last = stepped[stepped.length - 1][0];
    parts.push(svg('path', {d: `${path(stepped, x, y)}L${x(last)},${y(0)}L${x(stepped[0][0])},${y(0)}Z`, class: 'ready-area'}));
    parts.push(svg('path', {d: path(stepped, x, y), class: 'ready-line'}));
  }
  parts.push(svg('path', {d: path(steps(desired), x, y), class: 'desired-line'}));
  parts.push(svg('path', {d: path(signal, x, scale(signalTop)), class: 'signal-line'}));
  chart.replaceChildren(...parts);
}

async function updateChart(card, workload, end) {
  const quote = text => JSON.stringify(text);
  const who = `namespace=${quote(workload.namespace)},name=${quote(workload.name)},controller=${quote(workload.controller)}`;
  const [ready, desired] = await Promise.all([
    series(`tidewright_workload_ready_replicas{${who}}`, end), series(`tidewright_workload_desired_replicas{${who}}`, end)]);
  const first = workload.signals[0];
  const trigger = `namespace=${quote(workload.namespace)},name=${quote(workload.name)}`;
  const signal = first ? await series(`tidewright_trigger_value{${trigger},trigger=${quote(first.name)}}`, end) : [];
  drawChart(card.querySelector('svg'), end, ready[0] || [], desired[0] || [], signal[0] || [], workload.maxReplicas);
}

function signalTable(workload) {
  const rows = workload.signals.map(s => el('tr', {},
    el('td', {}, s.name, s.detail && s.detail !== s.name ? el('div', {class: 'faint'}, s.detail) : ''),
    el('td', {class: s.error ? 'bad' : 'number'}, s.error || `${short(s.value)} / ${short(s.target)}`),
    el('td', {class: 'number'}, s.proposal === null ? '\u2014' : `\u2192 ${s.proposal}`)));
  return el('table', {}, el('tbody', {}, ...rows));
}

function conditionList(workload) {
  return el('div', {}, ...workload.conditions.map(c => {
    const wrong = (c.type === 'Ready' || c.type === 'ScalingActive' || c.type === 'AbleToScale') && c.status === 'False';
    return el('div', {class: wrong ? 'bad' : 'faint'}, `${c.type}=${c.status} ${c.reason}: ${c.message}`);
  }));
}

function fillCard(card, workload) {
  const moving = workload.currentReplicas !== workload.desiredReplicas;
  card.querySelector('h3').replaceChildren(
    el('span', {}, `${workload.namespace}/${workload.name}`),
    el('span', {class: moving ? 'arrow' : ''}, `${workload.currentReplicas} \u2192 ${workload.desiredReplicas}`));
  const why = card.querySelector('.why');
  why.textContent = workload.why;
  why.className = 'why ' + (workload.held ? 'bad' : '');
  card.querySelector('.signals').replaceChildren(signalTable(workload));
  card.querySelector('.steps').replaceChildren(...workload.steps.map(s => el('li', {}, s.text)));
  card.querySelector('.conditions').replaceChildren(conditionList(workload));
  card.querySelector('.events').replaceChildren(...workload.events.slice(-6).reverse().map(e =>
    el('li', {}, `${e.time.slice(11, 19)}  ${e.from} \u2192 ${e.to}  ${e.why}`)));
}

function newCard() {
  return el('article', {class: 'card'}, el('h3', {}), el('p', {class: 'why'}),
    svg('svg', {viewBox: `0 0 ${kWidth} ${kHeight}`, role: 'img', 'aria-label': 'Replicas over the last three minutes'}),
    el('div', {class: 'legend'}, el('span', {}, el('i', {class: 'key-ready'}), 'ready'),
      el('span', {}, el('i', {class: 'key-desired'}), 'desired'), el('span', {}, el('i', {class: 'key-signal'}), 'first signal (right axis)')),
    el('div', {class: 'signals'}),
    el('details', {open: ''}, el('summary', {}, 'Reasoning, step by step'), el('ol', {class: 'steps'})),
    el('details', {}, el('summary', {}, 'Conditions'), el('div', {class: 'conditions'})),
    el('details', {open: ''}, el('summary', {}, 'Last changes'), el('ul', {class: 'events'})));
}

const cards = new Map();

async function update() {
  const data = await (await fetch('api/v1/autoscaling/workloads')).json();
  problems(data);
  leadership(data.leader);
  document.querySelector('#overview tbody').replaceChildren(...data.workloads.map(overviewRow));
  document.getElementById('clocks').textContent = data.calendar && data.calendar !== data.now ?
    `calendar ${data.calendar.replace('T', ' ')} \u00b7 clock ${data.now.slice(11, 19)} UTC` : data.now.replace('T', ' ');
  const keys = new Set();
  for (const workload of data.workloads) {
    const key = `${workload.controller}/${workload.namespace}/${workload.name}`;
    keys.add(key);
    if (!cards.has(key)) {
      cards.set(key, newCard());
      document.getElementById('cards').append(cards.get(key));
    }
    fillCard(cards.get(key), workload);
    await updateChart(cards.get(key), workload, Date.parse(data.now) / 1000);
  }
  for (const [key, card] of cards) {
    if (!keys.has(key)) { card.remove(); cards.delete(key); }
  }
  document.getElementById('updated').textContent = 'updated ' + new Date(data.now).toISOString().slice(11, 19) + ' UTC';
}

async function poll() {
  try {
    await update();
  } catch (error) {
    document.getElementById('updated').textContent = 'no answer from Tidewright: ' + error.message;
  }
  setTimeout(poll, kPollMs);
}

poll();
