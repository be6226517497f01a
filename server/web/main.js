// Which page is shown, and logging in.
import { get, post, put } from './api.js';
import { button, field, fill, form, h, notice, submit } from './element.js';
import { fleet, sensor, sensors } from './fleet.js';
import { alert, alerts } from './alerts.js';
import { events } from './events.js';
import { policies } from './policies.js';
import { rollouts } from './rollouts.js';
import { compliance } from './compliance.js';
import { admin } from './admin.js';

const main = document.getElementById('main');
const header = document.getElementById('header');
const ROLES = ['read-only', 'analyst', 'admin'];
const PAGES = [
  ['fleet', 'Fleet', fleet], ['alerts', 'Alerts', alerts], ['events', 'Events', events],
  ['policies', 'Policies', policies], ['rollouts', 'Roll-outs', rollouts],
  ['compliance', 'Compliance', compliance], ['sensors', 'Sensors', sensors], ['admin', 'Admin', admin],
];

let me = null;
/** Ends what the page that is shown began: a stream, a timer. */
let leave = null;
let shown = 0;

/** Whether whoever is logged in has this role or a stronger one. */
const may = (role) => me !== null && ROLES.indexOf(me.role) >= ROLES.indexOf(role);

function route() {
  const [path, query] = location.hash.replace(/^#\/?/, '').split('?');
  const [name, id] = path.split('/');
  return { name: name || 'fleet', id: id && decodeURIComponent(id), query: Object.fromEntries(new URLSearchParams(query)) };
}

async function show() {
  if (location.hash === '#main') return;
  if (!me) return login();
  leave?.();
  leave = null;
  const turn = ++shown;
  const { name, id, query } = route();
  navigation(name);
  const known = PAGES.find(([page]) => page === name);
  const page = { alerts: id && alert, sensors: id && sensor }[name] || known?.[2];
  const content = h('div', {});
  fill(main, content);
  try {
    if (!page) throw new Error('There is no such page.');
    const end = await page(content, { id, query, may });
    if (turn === shown) leave = end ?? null;
    else end?.();
  } catch (error) {
    if (turn === shown && me) fill(main, h('p', { class: 'problem', role: 'alert' }, error.message));
  }
  if (turn !== shown) return;
  const title = main.querySelector('h1');
  document.title = title ? `${title.textContent} · Holdfast` : 'Holdfast';
  title?.setAttribute('tabindex', '-1');
  title?.focus();
}

function navigation(current) {
  header.hidden = false;
  const pages = PAGES.filter(([name]) => name !== 'admin' || may('admin'));
  fill(document.getElementById('nav'), pages.map(([name, title]) =>
    h('a', { href: `#/${name}`, 'aria-current': name === current && 'page' }, title)));
  fill(document.getElementById('user'), h('span', { class: 'quiet' }, `${me.name} (${me.role}) `),
    button('Password', changePassword, 'plain'), ' ', button('Log out', logout, 'plain'));
}

async function logout() {
  await post('/logout');
  loggedOut();
}

function changePassword() {
  leave?.();
  leave = null;
  shown++;
  const secret = (name, label, complete) =>
    field(label, h('input', { name, type: 'password', required: true, autocomplete: complete, maxlength: 256 }));
  fill(main, h('h1', { tabindex: -1 }, 'Change the password'), form({ class: 'stack card' }, async (values) => {
    await put('/me/password', values);
    loggedOut();
    notice('The password was changed: log in with it.');
  }, secret('old', 'The old one', 'current-password'), secret('new', 'The new one, 12 characters or more', 'new-password'),
  h('div', {}, submit('Change it'))));
  main.querySelector('input').focus();
}

function login() {
  header.hidden = true;
  document.title = 'Log in · Holdfast';
  const problem = h('p', { class: 'problem', role: 'alert', hidden: true });
  fill(main, form({ class: 'login card' }, async (values) => {
    try {
      me = await post('/login', values);
      await show();
    } catch (error) {
      problem.hidden = false;
      fill(problem, error.message);
    }
  },
  h('h1', {}, 'Holdfast'), problem,
  field('Name', h('input', { name: 'name', required: true, autocomplete: 'username', autocapitalize: 'none' })),
  field('Password', h('input', { name: 'password', type: 'password', required: true, autocomplete: 'current-password' })),
  submit('Log in'),
  h('p', { class: 'quiet' }, 'The first start of the server printed the password of ', h('code', {}, 'admin'), '. Lost it? ',
    h('code', {}, 'holdfast-server user password admin'))));
  main.querySelector('input').focus();
}

function loggedOut() {
  leave?.();
  leave = null;
  shown++;
  me = null;
  login();
}

window.addEventListener('hashchange', show);
window.addEventListener('logged-out', () => { if (me) loggedOut(); });
try {
  me = await get('/me');
} catch {
  me = null;
}
show();
