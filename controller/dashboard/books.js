/** Money earned, held and given back. */

import { h } from "./dom.js";
import { money } from "./format.js";

/** @param {any} books `GET /v1/books` */
export function books(books) {
  const { paid, earned, fees, refunded, held, prepaid, credited, gas_nanos: gas, payouts_open: open } = books;
  const balanced = paid === earned + fees + refunded + held + credited;
  const figure = (name, nanos) => h("div", {}, h("dt", {}, name), h("dd", {}, money(nanos)));
  return h("div", {},
    h("dl", { class: "figures" },
      figure("Earned", earned), figure("Held", held), figure("Refunded", refunded),
      figure("Fees", fees), figure("Paid in", paid), figure("Gas", gas)),
    h("p", { class: balanced ? "hint good-text" : "hint bad-text" },
      balanced ? "Paid in = earned + fees + refunded + held + credited, to the nano." : "These do not balance. Run payflow audit, and keep the data directory."),
    h("p", { class: "hint" },
      `Of what is held, ${money(prepaid)} is free in prepaid accounts. `,
      credited > 0 ? `${money(credited)} is too little to be sent back. ` : "",
      open === 0 ? "No transfer is on its way." : open === 1 ? "One transfer is on its way." : `${open} transfers are on their way.`));
}
