// pages.mjs URL PASSWORD OFFENDER VICTIM DIRECTORY: each page of a Team Server, as somebody sees it who looks after a fleet of
// one sensor, which raises an alert when OFFENDER runs; a policy is written that kills VICTIM, and assigned. Pictures go to DIRECTORY.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { launch } from './browser.mjs';

const [url, password, offender, victim, directory] = process.argv.slice(2);
const rows = (condition) => `document.querySelectorAll('tbody tr').length ${condition}`;
const title = (text) => `document.querySelector('h1')?.textContent === ${JSON.stringify(text)}`;
const shows = (text) => `document.body.innerText.includes(${JSON.stringify(text)})`;
const failures = [];

async function step(name, act) {
  try {
    await act();
    console.log(`ok      ${name}`);
  } catch (error) {
    failures.push(name);
    console.log(`FAILED  ${name}: ${error.message}`);
  }
}

const browser = await launch();
const { evaluate, go, press, type, until } = browser;
const picture = (name) => browser.picture(join(directory, `${name}.png`));

await step('a wrong password is refused, the right one lets in', async () => {
  await go(url);
  await until(`document.querySelector('input[name=password]')`);
  await type('input[name=name]', 'admin');
  await type('input[name=password]', 'not the password');
  await press('Log in');
  await until(`document.querySelector('.problem:not([hidden])')`);
  await type('input[name=password]', password);
  await press('Log in');
  await until(title('Fleet'));
});
// The refusal is an answer, which browsers log.
browser.problems.length = 0;

await step('the fleet: its sensor, and what it found', async () => {
  await until(rows('>= 8'));
  await until(`[...document.querySelectorAll('.cards .card')].some((it) => it.innerText.startsWith('1') && it.innerText.includes('online'))`);
  await picture('fleet');
});

await step('an alert appears as it is raised', async () => {
  await go(`${url}/#/alerts`);
  await until(`document.querySelector('[role=status].good')`);
  await until(rows('> 0'));
  const before = await evaluate(`document.querySelectorAll('tbody tr').length`);
  execFileSync(offender, ['echo', 'live']);
  await until(rows(`=== ${before} + 1`));
  await until(`document.querySelector('tr.fresh')`);
  await picture('alerts');
});

await step('an alert: its rule, its process below its ancestors', async () => {
  await evaluate(`document.querySelector('tbody a').click()`);
  await until(title('offence'));
  await until(`document.querySelectorAll('ol.tree li').length > 1`);
  await until(shows(`${offender}`));
  await picture('alert');
});

await step('events are found by what they say', async () => {
  await go(`${url}/#/events`);
  await until(rows('> 0'));
  await type('input[name=text]', '"live"');
  await press('Search');
  await until(rows('=== 1'));
});

await step('a policy: what is wrong is shown with its place; what is right is saved and assigned', async () => {
  await go(`${url}/#/policies`);
  await until(`document.querySelector('textarea')`);
  const policy = (field) => JSON.stringify({
    apiVersion: 'holdfast/v1', kind: 'Policy', name: 'from-the-browser', mode: 'enforce',
    rules: [{ id: 'no-victim', on: ['process.exec'], when: `${field} == '${victim}'`, action: 'kill', severity: 'high', mitre: ['T1059.004'] }],
  }, null, 2);
  await type('textarea', policy('process.executible'));
  await press('Check');
  await until(`document.querySelector('.problem')?.textContent.includes('process.executable')`);
  await type('textarea', policy('process.executable'));
  await press('Check');
  await until(`document.querySelector('p.good')`);
  await picture('policies');
  await press('Try against the last day');
  await until(shows('match a rule'));
  await until(shows('What this cannot tell'));
  await picture('dry-run');
  await type('input[name=name]', 'from the browser');
  await press('Save as a new version');
  await until(`document.querySelector('tbody td')?.textContent === '1'`);
  await press('Assign…');
  await until(`document.querySelector('input[name=tag]')`);
  await press('Assign');
  await until(`document.querySelector('#notice').textContent.includes('assigned')`);
});

await step('a sensor: how it is; tags', async () => {
  await go(`${url}/#/sensors`);
  await until(rows('=== 1'));
  await evaluate(`document.querySelector('tbody a').click()`);
  await until(shows('Kernel'));
  await type('input[name=tags]', 'web, prod');
  await press('Save');
  await until(`document.querySelector('#notice').textContent.includes('Tagged')`);
  await picture('sensor');
});

await step('a bundle comes in stages, is halted, and is taken back', async () => {
  await go(`${url}/#/rollouts?version=1`);
  await until(`document.querySelector('input[name=tag]')`);
  await until(shows('There are no roll-outs yet'));
  await type('input[name=tag]', 'web');
  await press('Begin');
  await until(shows('version 1 to tag:web'));
  await until(`document.querySelector('h2 .badge')?.textContent === 'running'`);
  await picture('rollouts');
  await press('Halt');
  await until(`document.querySelector('h2 .badge')?.textContent === 'halted'`);
  await evaluate('window.confirm = () => true');
  await press('Roll back');
  await until(`document.querySelector('h2 .badge')?.textContent === 'rolled-back'`);
});

await step('who enforces what, and as a table', async () => {
  await go(`${url}/#/compliance`);
  // The sensor has asked for its bundle and said that it has it, a heartbeat later each.
  await until(shows('no-victim'), 75_000);
  await until(shows('Hosts that enforce'));
  // It serves one tactic.
  await until(`document.querySelectorAll('.matrix section').length === 12 && document.querySelectorAll('.matrix li').length === 1`);
  await picture('compliance');
  const table = await evaluate(`fetch('/api/v1/compliance.csv').then((answer) => answer.text())`);
  if (!/"from-the-browser","no-victim","kill","3","T1059.004","(observed|enforced|absent)"/.test(table)) throw new Error(table);
});

await step('keys are made, what is forwarded is said, what was done is on record', async () => {
  await go(`${url}/#/admin`);
  await until(shows('bundle.assign'));
  await until(shows('rollout.rollback'));
  await until(shows('Nothing is forwarded.'));
  await press('Make a key');
  await until(`document.querySelector('.hint pre')`);
});

await step('logged out, nothing is shown', async () => {
  await press('Log out');
  await until(`document.querySelector('.login')`);
  await go(`${url}/#/alerts`);
  await until(`document.querySelector('.login')`);
});

await step('no page has errors', async () => {
  const left = browser.problems.filter((problem) => !problem.includes('401'));
  if (left.length > 0) throw new Error(left.join('; '));
});
browser.close();

const phone = await launch(390, 800);
await step('nothing is wider than a phone', async () => {
  await phone.go(url);
  await phone.until(`document.querySelector('input[name=password]')`);
  await phone.type('input[name=name]', 'admin');
  await phone.type('input[name=password]', password);
  await phone.press('Log in');
  for (const [name, heading] of [['fleet', 'Fleet'], ['alerts', 'Alerts'], ['sensors', 'Sensors'], ['policies', 'Policies'], ['rollouts', 'Roll-outs'], ['compliance', 'Compliance']]) {
    await phone.go(`${url}/#/${name}`);
    await phone.until(title(heading));
    const beyond = await phone.evaluate('document.documentElement.scrollWidth - innerWidth');
    if (beyond > 0) throw new Error(`${name} is ${beyond} pixels too wide`);
    await phone.picture(join(directory, `phone-${name}.png`));
  }
});
phone.close();
process.exit(failures.length === 0 ? 0 : 1);
