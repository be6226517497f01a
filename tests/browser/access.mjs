// access.mjs URL PASSWORD OFFENDER VICTIM DIRECTORY: who may use a Team Server, by what, and how, after pages.mjs: users and tokens, a keyboard
// alone, a phone, and a list of alerts that is longer than a page.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { launch } from './browser.mjs';
import { end, logIn, noticed, shows, step, title } from './steps.mjs';

const [url, password, offender, , directory] = process.argv.slice(2);
const ADA = 'the password of ada';
/** Rows that the page of alerts has at most, and more than these. */
const MAX_ROWS = 500;
const MANY = 520;
/** Parts of the page Admin. */
const USERS = 'section:nth-of-type(2)';
const TOKENS = 'section:nth-of-type(3)';

const browser = await launch();
const { evaluate, go, key, press, pressIn, type, until, write } = browser;

await step('with a keyboard alone: in, to everything on a page, and it acts', async () => {
  await go(url);
  await until(`document.activeElement?.name === 'name'`);
  await write('admin');
  await key('Tab');
  await write(password);
  await key('Enter');
  await until(title('Fleet'));
  const tabTo = async (condition) => {
    for (let tabs = 0; tabs < 100; tabs++) {
      if (await evaluate(`((it) => ${condition})(document.activeElement)`)) return;
      await key('Tab');
    }
    throw new Error(`no Tab leads there: ${condition}`);
  };
  await evaluate(`document.querySelector('.skip').focus()`);
  await key('Enter');
  await until(`document.activeElement.id === 'main'`);
  await evaluate(`document.querySelector('.skip').focus()`);
  await tabTo(`it.textContent === 'Admin'`);
  await key('Enter');
  await until(title('Admin'));
  await until(shows('What was changed'));
  await until(shows('user.add'));

  const stops = await evaluate(`(() => {
    const all = [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex="0"]')];
    const seen = all.filter((it) => it.getClientRects().length > 0 && !it.disabled);
    seen.forEach((it, number) => { it.dataset.stop = number; });
    seen[0].focus();
    return seen.length;
  })()`);
  const missing = new Set(Array(stops).keys());
  for (let tabs = 0; tabs < stops; tabs++) {
    missing.delete(Number(await evaluate('document.activeElement.dataset.stop')));
    await key('Tab');
  }
  if (missing.size > 0) {
    const first = await evaluate(`document.querySelector('[data-stop="${[...missing][0]}"]').outerHTML`);
    throw new Error(`${missing.size} of ${stops} are not reached, as ${first}`);
  }
  await evaluate(`document.querySelector('.skip').focus()`);
  await tabTo(`it.textContent === 'Make a key'`);
  await key('Enter');
  await until(`document.querySelector('.hint pre')`);
});

await step('a user is added, gets another role, and has only that', async () => {
  await type(`${USERS} input[name=name]`, 'ada');
  await type(`${USERS} input[name=password]`, ADA);
  await pressIn(USERS, 'Add');
  const role = 'select[aria-label="Role of ada"]';
  await until(`document.querySelector('${role}')?.value === 'read-only'`);
  const choose = (selector, value) => evaluate(`(() => { const it = document.querySelector('${selector}');
    it.value = '${value}'; it.dispatchEvent(new Event('change')); })()`);
  await choose(role, 'analyst');
  await until(noticed('ada is analyst now'));
  await choose('select[aria-label="Role of admin"]', 'analyst');
  await until(noticed('the last admin has to stay one'));
  await until(`document.querySelector('select[aria-label="Role of admin"]')?.value === 'admin'`);
  await press('Log out');
  await logIn(browser, url, 'ada', ADA);
  await until(shows('ada (analyst)'));
  if (await evaluate(`!!document.querySelector('nav a[href="#/admin"]')`)) throw new Error('an analyst is led to Admin');
  await go(`${url}/#/admin`);
  await until(shows('This page is for admins.'));
  await press('Log out');
});

await step('a password is set, a user removed', async () => {
  await logIn(browser, url, 'admin', password);
  await go(`${url}/#/admin`);
  const ada = `[...document.querySelectorAll('${USERS} tr')].find((it) => it.cells[0]?.textContent === 'ada')`;
  await until(ada);
  const pressFor = (text) => evaluate(`[...${ada}.querySelectorAll('button')].find((it) => it.textContent === '${text}').click()`);
  await pressFor('Set a password…');
  await type(`${USERS} form.card input[name=password]`, 'another password of ada');
  await pressIn(USERS, 'Set it');
  await until(noticed('ada has a new password'));
  await evaluate('window.confirm = () => true');
  await pressFor('Remove');
  await until(`!(${ada})`);
});

