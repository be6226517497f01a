// Keys, users, tokens, and what was changed by whom.
import { get, post, put, remove } from './api.js';
import { badge, button, field, fill, form, h, notice, select, submit, table, time } from './element.js';

const ROLES = [['read-only', 'read-only'], ['analyst', 'analyst'], ['admin', 'admin']];

export async function admin(content, { may }) {
  if (!may('admin')) throw new Error('This page is for admins.');
  const parts = [keys, users, tokens, forwarding, audit].map((part) => [h('section', {}), part]);
  fill(content, h('h1', {}, 'Admin'), parts.map(([section]) => section));
  await Promise.all(parts.map(([section, part]) => part(section)));
}

/** What is shown once. */
function secret(what, value, then) {
  return h('div', { class: 'hint', role: 'status' }, h('p', {}, `${what}: it is not shown again.`),
    h('pre', { tabindex: 0 }, value), then);
}

async function keys(section) {
  const made = h('div', {});
  const list = h('div', {});
  const refresh = async () => {
    const answer = await get('/keys');
    fill(list, answer.keys.length ? table(['', 'Usable', 'Used', 'Left', 'Until', 'Tags', 'Note', ''], answer.keys.map((key) => [
      key.id, badge(key.usable ? 'yes' : 'no', key.usable ? 'good' : ''), key.used, key.uses_left ?? 'any', time(key.expires), key.tags.join(', '), key.note,
      button('Revoke', async () => { await remove(`/keys/${key.id}`); await refresh(); }, 'danger')])) : h('p', {}, 'There are none. Make one below, and start a sensor with it.'));
  };
  fill(section, h('h2', {}, 'Installation keys'), h('p', { class: 'quiet' }, 'A sensor enrols by one. Sensors that have enrolled stay when it is revoked.'),
    form({ class: 'row' }, async (values) => {
      const key = await post('/keys', {
        note: values.note, tags: values.tags.split(',').map((tag) => tag.trim()).filter(Boolean),
        uses: values.uses ? Number(values.uses) : null, days: values.days ? Number(values.days) : null });
      fill(made, secret('The key', key.key, [h('p', {}, 'On the host:'),
        h('pre', { tabindex: 0 }, `sudo holdfast run --set uplink.url=${location.origin} --set uplink.key=${key.key}`)]));
      await refresh();
    }, field('Note', h('input', { name: 'note', maxlength: 256 })), field('Tags', h('input', { name: 'tags', placeholder: 'web, production' })),
    field('Uses', h('input', { name: 'uses', type: 'number', min: 1, placeholder: 'any' })),
    field('Days', h('input', { name: 'days', type: 'number', min: 1, max: 3650, value: 7, placeholder: 'until revoked' })), submit('Make a key')), made, list);
  await refresh();
}

async function users(section) {
  const list = h('div', {});
  const refresh = async () => {
    const answer = await get('/users');
    fill(list, table(['Name', 'Role', 'Since', ''], answer.users.map((user) => [
      user.name, role(user), time(user.created), [
        button('Remove', async () => {
          if (!confirm(`Remove ${user.name}?`)) return;
          await remove(`/users/${encodeURIComponent(user.name)}`);
          await refresh();
        }, 'danger'), ' ', button('Set a password…', () => ask(user.name), 'plain')]])));
  };
  /** The role, which can be changed there. */
  const role = (user) => h('select', {
    'aria-label': `Role of ${user.name}`,
    change: async ({ currentTarget: chosen }) => {
      try {
        await put(`/users/${encodeURIComponent(user.name)}/role`, { role: chosen.value });
        notice(`${user.name} is ${chosen.value} now.`);
      } catch (error) { notice(error.message); }
      await refresh();
    },
  }, ROLES.map(([key, text]) => h('option', { value: key, selected: key === user.role }, text)));
  const ask = (name) => {
    const asked = form({ class: 'row card' }, async (values) => {
      await put(`/users/${encodeURIComponent(name)}/password`, values);
      notice(`${name} has a new password, and is logged out.`);
      asked.remove();
    }, field(`New password of ${name}`, h('input', { name: 'password', type: 'password', required: true, minlength: 12, maxlength: 256, autocomplete: 'new-password' })), submit('Set it'));
    list.append(asked);
    asked.querySelector('input').focus();
  };
  fill(section, h('h2', {}, 'Users'), form({ class: 'row' }, async (values, sent) => {
    await post('/users', values);
    sent.reset();
    await refresh();
  }, field('Name', h('input', { name: 'name', required: true, pattern: '[A-Za-z0-9._@\\-]+', maxlength: 64, autocomplete: 'off' })),
  field('Password, 12 characters or more', h('input', { name: 'password', type: 'password', required: true, minlength: 12, maxlength: 256, autocomplete: 'new-password' })),
  field('Role', select('role', ROLES, 'read-only')), submit('Add')), list);
  await refresh();
}

