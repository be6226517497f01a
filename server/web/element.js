// Elements are made here and nowhere else. Text only becomes text: what a host sent is never read as HTML.

/** An element. Attributes that are functions listen to the event of their name; false and null leave them out. */
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (typeof value === 'function') element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== false && value != null) element.setAttribute(name, String(value));
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child instanceof Node) element.append(child);
    else if (child !== false && child != null) element.append(document.createTextNode(String(child)));
  }
}

/** Puts children in the place of what is in an element. */
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

/** A table; rows are lists of cells, or elements. */
export function table(titles, rows) {
  const row = (cells) => (cells instanceof Node ? cells : h('tr', {}, cells.map(cell)));
  return h('div', { class: 'scroll', tabindex: 0 }, h('table', {},
    h('thead', {}, h('tr', {}, titles.map((title) => h('th', { scope: 'col' }, title)))),
    h('tbody', {}, rows.map(row))));
}

export function cell(content) {
  return content instanceof HTMLTableCellElement ? content : h('td', {}, content);
}

/** Terms and what they are; what is not known is left out. */
export function facts(pairs) {
  return h('dl', {}, pairs.filter(([, value]) => value != null && value !== '' && value.length !== 0)
    .map(([name, value]) => [h('dt', {}, name), h('dd', {}, value)]));
}

/** A field with its label. */
export function field(label, input) {
  return h('label', {}, label, input);
}

export function select(name, options, value) {
  return h('select', { name }, options.map(([key, text]) =>
    h('option', { value: key, selected: String(key) === String(value ?? '') }, text)));
}

export function badge(text, kind) {
  return h('span', { class: `badge ${kind ?? ''}` }, text);
}

/** A time as people here write it, with the exact one beside it. */
export function time(text) {
  if (!text) return '';
  return h('time', { datetime: text, title: text }, new Date(text).toLocaleString());
}

/** A button that does something and meanwhile cannot be pressed again. */
export function button(text, work, kind) {
  return h('button', {
    type: 'button', class: kind,
    click: async (event) => {
      const pressed = event.currentTarget;
      pressed.disabled = true;
      try { await work(); } catch (error) { notice(error.message); } finally { pressed.disabled = false; }
    },
  }, text);
}

/** A form that gives its fields to `work`. */
export function form(attributes, work, ...children) {
  return h('form', {
    ...attributes,
    submit: async (event) => {
      event.preventDefault();
      const sent = event.currentTarget;
      const pressed = sent.querySelector('button[type=submit]');
      if (pressed) pressed.disabled = true;
      try { await work(Object.fromEntries(new FormData(sent)), sent); }
      catch (error) { notice(error.message); }
      finally { if (pressed) pressed.disabled = false; }
    },
  }, ...children);
}

export function submit(text) {
  return h('button', { type: 'submit' }, text);
}

let quiet;

/** Says something for a while, to those who listen too. */
export function notice(text) {
  fill(document.getElementById('notice'), text);
  clearTimeout(quiet);
  quiet = setTimeout(() => fill(document.getElementById('notice')), 8000);
}
