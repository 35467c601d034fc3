/* Where the server's wall clock is pretended (gaufre demo): the strip that says so on every view, and the
 * time by that clock, by which the console asks for days. Elsewhere it is the browser's own. */

import { set_text } from './engine_dom.js';

const YEAR_S = 365 * 86400;
let said = null; // { pace, time_ms, seen_ms }

/** The server's time as it was told last, gone on since. */
export const now_ms = () => (said ? said.time_ms + (performance.now() - said.seen_ms) * said.pace : Date.now());
export const is_simulated = () => said !== null;

const year_text = (s) => (s < 90 ? `${Math.round(s)} seconds` : `${Math.round(s / 60)} minutes`);

/** Each overview. */
export function learn(overview, strip) {
    const pace = overview.simulated?.pace;
    said = pace > 1 ? { pace, time_ms: overview.time * 1000, seen_ms: performance.now() } : null;
    strip.hidden = !said;
    if (!said) return;
    set_text(strip.firstElementChild, `Simulated: a year passes in ${year_text(YEAR_S / pace)}. Sites, weather, load, failures and money are made up.`);
    set_text(strip.lastElementChild, new Date(said.time_ms).toLocaleDateString(undefined, { day: 'numeric', month: 'long', year: 'numeric', timeZone: 'UTC' }));
}