async function tokens(section) {
  const made = h('div', {});
  const list = h('div', {});
  const refresh = async () => {
    const answer = await get('/tokens');
    fill(list, answer.tokens.length ? table(['', 'Name', 'Role', 'Made', 'Until', ''], answer.tokens.map((token) => [
      token.id, token.name, token.role, time(token.created), token.expires ? time(token.expires) : 'revoked',
      button('Revoke', async () => { await remove(`/tokens/${token.id}`); await refresh(); }, 'danger')])) : h('p', {}, 'There are none. A program that uses the API needs one: make it here.'));
  };
  fill(section, h('h2', {}, 'API tokens'), form({ class: 'row' }, async (values) => {
    const token = await post('/tokens', { ...values, days: values.days ? Number(values.days) : null });
    fill(made, secret('The token', token.token));
    await refresh();
  }, field('Name', h('input', { name: 'name', required: true, pattern: '[A-Za-z0-9._@\\-]+', maxlength: 64 })),
  field('Role', select('role', ROLES, 'read-only')),
  field('Days', h('input', { name: 'days', type: 'number', min: 1, max: 3650, placeholder: 'until revoked' })), submit('Make a token')), made, list);
  await refresh();
}

async function forwarding(section) {
  const { destinations } = await get('/forwarding');
  fill(section, h('h2', {}, 'Forwarding'), destinations.length === 0
    ? h('p', {}, 'Nothing is forwarded. The options ', h('code', {}, '--forward-…'), ' of ', h('code', {}, 'holdfast-server run'), ' do that: to a webhook, syslog, OTLP, NATS or S3.')
    : table(['To', 'What', 'State', 'Sent', 'Waiting', 'Lost'], destinations.map((one) => [
      one.destination, one.events ?? '',
      one.failing ? [badge('failing', 'bad'), ' since ', time(one.failing.since), `: ${one.failing.reason}`] : badge('fine', 'good'),
      one.sent ?? 0, one.waiting > one.queue ? `more than ${one.queue}` : one.waiting ?? 0, lost(one.lost ?? {})])));
}

/** What was not forwarded, and why. */
function lost({ full = 0, refused = 0, deleted = 0 }) {
  const reasons = [[full, 'that did not fit'], [refused, 'that were refused'], [deleted, 'that were too old']];
  return reasons.filter(([count]) => count > 0).map(([count, why]) => `${count} ${why}`).join(', ') || 'none';
}

async function audit(section) {
  const body = h('tbody', {});
  const more = h('div', {});
  fill(section, h('h2', {}, 'What was changed'), h('div', { class: 'scroll', tabindex: 0 }, h('table', {},
    h('thead', {}, h('tr', {}, ['Time', 'Who', 'From', 'What', ''].map((title) => h('th', { scope: 'col' }, title)))), body)), more);
  const page = async (before) => {
    const { lines, next } = await get('/audit', { before });
    for (const line of lines) body.append(h('tr', {}, [time(line.time), line.actor, line.address, line.action, line.detail].map((text) => h('td', {}, text))));
    fill(more, next && h('p', {}, button('Earlier ones', () => page(next), 'plain')));
  };
  await page();
}
