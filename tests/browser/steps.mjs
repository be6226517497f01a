// What the tests of pages have in common: steps that are counted, and what a page may show.

export const rows = (condition) => `document.querySelectorAll('tbody tr').length ${condition}`;
export const title = (text) => `document.querySelector('h1')?.textContent === ${JSON.stringify(text)}`;
export const shows = (text) => `document.body.innerText.includes(${JSON.stringify(text)})`;
export const noticed = (text) => `document.querySelector('#notice').textContent.includes(${JSON.stringify(text)})`;

const failures = [];

export async function step(name, act) {
  try {
    await act();
    console.log(`ok      ${name}`);
  } catch (error) {
    failures.push(name);
    console.log(`FAILED  ${name}: ${error.message}`);
  }
}

/** Ends the process: well, if all steps went so. */
export function end() {
  process.exit(failures.length === 0 ? 0 : 1);
}

/** Logs somebody in, and waits for the fleet. */
export async function logIn({ go, press, type, until }, url, name, password) {
  await go(url);
  await until(`document.querySelector('input[name=password]')`);
  await type('input[name=name]', name);
  await type('input[name=password]', password);
  await press('Log in');
  await until(title('Fleet'));
}
