// Everything that comes from a file or from the server is set as text, never as markup.
const AT_ONCE = 4, MOST = 100, PATIENCE = 8; // requests, images of one choice, times that a busy server is asked again
const $ = selector => document.querySelector(selector);
const percent = p => (p < 0.0005 ? 0 : 100 * p).toFixed(1) + ' %';
const sleep = seconds => new Promise(done => setTimeout(done, 1000 * seconds));
const state = { token: sessionStorage.getItem('token'), model: null, waiting: [], running: 0, begun: 0, done: 0, note: '' };

function element(tag, { text, ...properties } = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  if (text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}

// ---- the server

async function ask(path, options = {}) {
  const headers = { ...options.headers, ...(state.token && { authorization: 'Bearer ' + state.token }) };
  for (let turn = 0; ; turn++) {
    let response;
    try {
      response = await fetch(path, { ...options, headers });
    } catch {
      throw new Error('The server does not answer.');
    }
    if (response.status === 503 && turn < PATIENCE) {
      await sleep(Number(response.headers.get('retry-after') || 1) * (1 + Math.random()));
      continue;
    }
    const answer = await response.json().catch(() => ({ error: 'The server answered ' + response.status + '.' }));
    if (response.status === 401) lock();
    if (!response.ok) throw new Error(answer.error);
    return answer;
  }
}

async function introduce() {
  const model = state.model = await ask('/model');
  const accuracy = model.metrics?.accuracy;
  $('#about').textContent = [
    model.classes.length + ' classes',
    String(model.architecture ?? '').split(':').pop(),
    ...(Number.isFinite(accuracy) ? ['accuracy ' + percent(accuracy) + ' on its test images'] : []),
  ].join(' · ');
  const names = model.classes.slice(0, 300).join(', ') + (model.classes.length > 300 ? ' …' : '');
  $('#classes summary').textContent = 'Which classes?';
  $('#classes p').textContent = names;
  $('#classes').hidden = false;
}

function lock() {
  $('#locked p').textContent = state.token ? 'That token is wrong.' : '';
  state.token = null;
  sessionStorage.removeItem('token');
  $('#locked').hidden = false;
  $('#give').hidden = true;
  $('#token').focus();
}

$('#locked').addEventListener('submit', async event => {
  event.preventDefault();
  state.token = $('#token').value.trim();
  try {
    await introduce();
  } catch {
    return; // `ask` has locked again
  }
  sessionStorage.setItem('token', state.token);
  $('#token').value = '';
  $('#locked').hidden = true;
  $('#give').hidden = false;
  $('#file').focus();
});

// ---- one image

function card(file) {
  const name = file.name || 'pasted image';
  const image = element('img', { alt: name });
  const frame = element('div', { className: 'frame' }, image);
  const said = element('div', { className: 'said' }, element('h2', { text: 'Waiting …' }));
  const item = element('li', { className: 'wait' },
    element('figure', {}, frame, element('figcaption', { text: name, title: name })), said);
  image.onload = () => URL.revokeObjectURL(image.src);
  image.onerror = () => {
    URL.revokeObjectURL(image.src);
    image.replaceWith(element('div', { className: 'blank', text: 'no preview' }));
  };
  image.src = URL.createObjectURL(file);
  return { file, item, frame, said };
}

async function classify(made) {
  const limit = state.model?.limits.bytes ?? Infinity;
  try {
    if (!made.file.size) throw new Error('The file is empty.');
    await made.file.slice(0, 1).arrayBuffer().catch(() => { throw new Error('It cannot be read: is it a folder?'); });
    if (made.file.size > limit) throw new Error('The file is larger than ' + Math.round(limit / 2 ** 20) + ' MB.');
    show(made, await predict(made.file));
  } catch (error) {
    made.item.className = 'wrong';
    const reason = error.message[0].toUpperCase() + error.message.slice(1);
    made.said.replaceChildren(element('h2', { text: 'No answer' }), element('p', { className: 'fine', text: reason }));
  }
}

function predict(file, query = '') {
  return ask('/predict' + query, { method: 'POST', body: file, headers: { 'content-type': 'application/octet-stream' } });
}

function show(made, answer) {
  const best = answer.top[0];
  const floor = state.model?.abstain_below;
  const why = answer.sure ? '' : 'Below ' + percent(floor ?? 0) + ', this model is wrong too often. Its best guesses:';
  made.item.className = answer.sure ? 'sure' : 'unsure';
  made.said.replaceChildren(
    element('h2', { text: answer.sure ? best.class : 'Not sure' }),
    element('p', { className: 'fine', text: why }),
    ...answer.top.map(row),
    ...(state.model?.heat_maps ? [looking(made, best.class)] : []));
}

function row({ class: name, probability }) {
  const meter = element('meter', { value: probability, ariaLabel: name + ' ' + percent(probability) });
  return element('div', { className: 'row' },
    element('span', { text: name, title: name }), meter, element('span', { text: percent(probability) }));
}

// ---- the heat map

function looking(made, name) {
  const button = element('button', { type: 'button', text: 'Where did it look?', ariaPressed: 'false' });
  const legend = element('p', { className: 'fine' });
  let canvas = null;
  button.addEventListener('click', async () => {
    if (canvas) {
      canvas.hidden = !canvas.hidden;
    } else {
      button.disabled = true;
      try {
        const { heat_map: heat } = await predict(made.file, '?top=1&heatmap=1');
        if (heat) made.frame.append(canvas = paint(heat, made.frame.querySelector('img')));
        else legend.textContent = 'No single place speaks for “' + name + '”.';
      } catch (error) {
        legend.textContent = error.message;
      }
      button.disabled = false;
      if (!canvas) return;
    }
    const shown = !canvas.hidden;
    button.ariaPressed = String(shown);
    legend.textContent = shown ? 'Warm: speaks for “' + name + '”. Grey: not seen by the model.' : '';
  });
  return element('div', { className: 'more' }, button, legend);
}

function paint({ grid, window: seen, image: size }, picture) {
  const scale = Math.min(1, 640 / Math.max(size.width, size.height));
  const width = Math.max(1, Math.round(size.width * scale)), height = Math.max(1, Math.round(size.height * scale));
  const canvas = element('canvas', { width, height });
  canvas.setAttribute('role', 'img');
  canvas.setAttribute('aria-label', 'heat map');
  if (picture) fit(canvas, picture);
  const [x, y, w, h] = [seen.left, seen.top, seen.width, seen.height].map(value => value * scale);
  const pen = canvas.getContext('2d');
  pen.fillStyle = 'rgb(120 120 120 / .75)';
  pen.fillRect(0, 0, width, height);
  pen.clearRect(x, y, w, h);
  pen.imageSmoothingQuality = 'high';
  pen.drawImage(tiles(grid), x, y, w, h);
  return canvas;
}

function fit(canvas, picture) { // as large as the picture is drawn, whatever its size
  const follow = () => Object.assign(canvas.style, { width: picture.clientWidth + 'px', height: picture.clientHeight + 'px' });
  follow();
  new ResizeObserver(follow).observe(picture);
}

const COLD = [16, 20, 48, 0.6], WARM = [226, 76, 54, 0.5], HOT = [255, 206, 40, 0.55]; // red, green, blue, how opaque

function tiles(grid) { // a pixel for each position
  const canvas = element('canvas', { width: grid[0].length, height: grid.length }), pen = canvas.getContext('2d');
  grid.forEach((line, y) => line.forEach((value, x) => {
    const [from, to, part] = value < 0.5 ? [COLD, WARM, 2 * value] : [WARM, HOT, 2 * value - 1];
    const [r, g, b, a] = from.map((number, i) => number + part * (to[i] - number));
    pen.fillStyle = `rgb(${r} ${g} ${b} / ${a})`;
    pen.fillRect(x, y, 1, 1);
  }));
  return canvas;
}

// ---- many images

function tell() {
  const left = state.begun - state.done, images = n => n + (n === 1 ? ' image' : ' images');
  $('#status').textContent = left ? 'Looking at ' + images(state.begun) + ', ' + left + ' to go …'
    : state.begun ? images(state.done) + ' done.' + state.note : '';
  if (!left) state.begun = state.done = 0;
}

function add(files) {
  const all = $('#locked').hidden ? [...files] : [], taken = all.slice(0, MOST).map(card);
  if (!taken.length) return;
  $('#results').prepend(...taken.map(made => made.item));
  state.waiting.push(...taken);
  state.begun += taken.length;
  state.note = all.length > MOST ? ' Only the first ' + MOST + ' of ' + all.length + ' were taken.' : '';
  tell();
  while (state.running < Math.min(AT_ONCE, state.waiting.length + state.running)) work();
}

async function work() {
  state.running++;
  for (let made; (made = state.waiting.shift());) {
    await classify(made);
    state.done++;
    tell();
  }
  state.running--;
}

for (const id of ['#file', '#shot']) {
  $(id).addEventListener('change', event => {
    add(event.target.files);
    event.target.value = '';
  });
}
addEventListener('paste', event => add(event.clipboardData?.files ?? []));
for (const type of ['dragenter', 'dragover']) {
  addEventListener(type, event => {
    event.preventDefault();
    document.body.classList.add('over');
  });
}
addEventListener('dragleave', event => event.relatedTarget || document.body.classList.remove('over'));
addEventListener('drop', event => {
  event.preventDefault();
  document.body.classList.remove('over');
  add(event.dataTransfer.files);
});

introduce().catch(error => {
  if ($('#locked').hidden) $('#about').textContent = error.message;
});
