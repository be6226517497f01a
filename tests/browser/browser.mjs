// A headless Chromium, driven by its DevTools protocol (chromedevtools.github.io/devtools-protocol) over a pipe.
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';

/** How long something may take to be on a page, and how often it is looked, milliseconds. */
const LIMIT = 20_000;
const POLL = 100;
/** Keys by name: their codes, and what they write. */
const KEYS = { Tab: [9], Enter: [13, '\r'] };

/** Starts one whose page has this size; below 600 pixels it is a phone's, and dark. */
export async function launch(width = 1200, height = 800) {
  const child = spawn('chromium-headless-shell',
    ['--no-sandbox', '--remote-debugging-pipe', `--window-size=${width},${height}`, 'about:blank'],
    { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
  const answers = new Map();
  const problems = [];
  let last = 0;
  let buffer = '';

  const happened = ({ method, params }) => {
    if (method === 'Runtime.exceptionThrown') {
      problems.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
    } else if (method === 'Log.entryAdded' && params.entry.level === 'error') {
      problems.push(`${params.entry.text} ${params.entry.url ?? ''}`);
    }
  };
  child.stdio[4].on('data', (data) => {
    buffer += data;
    for (let end; (end = buffer.indexOf('\0')) >= 0; buffer = buffer.slice(end + 1)) {
      const message = JSON.parse(buffer.slice(0, end));
      const answer = answers.get(message.id);
      if (!answer) happened(message);
      else if (message.error) answer.reject(new Error(JSON.stringify(message.error)));
      else answer.resolve(message.result);
      answers.delete(message.id);
    }
  });
  const send = (method, params = {}, sessionId) => new Promise((resolve, reject) => {
    const id = ++last;
    answers.set(id, { resolve, reject });
    child.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
  });
  child.on('error', (error) => {
    console.error(`start chromium-headless-shell: ${error.message}: tools/setup browser installs it`);
    process.exit(1);
  });

  const { targetId } = await send('Target.createTarget', { url: 'about:blank', width, height });
  const { sessionId } = await send('Target.attachToTarget', { targetId, flatten: true });
  const page = (method, params) => send(method, params, sessionId);
  for (const domain of ['Page', 'Runtime', 'Log']) await page(`${domain}.enable`);
  // What is typed goes to the page, as if its window were the one in front.
  await page('Emulation.setFocusEmulationEnabled', { enabled: true });
  const isPhone = width < 600;
  if (isPhone) await page('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: 'dark' }] });
  await page('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: isPhone });

  const evaluate = async (expression) => {
    const { result, exceptionDetails } = await page('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  };
  const until = async (expression, limit = LIMIT) => {
    for (const deadline = Date.now() + limit; Date.now() < deadline;) {
      if (await evaluate(`Promise.resolve(${expression}).then(Boolean)`)) return;
      await new Promise((resolve) => setTimeout(resolve, POLL));
    }
    throw new Error(`never: ${expression}\n${await evaluate('document.body.innerText')}`);
  };
  const pressIn = (selector, text) => evaluate(`[...document.querySelectorAll(${JSON.stringify(`${selector} button`)})]
    .find((it) => it.textContent.trim() === ${JSON.stringify(text)}).click()`);
  return {
    evaluate,
    until,
    problems,
    go: (url) => page('Page.navigate', { url }),
    /** Types into what a selector names. */
    type: (selector, value) => evaluate(`(() => { const it = document.querySelector(${JSON.stringify(selector)});
      it.value = ${JSON.stringify(value)}; it.dispatchEvent(new Event('input', { bubbles: true })); })()`),
    /** Presses the button that says this. */
    press: (text) => pressIn('body', text),
    /** The same within what a selector names. */
    pressIn,
    /** Presses a key, as a person does. */
    async key(name) {
      const [code, text] = KEYS[name];
      const pressed = { key: name, code: name, windowsVirtualKeyCode: code };
      await page('Input.dispatchKeyEvent', { ...pressed, type: 'keyDown', text });
      await page('Input.dispatchKeyEvent', { ...pressed, type: 'keyUp' });
    },
    /** Writes where the keyboard is. */
    write: (text) => page('Input.insertText', { text }),
    async picture(file) {
      const { data } = await page('Page.captureScreenshot', { format: 'png' });
      writeFileSync(file, Buffer.from(data, 'base64'));
    },
    /** Prints the page, as somebody who saves it as PDF. */
    async pdf(file) {
      const { data } = await page('Page.printToPDF', { printBackground: true });
      writeFileSync(file, Buffer.from(data, 'base64'));
    },
    close: () => child.kill(),
  };
}