await step('a token is made, is good, and is void once it is revoked', async () => {
  await type(`${TOKENS} input[name=name]`, 'grafana');
  await pressIn(TOKENS, 'Make a token');
  await until(`document.querySelector('${TOKENS} .hint pre')`);
  const token = await evaluate(`document.querySelector('${TOKENS} .hint pre').textContent`);
  const status = async () => (await fetch(`${url}/api/v1/overview`, { headers: { Authorization: `Bearer ${token}` } })).status;
  if (await status() !== 200) throw new Error('the token is not good');
  await evaluate(`[...document.querySelectorAll('${TOKENS} tr')].find((it) => it.cells[1]?.textContent === 'grafana').querySelector('button').click()`);
  await until(`![...document.querySelectorAll('${TOKENS} td')].some((it) => it.textContent === 'grafana')`);
  if (await status() !== 401) throw new Error('the token is not void');
});

await step('a list of alerts that was cut goes on where it ends', async () => {
  await go(`${url}/#/alerts`);
  await until(`document.querySelector('[role=status].good')`);
  for (let number = 0; number < MANY; number++) execFileSync(offender, ['echo', `many ${number}`]);
  const ids = `[...document.querySelectorAll('tbody tr')].map((it) => it.dataset.id)`;
  await until(`${ids}.length === ${MAX_ROWS} && document.querySelector('tr.fresh')?.cells[0].querySelector('a')`);
  const last = `many ${MANY - 1}`;
  await until(`fetch('/api/v1/alerts?limit=1').then((it) => it.json()).then(({ events: [{ id, event }] }) =>
    event.process.args.includes(${JSON.stringify(last)}) && ${ids}[0] === String(id))`);
  for (let shown = -1; ;) {
    const now = await evaluate(`${ids}.length`);
    if (now === shown) break;
    shown = now;
    const more = `[...document.querySelectorAll('button')].find((it) => it.textContent === 'Earlier ones')`;
    if (!await evaluate(`!!${more}`)) break;
    await evaluate(`${more}.click()`);
    await until(`${ids}.length > ${shown} || !${more}`);
  }
  const stored = await evaluate(`(async () => {
    const all = [];
    for (let before = ''; before != null;) {
      const { events, next } = await (await fetch('/api/v1/alerts?limit=500&before=' + before)).json();
      all.push(...events.map((it) => String(it.id)));
      before = next;
    }
    return all;
  })()`);
  const shown = await evaluate(ids);
  if (JSON.stringify(shown) !== JSON.stringify(stored)) throw new Error(`${shown.length} are shown, ${new Set(shown).size} of them once, of ${stored.length}`);
});
browser.close();

const phone = await launch(390, 800);
await step('nothing is wider than a phone', async () => {
  await logIn(phone, url, 'admin', password);
  const fits = async (name) => {
    const beyond = await phone.evaluate('document.documentElement.scrollWidth - innerWidth');
    if (beyond > 0) throw new Error(`${name} is ${beyond} pixels too wide`);
    await phone.picture(join(directory, `phone-${name}.png`));
  };
  for (const [name, heading] of [['fleet', 'Fleet'], ['alerts', 'Alerts'], ['events', 'Events'], ['sensors', 'Sensors'], ['policies', 'Policies'],
    ['rollouts', 'Roll-outs'], ['compliance', 'Compliance'], ['admin', 'Admin']]) {
    await phone.go(`${url}/#/${name}`);
    await phone.until(title(heading));
    await fits(name);
  }
  for (const [name, heading, within] of [['alert', 'Alerts', 'offence'], ['sensor', 'Sensors', 'node-7']]) {
    await phone.go(`${url}/#/${heading.toLowerCase()}`);
    await phone.until(title(heading));
    const link = `[...document.querySelectorAll('tbody tr')].find((it) => it.textContent.includes('${within}'))?.querySelector('a')`;
    await phone.until(link);
    await phone.evaluate(`${link}.click()`);
    await phone.until(title(within));
    await fits(name);
  }
});
phone.close();
end();
